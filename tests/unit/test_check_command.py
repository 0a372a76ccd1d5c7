"""`mlpipec check`, `explain` and `graph` as a user calls them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
mlpipe 1
pipeline churn

data raw = "raw.csv"

stage prepare {
  in raw
  out clean = "clean.csv"
  run = "sort {{raw}} > {{clean}}"
}

stage count {
  in prepare.clean
  out n: metrics { lines: int } = "n.json"
  run = "wc -l < {{clean}} > {{n}}"
}

gate enough { require count.n.lines > 0 }

on push("main") { run = [enough] }
"""


def mlpipec(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from mlflowc.cli import main; main()", *args],
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.mlpipe").write_text(GOOD)
    (tmp_path / "raw.csv").write_text("b\na\n")
    return tmp_path


def rewrite(project: Path, old: str, new: str) -> None:
    path = project / "pipeline.mlpipe"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_good_pipeline_says_what_it_has(project: Path) -> None:
    done = mlpipec(project, "check")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "ok: 2 stages, 1 data source, 1 gate, 1 event\n",
        "",
    )


def test_all_errors_in_one_go(project: Path) -> None:
    rewrite(project, "raw.csv", "gone.csv")
    rewrite(project, '"n.json"', '"clean.csv/n.json"')
    rewrite(project, "[enough]", "[enogh]")
    done = mlpipec(project, "check")
    assert done.returncode == 1
    assert re.findall(r"^(?:error|warning)\[(MLP\d+)\]", done.stdout, re.M) == ["MLP328", "MLP321", "MLP201"]
    assert done.stdout.endswith("\n3 errors\n") and "Traceback" not in done.stderr


def test_warnings_pass_unless_strict(project: Path) -> None:
    rewrite(project, "{{raw}}", "'{{raw}}'")
    done = mlpipec(project, "check")
    assert done.returncode == 0
    assert "warning[MLP411]" in done.stdout and "1 warning\nok: 2 stages" in done.stdout
    assert mlpipec(project, "check", "--strict").returncode == 1


def test_an_escaped_quote_of_the_shell_is_no_second_quoting(project: Path) -> None:
    rewrite(project, "{{raw}}", r"{{raw}}; echo \"{\\\"lines\\\": 1}\" > {{raw}}")
    done = mlpipec(project, "check", "--strict")
    assert (done.returncode, done.stdout) == (0, "ok: 2 stages, 1 data source, 1 gate, 1 event\n")


def test_set_is_checked_too(project: Path) -> None:
    rewrite(project, "gate enough", "param least: int = 0\ngate enough")
    rewrite(project, "lines > 0", "lines > params.least")
    assert mlpipec(project, "check", "--set", "least=3").returncode == 0
    done = mlpipec(project, "check", "--set", "least=many")
    assert done.returncode == 2 and "least" in done.stderr


def test_machine_formats_in_a_folder_below_the_repository(project: Path) -> None:
    (project / ".git").mkdir()
    below = project / "ml" / "churn"
    below.mkdir(parents=True)
    (below / "pipeline.mlpipe").write_text(GOOD)  # raw.csv is not there
    for form in ("json", "sarif", "github", "gitlab"):
        done = mlpipec(project, "-C", "ml/churn", "check", "--format", form)
        assert done.returncode == 1 and done.stderr == ""
        if form == "json":
            (found,) = json.loads(done.stdout)["diagnostics"]
            assert (found["code"], found["file"]) == ("MLP328", "pipeline.mlpipe")
        elif form == "sarif":
            (run,) = json.loads(done.stdout)["runs"]
            location = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
            assert location["uri"] == "ml/churn/pipeline.mlpipe"
        elif form == "github":
            assert done.stdout.startswith("::error file=ml/churn/pipeline.mlpipe,line=4,")
        else:
            assert json.loads(done.stdout)[0]["location"]["path"] == "ml/churn/pipeline.mlpipe"


def test_the_format_stays_text_on_a_ci_runner(project: Path) -> None:
    done = mlpipec(project, "check", CI="true", GITHUB_ACTIONS="true", GITLAB_CI="true")
    assert done.stdout.startswith("ok: ")


def test_fix_applies_what_is_certain_and_checks_again(project: Path) -> None:
    rewrite(project, "{{raw}}", "'{{raw}}'")
    rewrite(project, "in prepare.clean\n", 'in clean = "clean.csv"\n')
    rewrite(project, "< {{clean}}", "< {clean}")
    path = project / "pipeline.mlpipe"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    path.chmod(0o640)
    done = mlpipec(project, "check", "--fix")
    assert (done.returncode, done.stderr) == (0, "applied 3 fixes in pipeline.mlpipe\n")
    assert done.stdout == "ok: 2 stages, 1 data source, 1 gate, 1 event\n"
    wanted = GOOD.replace("in prepare.clean", "in clean = prepare.clean")
    assert path.read_bytes() == b"\xef\xbb\xbf" + wanted.encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in project.iterdir()) == ["pipeline.mlpipe", "raw.csv"]


