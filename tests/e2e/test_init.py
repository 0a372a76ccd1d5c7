"""`mlpipec init`: what it writes passes `check`, is in canonical form, and runs as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MLPIPEC = Path(sys.executable).parent / "mlpipec"


def mlpipec(folder: Path, *arguments: str, expect: int = 0) -> str:
    """What the command prints, on both streams. No package index can be reached."""
    done = subprocess.run(
        [MLPIPEC, *arguments],
        cwd=folder,
        env={**os.environ, "UV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == expect, said
    return said


def works(folder: Path, stages: int) -> str:
    """Checks, runs, and finds nothing to do the second time; the file's text."""
    checked = mlpipec(folder, "check")
    assert "warning" not in checked, checked
    mlpipec(folder, "fmt", "--check")
    first = mlpipec(folder, "run")
    assert f"{stages} ran" in first, first
    assert "nothing to do" in mlpipec(folder, "run")
    return (folder / "pipeline.mlpipe").read_text()


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_an_empty_folder_becomes_a_project_that_runs(tmp_path: Path) -> None:
    said = mlpipec(tmp_path, "init", "my-project")
    root = tmp_path / "my-project"
    for line in (
        "wrote my-project/pipeline.mlpipe",
        "wrote my-project/src/train.py",
        "cd my-project",
        "mlpipec run",
    ):
        assert line in said
    text = works(root, stages=3)
    assert "pipeline my_project" in text
    assert "gate quality: 2 of 2 hold" in mlpipec(root, "run", "quality")
    assert "evaluate.scores.r2" in mlpipec(root, "report", "review")
    for target in ("github", "gitlab", "bitbucket", "make"):
        mlpipec(root, "build", "--target", target)


def test_the_example_follows_its_helper_and_its_parameters(tmp_path: Path) -> None:
    mlpipec(tmp_path, "init")
    mlpipec(tmp_path, "run")
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text().replace("300", "250"))
    assert "2 ran" in mlpipec(tmp_path, "run")
    params.write_text(params.read_text().replace("250", "300"))
    assert "2 restored" in mlpipec(tmp_path, "run")
    helper = tmp_path / "src/houses.py"
    helper.write_text(helper.read_text() + "\n# more\n")
    assert "src/houses.py" in mlpipec(tmp_path, "why", "split")


def test_git_sees_sources_only(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("*.tmp")
    mlpipec(tmp_path, "init")
    assert (tmp_path / ".gitignore").read_text().startswith("*.tmp\n\n")
    before = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    mlpipec(tmp_path, "run")
    after = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert set(after.splitlines()) - set(before.splitlines()) == {"?? mlpipe.lock"}


def test_a_second_init_changes_nothing(tmp_path: Path) -> None:
    mlpipec(tmp_path, "init")
    (tmp_path / "pipeline.mlpipe").write_text("mine\n")
    said = mlpipec(tmp_path, "init", expect=1)
    assert "there is a pipeline file already: `pipeline.mlpipe`" in said
    assert (tmp_path / "pipeline.mlpipe").read_text() == "mine\n"


def test_another_pipeline_file_counts_too(tmp_path: Path) -> None:
    put(tmp_path, {"churn.mlpipe": "mlpipe 1\n"})
    assert "`churn.mlpipe`" in mlpipec(tmp_path, "init", expect=1)
    assert [p.name for p in tmp_path.iterdir()] == ["churn.mlpipe"]


def test_the_cache_of_an_earlier_run_is_no_pipeline_file(tmp_path: Path) -> None:
    (tmp_path / ".mlpipe").mkdir()
    assert "wrote pipeline.mlpipe" in mlpipec(tmp_path, "init")


def test_files_of_the_example_are_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path, {"params.yaml": "mine: 1\n", "README.md": "hello\n"})
    said = mlpipec(tmp_path, "init", expect=1)
    assert "`params.yaml` is there already" in said
    assert "mlpipec init NEW_FOLDER" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "params.yaml"]


def test_a_project_with_a_training_script(tmp_path: Path) -> None:
    put(tmp_path, {
        "train.py": """
import json
from pathlib import Path
from helper import MODEL

rows = [line.split(",") for line in open("data/raw.csv")]
Path(MODEL).parent.mkdir(exist_ok=True)
with open("out/model.json", "w") as file:
    json.dump(len(rows), file)
Path("metrics.json").write_text(json.dumps({"rows": len(rows)}))
""",
        "helper.py": 'MODEL = "out/model.json"\n',
        "data/raw.csv": "a,b\n1,2\n",
    })  # fmt: skip
    said = mlpipec(tmp_path, "init")
    assert "stage `train` runs train.py" in said
    text = works(tmp_path, stages=1)
    assert '= "data/raw.csv"' in text
    assert '= "out/model.json"' in text
    assert '= "metrics.json"' in text
    ignored = (tmp_path / ".gitignore").read_text()
    assert "/out/model.json\n" in ignored
    # The chain that the file was made for: the helper counts as code.
    put(tmp_path, {"helper.py": 'MODEL = "out/model.json"\nMORE = 1\n'})
    assert "1 ran" in mlpipec(tmp_path, "run")


