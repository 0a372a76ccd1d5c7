"""What is different between two runs, revisions, or one of them and now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlflowc.commands.diff import text
from mlflowc.render.columns import width
from mlflowc.runtime.difference import difference
from mlflowc.runtime.history import Moment, Result
from mlflowc.runtime.records import OutputRecord
from tests.support import project
from tests.support.wheels import wheel


@pytest.fixture
def made(tmp_path: Path) -> project.Checkout:
    """Two commits with a run each: another parameter, another input, another command."""
    made = project.new(tmp_path / "p")
    made.mlpipec("run", "evaluate")
    made.commit()
    made.git("tag", "first")
    made.write({"params.yaml": "train:\n  epochs: 9\n", "source.txt": "b\nc\n"})
    made.replace("pipeline.mlpipe", "ls {{test}}/deep", "ls -l {{test}}/deep")
    made.mlpipec("run", "evaluate")
    made.commit()
    return made


def compared(made: project.Checkout, *names: str) -> dict[str, Any]:
    """The difference as JSON."""
    found: dict[str, Any] = json.loads(made.mlpipec("diff", *names, "--json").out)
    return found


def check(found: dict[str, Any]) -> None:
    """The difference of the two commits of the project."""
    assert found["params"] == {"train.epochs": {"before": 8, "after": 9}}
    assert list(found["metrics"]) == ["evaluate.scores.accuracy"]
    score = found["metrics"]["evaluate.scores.accuracy"]
    assert (score["before"], score["after"], round(score["change"], 6)) == (0.8, 0.9, 0.1)
    assert set(found["outputs"]) == {
        *("load.raw", "prepare.clean", "prepare.folder", "train.model", "evaluate.scores"),
    }
    assert list(found["inputs"]) == ["source.txt"]
    assert list(found["commands"]) == ["evaluate"]
    assert found["packages"] == found["stages"] == found["code"] == {}
    assert found["notes"] == []


@pytest.mark.parametrize(
    "names",
    [("first", "main"), ("first",), ("@1",), ("@1", "@2"), ("@-1",), ("HEAD^", "now"), ("first", "@2")],
)
def test_two_moments(made: project.Checkout, names: tuple[str, ...]) -> None:
    check(compared(made, *names))


def test_the_other_way_round(made: project.Checkout) -> None:
    found = compared(made, "now", "first")
    assert found["params"] == {"train.epochs": {"before": 9, "after": 8}}


def test_by_keys(made: project.Checkout) -> None:
    runs = json.loads(made.mlpipec("log", "train", "--json").out)["runs"]
    new, old = (r["key"][:10] for r in runs)
    found = compared(made, old, new)
    assert found["params"] == {"train.epochs": {"before": 8, "after": 9}}
    assert list(found["outputs"]) == ["train.model"]


def test_without_names_head_is_compared_with_now(made: project.Checkout) -> None:
    assert "no difference" in made.mlpipec("diff").out
    made.write({"params.yaml": "train:\n  epochs: 7\n"})
    made.mlpipec("run", "train")
    found = compared(made)
    assert found["a"].startswith("HEAD (")
    assert found["params"] == {"train.epochs": {"before": 9, "after": 7}}


def test_some_stages(made: project.Checkout) -> None:
    for names in (("first", "load"), ("first", "main", "load"), ("@1", "now", "load")):
        found = compared(made, *names)
        assert list(found["outputs"]) == ["load.raw"]
        assert found["params"] == {}


def test_code_and_stages_that_come_and_go(tmp_path: Path) -> None:
    pipeline = (
        'mlpipe 1\npipeline code\nstage a {\n  out x = "out/x"\n  run = "python3 a.py > {{x}}"\n}\n'
        'stage old {\n  out y = "out/y"\n  run = "echo > {{y}}"\n}\n'
    )
    made = project.new(tmp_path / "p", pipeline)
    made.write({"a.py": "import helper\n", "helper.py": "x = 1\n"})
    made.mlpipec("run")
    made.commit()
    made.write({"a.py": "import helper, more\n", "helper.py": "x = 2\n", "more.py": ""})
    made.replace("pipeline.mlpipe", "stage old", "stage young")
    made.mlpipec("run")
    found = compared(made, "HEAD")
    assert set(found["code"]) == {"a.py", "helper.py", "more.py"}
    assert found["code"]["more.py"]["before"] is None
    assert {n: (v["before"] is None, v["after"] is None) for n, v in found["stages"].items()} == {
        "old": (False, True),
        "young": (True, False),
    }
    shown = made.mlpipec("diff").out
    assert "more.py" in shown
    assert "new" in shown
    assert "gone" in shown


def test_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    pipeline = (
        'mlpipe 1\npipeline p\nenv py { requirements = "requirements.txt" }\n'
        'stage a {\n  env = py\n  out x = "out/x"\n  run = "echo > {{x}}"\n}\n'
    )
    made = project.new(tmp_path / "p", pipeline)
    for version in ("1.0", "2.0"):
        wheel(made.path / "wheels", "alpha", version)
    wheel(made.path / "wheels", "beta", "1.0")
    start = "--no-index\n--find-links wheels\n"
    made.write({"requirements.txt": f"{start}alpha==1.0\n"})
    made.mlpipec("run")
    made.commit()
    made.write({"requirements.txt": f"{start}alpha==2.0\nbeta\n"})
    assert "environment: requirements of `requirements.txt` changed\n" in made.mlpipec("status").out
    made.mlpipec("run")
    assert compared(made)["packages"] == {
        "py.alpha": {"before": "==1.0", "after": "==2.0"},
        "py.beta": {"before": None, "after": "==1.0"},
    }
    # A run keeps the hash of its packages, not each.
    assert set(compared(made, "@1", "@2")["packages"]) == {"environment: requirements"}


def test_a_clone_without_the_cache_says_what_it_cannot_know(made: project.Checkout, tmp_path: Path) -> None:
    clone = made.clone(tmp_path / "clone")
    found = compared(clone, "first")
    assert found["params"] == {"train.epochs": {"before": 8, "after": 9}}
    assert len(found["outputs"]) == 5
    assert found["inputs"] == found["commands"] == {}
    assert "a record is not in this cache" in found["notes"][0]
    assert "nothing ran here yet" in clone.mlpipec("diff", "@1", code=2).err


def test_a_revision_without_a_lock(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p")
    made.mlpipec("run", "load")
    found = compared(made)
    assert "has no mlpipe.lock" in found["notes"][0]
    assert found["stages"] == {}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("nothing",), "`nothing` is neither a run, nor a revision of Git, nor a key"),
        (("first", "prepar"), "did you mean `prepare`?"),
        (("@99",), "there is no run @99"),
        (("@-99",), "the runs here are @1 to @2"),
    ],
)
def test_what_is_not_there(made: project.Checkout, names: tuple[str, ...], said: str) -> None:
    assert said in made.mlpipec("diff", *names, code=2).err


def result(key: str, lines: str, accuracy: float, value: object) -> Result:
    """A result with long names and texts."""
    output = OutputRecord("model", "out/model", "file", key * 64, 1)
    components = {"command": json.dumps([[lines], None]), "code:src/" + "deep/" * 20 + "mod.py": key}
    return Result(key, {"model": output}, {"scores": {"accuracy": accuracy}}, {"text": value}, components)  # type: ignore[dict-item]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_text_fits(columns: int) -> None:
    name = "train[" + "long" * 20 + "]"
    a = Moment("a", {name: result("a", "python x.py " + "--flag " * 30 + "1", 0.25, "x" * 200)})
    b = Moment("b", {name: result("b", "python x.py " + "--flag " * 30 + "2", 0.5, "日本" * 60)})
    lines = text(a, b, difference(a, b), columns)
    assert all(width(line) <= columns for line in lines), lines
    shown = "\n".join(lines)
    assert "+0.25 (+100.0 %)" in shown
    assert "--flag 1`" in shown
    assert "--flag 2`" in shown


FOLDER = """\
mlpipe 1
pipeline p