def test_fix_without_anything_certain_changes_nothing(project: Path) -> None:
    rewrite(project, "raw.csv", "gone.csv")
    before = (project / "pipeline.mlpipe").stat()
    done = mlpipec(project, "check", "--fix")
    assert done.returncode == 1 and done.stderr == "nothing that could be fixed for certain\n"
    after = (project / "pipeline.mlpipe").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_file_may_be_named_without_an_option(project: Path) -> None:
    (project / "other.mlpipe").write_text(GOOD.replace("churn", "other"))
    assert mlpipec(project, "check", "other.mlpipe").stdout.startswith("ok:")
    twice = mlpipec(project, "check", "other.mlpipe", "-f", "other.mlpipe")
    assert (twice.returncode, twice.stdout) == (2, "")
    assert "given twice" in twice.stderr


def test_no_pipeline_is_a_usage_error(tmp_path: Path) -> None:
    done = mlpipec(tmp_path, "check")
    assert done.returncode == 2 and "mlpipec init" in done.stderr


def test_explain_shows_the_long_form(tmp_path: Path) -> None:
    done = mlpipec(tmp_path, "explain", "mlp328")
    assert done.returncode == 0
    assert done.stdout.startswith("error[MLP328]: an input that does not exist\n")
    assert (
        "Fails:\n\n    mlpipe 1\n" in done.stdout and "Right:\n" in done.stdout and "```" not in done.stdout
    )


def test_explain_alone_lists_every_code(tmp_path: Path) -> None:
    from mlflowc.check.registry import all_checks

    done = mlpipec(tmp_path, "explain")
    assert re.findall(r"^  (MLP\d+)  \S", done.stdout, re.M) == [c.code for c in all_checks()]


def test_explain_of_a_slip_names_the_nearest(tmp_path: Path) -> None:
    done = mlpipec(tmp_path, "explain", "MLP3288")
    assert done.returncode == 2 and "MLP328" in done.stderr


@pytest.mark.parametrize(
    ("form", "begins"),
    [("text", "churn: 2 stages"), ("mermaid", "flowchart "), ("dot", 'digraph "churn"'), ("svg", "<svg ")],
)
def test_graph_formats(project: Path, form: str, begins: str) -> None:
    done = mlpipec(project, "graph", "--format", form)
    assert done.returncode == 0 and done.stdout.startswith(begins)
    assert all(name in done.stdout for name in ("raw", "prepare", "count", "enough"))


def test_graph_of_a_target(project: Path) -> None:
    done = mlpipec(project, "graph", "prepare")
    assert "● prepare" in done.stdout and "count" not in done.stdout
    wrong = mlpipec(project, "graph", "prepre")
    assert wrong.returncode == 2 and "`prepare`" in wrong.stderr


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [(b'mlpipe 1\nstage a { run = "caf\xe9" }\n', 2, 21), (b"mlpipe 1\n\0", 2, 1), (b"", 1, 1)],
    ids=["latin-1", "null", "empty"],
)
def test_what_is_no_text_is_a_finding_with_a_place(
    tmp_path: Path, content: bytes, line: int, column: int
) -> None:
    (tmp_path / "a.mlpipe").write_bytes(content)
    done = mlpipec(tmp_path, "check", "a.mlpipe", "--format", "json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)["diagnostics"]
    assert (found["range"]["start"]["line"], found["range"]["start"]["column"]) == (line, column)


def compiled_anew(project: Path, *args: str) -> tuple[bool, str]:
    """Whether `mlpipec check` compiled the pipeline, and what it said."""
    script = (
        "import sys\nfrom mlflowc import cli\n"
        "try: cli.main()\nfinally: print('mlflowc.compile' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "check", *args],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *said, compiled = done.stdout.splitlines()
    return compiled == "True", "\n".join(said)


OK = "ok: 2 stages, 1 data source, 1 gate, 1 event"


def test_what_was_found_good_and_is_unchanged_is_not_compiled_again(project: Path) -> None:
    assert compiled_anew(project) == (True, OK)
    # `check` itself leaves nothing behind.
    assert compiled_anew(project) == (True, OK)
    assert not (project / ".mlpipe").exists()
    assert mlpipec(project, "ir").returncode == 0
    assert compiled_anew(project) == (False, OK)
    assert compiled_anew(project, "--fix") == (True, OK)
    assert compiled_anew(project, "--format", "json")[0]
    assert compiled_anew(project, "--set", "a.b=1")[0]


def test_a_change_that_a_lint_sees_is_found_after_all(project: Path) -> None:
    assert mlpipec(project, "ir").returncode == 0
    (project / "raw.csv").unlink()
    compiled, said = compiled_anew(project)
    assert compiled
    assert "raw.csv" in said


def test_warnings_are_said_each_time(project: Path) -> None:
    rewrite(project, "wc -l <", "pip install x; wc -l <")
    assert mlpipec(project, "ir").returncode == 0
    for _ in range(2):
        compiled, said = compiled_anew(project)
        assert compiled
        assert "installs packages" in said