def test_scripts_are_chained_by_what_they_write(tmp_path: Path) -> None:
    put(tmp_path, {
        "src/prepare.py": 'import shutil\nopen("data/clean.csv", "w").write(open("data/raw.csv").read())\n',
        "src/train.py": 'CLEAN = "data/clean.csv"\nopen("model.txt", "w").write(open(CLEAN).read())\n',
        "src/evaluate.py": 'both = open("model.txt").read() + open("data/clean.csv").read()\n'
        'open("scores.txt", mode="w").write(both)\n',
        "tests/train.py": "raise SystemExit('never')\n",
        "data/raw.csv": "a\n1\n",
    })  # fmt: skip
    mlpipec(tmp_path, "init")
    text = works(tmp_path, stages=3)
    assert "= prepare.clean" in text
    assert "= train.model" in text
    assert "run = [evaluate]" in text, "what nothing else reads is what an event asks for"


def test_a_script_that_shows_no_output_keeps_what_it_prints(tmp_path: Path) -> None:
    put(tmp_path, {"train.py": "print('trained')\n"})
    mlpipec(tmp_path, "init")
    text = works(tmp_path, stages=1)
    assert "tee {{log}}" in text
    assert (tmp_path / "train.log").read_text() == "trained\n"


def test_a_module_that_only_defines_is_no_stage(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "features.py": '"""Features."""\nimport json\nSIZE = 3\ndef encode(row):\n    return row\n',
            "train.py": "from features import encode\nopen('model.txt', 'w').write(str(encode(1)))\n",
        },
    )
    mlpipec(tmp_path, "init")
    text = (tmp_path / "pipeline.mlpipe").read_text()
    assert "stage train {" in text
    assert "features" not in text
    mlpipec(tmp_path, "run")


def test_demanded_arguments_are_said(tmp_path: Path) -> None:
    put(tmp_path, {"train.py": """
import argparse
p = argparse.ArgumentParser()
p.add_argument("data")
p.add_argument("extra", nargs="?")
p.add_argument("--lr", type=float, required=True)
p.add_argument("--seed", default=1)
p.parse_args()
"""})  # fmt: skip
    said = mlpipec(tmp_path, "init")
    assert "train.py wants data, --lr: complete its command" in said
    assert "wants data, --lr" in (tmp_path / "pipeline.mlpipe").read_text()
    mlpipec(tmp_path, "check")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"requirements.txt": "# nothing yet\n"}, 'requirements = "requirements.txt"'),
        (
            {"pyproject.toml": '[project]\nname = "x"\nversion = "0"\ndependencies = ["click"]\n'},
            'requirements = "pyproject.toml"',
        ),
        (
            {
                "pyproject.toml": '[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.11,<3.12"\n',
                "uv.lock": "version = 1\n",
            },
            'python = "3.11"',
        ),
        ({"requirements.txt": "", ".python-version": "3.12.3\n"}, '"3.12"'),
    ],
)
def test_environments_are_found(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    put(tmp_path, {"train.py": "open('m.txt', 'w').write('x')\n", **files})
    mlpipec(tmp_path, "init")
    mlpipec(tmp_path, "check")
    text = (tmp_path / "pipeline.mlpipe").read_text()
    assert " ".join(expected.split()) in " ".join(text.split())
    assert "env = py" in " ".join(text.split())


def test_an_environment_that_is_found_is_used(tmp_path: Path) -> None:
    put(
        tmp_path,
        {"train.py": "import sys; open('m.txt', 'w').write(sys.prefix)\n", "requirements.txt": "# none\n"},
    )
    mlpipec(tmp_path, "init")
    works(tmp_path, stages=1)
    assert "/envs/" in (tmp_path / "m.txt").read_text()


def test_parameters_are_found(tmp_path: Path) -> None:
    reads = "import re\nopen('m.txt', 'w').write(open('params.yaml').read())\n"
    put(
        tmp_path,
        {"train.py": reads, "params.yaml": "train:\n  lr: 0.1\n  deep: {a: 1}\nseed: 3\nBad Name: 1\n"},
    )
    mlpipec(tmp_path, "init")
    text = works(tmp_path, stages=1)
    assert 'params "params.yaml"' in text
    assert "param train.*" in " ".join(text.split())
    assert '"params.yaml"' not in text.replace('params "params.yaml"', ""), (
        "values count, not the file's bytes"
    )


def test_a_package_with_relative_imports_runs_as_a_module(tmp_path: Path) -> None:
    put(tmp_path, {
        "src/pkg/__init__.py": "",
        "src/pkg/train.py": "from .helper import WHAT\nopen('m.txt', 'w').write(WHAT)\n",
        "src/pkg/helper.py": "WHAT = 'x'\n",
    })  # fmt: skip
    mlpipec(tmp_path, "init")
    assert "PYTHONPATH=src python3 -m pkg.train" in works(tmp_path, stages=1)
    put(tmp_path, {"src/pkg/helper.py": "WHAT = 'y'\n"})
    assert "1 ran" in mlpipec(tmp_path, "run")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    put(tmp_path, {"file": ""})
    said = mlpipec(tmp_path, "init", "file/inner", expect=1)
    assert "cannot write in `file/inner`" in said
    assert "Traceback" not in said


def test_a_project_of_dvc_is_imported(tmp_path: Path) -> None:
    put(tmp_path, {
        "dvc.yaml": "stages:\n  train:\n    cmd: python3 train.py\n    deps: [train.py]\n    outs: [m.txt]\n",
        "train.py": "open('m.txt', 'w').write('1')\n",
    })  # fmt: skip
    said = mlpipec(tmp_path, "init")
    assert "carried over" in said
    assert "mlpipec import --cache" in said
    assert 'run = "python3 train.py"' in works(tmp_path, stages=1)
    assert "mlpipe-bundles" in (tmp_path / ".gitignore").read_text()
