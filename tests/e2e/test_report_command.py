"""`mlpipec report` on a project that ran: what it prints, what it writes, what it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import training

PIPELINE = """\
mlpipe 1

pipeline churn

params "params.yaml"

data raw: csv = "raw.csv"

stage prepare {
  in   raw
  out  clean: csv = "out/clean.csv"
  run  = "cp {{raw}} {{clean}}"
}

stage train {
  in    data = prepare.clean
  param train.*
  out   scores: metrics { accuracy: float, auc: float, seconds: int } = "out/scores.json"
  out   curve: csv { epoch: int, loss: float, val_loss: float } = "out/loss.csv"
  out   confusion: csv = "out/confusion.csv"
  run   = "python3 train.py {{params.train.lr}} {{params.train.seed}}"
}

report review {
  text \"""
  Trained on **{{prepare.clean.rows}}** customers, AUC {{train.scores.auc}}.
  \"""
  metrics train.scores vs "main"
  params vs "main"
  plot train.curve { x = epoch, y = [loss, val_loss], vs = "main", title = "Learning curve" }
  plot train.confusion { kind = confusion }
  stages
  data
}
"""


def mlpipec(root: Path, *args: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    """Runs the tool in the project."""
    env = os.environ | {"COLUMNS": str(columns)}
    return subprocess.run(
        [sys.executable, "-c", "from mlflowc.cli import main; main()", *args],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def project(root: Path) -> Path:
    """A project that never ran."""
    training.files(root)
    (root / "params.yaml").write_text("train:\n  lr: 0.1\n  seed: 7\n")
    (root / "pipeline.mlpipe").write_text(PIPELINE)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a branch beside those of `main`."""
    root = project(tmp_path_factory.mktemp("command") / "churn")
    training.git(root, "init", "-q", "-b", "main")
    ran = mlpipec(root, "run")
    assert ran.returncode == 0, ran.stderr
    training.commit(root, "first results")
    training.git(root, "checkout", "-q", "-b", "faster")
    (root / "params.yaml").write_text("train:\n  lr: 0.15\n  seed: 7\n")
    assert mlpipec(root, "run").returncode == 0
    return root


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_prints_a_report_that_fits_the_terminal(trained: Path, columns: int) -> None:
    done = mlpipec(trained, "report", columns=columns)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(len(line) for line in done.stdout.splitlines()) <= columns
    for words in (
        "Trained on **1,234** customers, AUC 0.915.",
        "train.lr",
        "+0.005",
        "Learning curve",
        "up to date",
    ):
        assert words in done.stdout


def test_it_writes_markdown_with_pictures_beside_it_and_a_page(trained: Path, tmp_path: Path) -> None:
    text, page = tmp_path / "out" / "review.md", tmp_path / "out" / "review.html"
    done = mlpipec(trained, "report", "review", "--markdown", str(text), "--html", str(page))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"written {page}\nwritten {text}, and 2 pictures beside it\n"
    shown = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text.read_text())
    assert sorted(shown) == sorted(p.name for p in text.parent.glob("*.png"))
    assert len(shown) == 2
    assert "<h1>review</h1>" in page.read_text()
    assert sorted(p.suffix for p in text.parent.iterdir()) == [".html", ".md", ".png", ".png"]


def test_json_is_json_with_the_figures(trained: Path) -> None:
    done = mlpipec(trained, "report", "--json", "--vs", "HEAD")
    value = json.loads(done.stdout)
    (metrics,) = [s for s in value["sections"] if s["kind"] == "metrics"]
    assert [(r["field"], r["now"], r["before"]) for r in metrics["rows"]][:2] == [
        ("accuracy", 0.875, 0.85),
        ("auc", 0.915, 0.91),
    ]


def test_the_page_says_when_the_commit_is_not_what_was_run(trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "review.html"
    words = "with changes that are not committed"

    def shown() -> str:
        assert mlpipec(trained, "report", "--html", str(page)).returncode == 0
        return page.read_text()

    assert words in shown()  # another rate than the commit has
    params = trained / "params.yaml"
    edited = params.read_text()
    training.git(trained, "checkout", "-q", "params.yaml")
    assert training.git(trained, "status", "--porcelain", "mlpipe.lock")  # which does not count
    assert words not in shown()
    params.write_text(edited)


def test_without_a_run_it_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    done = mlpipec(project(tmp_path / "churn"), "report")
    assert done.returncode == 0
    assert "Not run yet: `prepare`, `train`." in done.stdout
    assert "`mlpipec run prepare train`" in done.stdout
    assert done.stdout.count("this is no git repository") == 1


def test_a_parameter_that_was_changed_since_makes_the_report_out_of_date(trained: Path) -> None:
    done = mlpipec(trained, "report", "--set", "train.lr=0.3")
    assert "Out of date, shown as last made: `train`." in done.stdout
    assert "`mlpipec run train`" in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["reviw"], 2, "did you mean `review`?"),
        (["--html", "/dev/null/x.html"], 1, "cannot write `/dev/null/x.html`"),
        (["--set", "train.lr"], 2, "is not of the form NAME=VALUE"),
    ],
)
def test_mistakes_are_told(trained: Path, args: list[str], code: int, says: str) -> None:
    done = mlpipec(trained, "report", *args)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipeline_without_a_report_says_how_to_add_one(tmp_path: Path) -> None:
    root = project(tmp_path / "churn")
    (root / "pipeline.mlpipe").write_text(PIPELINE[: PIPELINE.index("report review")])
    done = mlpipec(root, "report")
    assert done.returncode == 1
    assert "the pipeline `churn` has no report" in done.stderr


def test_several_reports_want_a_name(tmp_path: Path) -> None:
    root = project(tmp_path / "churn")
    (root / "pipeline.mlpipe").write_text(PIPELINE + "\nreport short { stages }\n")
    done = mlpipec(root, "report")
    assert done.returncode == 2
    assert "mlpipec report review | short" in done.stderr
    assert mlpipec(root, "report", "short").returncode == 0


def test_a_damaged_lock_file_is_told(tmp_path: Path) -> None:
    root = project(tmp_path / "churn")
    (root / "mlpipe.lock").write_text("stage train {\n")
    done = mlpipec(root, "report")
    assert done.returncode == 1
    assert "`mlpipe.lock` is damaged at line 1" in done.stderr