stage split {
  in  names = "names.txt"
  out parts = "parts/"
  run = "mkdir {{parts}}; while read n t; do echo $t > {{parts}}/$n; done < {{names}}"
}
"""


def test_files_of_a_folder_are_named(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p", FOLDER)
    made.write({"names.txt": "".join(f"f{n} {n}\n" for n in range(9))})
    made.mlpipec("run")
    made.write({"names.txt": "f0 x\nf1 y\n" + "".join(f"f{n} {n}\n" for n in range(3, 10))})
    made.mlpipec("run")
    told = made.mlpipec("diff", "@1").out.splitlines()
    place = next(n for n, line in enumerate(told) if line.startswith("  split.parts  "))
    assert told[place + 1] == "    2 changed (f0, f1), 1 new (f9), 1 gone (f2)"
    found = compared(made, "@1")
    assert found["outputs"]["split.parts"]["files"] == {
        "changed": ["f0", "f1"],
        "new": ["f9"],
        "gone": ["f2"],
    }
    assert "files" not in found["inputs"]["names.txt"]


def test_without_a_commit_it_says_what_can_be_compared(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p", FOLDER)
    made.write({"names.txt": "a 1\n"})
    shutil.rmtree(made.path / ".git")
    made.git("init", "-q")
    told = made.mlpipec("diff", code=2).err
    assert "error: there is no commit yet to compare with\n" in told
    assert "nothing ran here either" in told
    made.mlpipec("run")
    told = made.mlpipec("diff", "split", code=2).err
    assert "help: `mlpipec diff @1` compares with a run" in told
    assert "HEAD" not in told
