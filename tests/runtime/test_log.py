"""What ran, when, and how it ended: the history of a project."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from mlflowc.commands.log import table
from mlflowc.render.columns import width
from mlflowc.runtime.index import Run, StatIndex
from tests.runtime.lab import Lab, stage
from tests.support import project


@pytest.fixture
def made(tmp_path: Path) -> project.Checkout:
    """The project of the tests, run twice: the second time with a parameter that makes a stage fail."""
    made = project.new(tmp_path / "p")
    made.mlpipec("run", "evaluate")
    made.replace("source.txt", "a", "c")
    made.replace("pipeline.mlpipe", "echo WORKING train", "exit 9")
    made.mlpipec("run", "evaluate", code=1)
    return made


def test_what_ran_is_listed_latest_first(made: project.Checkout) -> None:
    lines = made.mlpipec("log", COLUMNS="120").out.splitlines()
    assert lines[0].split() == ["run", "when", "stage", "outcome", "took", "key", "commit"]
    told = [tuple(line.split()[n] for n in (0, 3, 4)) for line in lines[1:] if line.startswith("@")]
    assert told == [
        ("@2", "train", "failed"),
        ("@2", "prepare", "ran"),
        ("@2", "load", "ran"),
        ("@1", "evaluate", "ran"),
        ("@1", "train", "ran"),
        ("@1", "prepare", "ran"),
        ("@1", "load", "ran"),
    ]
    assert lines[2].strip() == "exit code 9"
    assert lines[-1].split()[-1] == made.git("rev-parse", "HEAD")[:9]


def test_as_json_it_has_parameters_and_metrics(made: project.Checkout) -> None:
    runs = json.loads(made.mlpipec("log", "--json").out)["runs"]
    evaluate = next(r for r in runs if r["stage"] == "evaluate")
    assert evaluate["metrics"] == {"scores": {"accuracy": 0.8}}
    assert evaluate["commit"] == made.git("rev-parse", "HEAD").strip()
    assert (evaluate["run"], evaluate["outcome"], evaluate["note"]) == (1, "ran", None)
    good = next(r for r in runs if r["stage"] == "train" and r["outcome"] == "ran")
    assert good["params"] == {"train.epochs": 8}
    failed = next(r for r in runs if r["outcome"] == "failed")
    assert failed["note"] == "exit code 9"
    assert failed["params"] is None


def test_some_stages_and_some_lines(made: project.Checkout) -> None:
    assert [r["run"] for r in json.loads(made.mlpipec("log", "load", "--json").out)["runs"]] == [2, 1]
    assert len(json.loads(made.mlpipec("log", "-n", "3", "--json").out)["runs"]) == 3
    said = made.mlpipec("log", "lod", code=2).err
    assert "did you mean `load`?" in said


def test_what_came_from_the_cache_is_told_apart(made: project.Checkout) -> None:
    made.replace("source.txt", "c", "a")
    made.replace("pipeline.mlpipe", "exit 9", "echo WORKING train")
    made.mlpipec("run", "evaluate")
    runs = json.loads(made.mlpipec("log", "--json").out)["runs"]
    assert {(r["stage"], r["outcome"]) for r in runs if r["run"] == 3} == {
        ("load", "restored"),
        ("prepare", "restored"),
    }
    # Nothing is written for a run with nothing to do.
    made.mlpipec("run", "evaluate")
    assert max(r["run"] for r in json.loads(made.mlpipec("log", "--json").out)["runs"]) == 3


def test_another_result_that_was_in_place_is_told(lab: Lab) -> None:
    """Back to an earlier key whose output is the same as now: nothing is run and nothing restored."""
    lab.params = {"n": 1}
    lab.stages = [stage("a", "echo same > {o:x}; : {p:n}", writes={"x": "x.txt"}, params=("n",))]
    for n in (1, 2, 1):
        lab.params = {"n": n}
        lab.run()
    ws = lab.open()
    assert [r.outcome for r in ws.index.runs()] == ["kept", "ran", "ran"]
    ws.close()


def test_before_anything_ran(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p")
    assert "nothing ran here yet" in made.mlpipec("log").out
    assert json.loads(made.mlpipec("log", "--json").out) == {"runs": []}


def test_the_history_of_an_older_version_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = StatIndex(path)
    index.remember_run(Run("s", "k1", 1.0, 2.0, "ran"))
    index.close()
    db = sqlite3.connect(path)
    db.execute("DROP INDEX history_run")
    for column in ("run", "at", "note", "made"):
        db.execute(f"ALTER TABLE history DROP COLUMN {column}")
    db.commit()
    db.close()
    index = StatIndex(path)
    index.remember_run(Run("s", "k2", 3.0, 4.0, "failed", commit="c", note="why"))
    index.close()
    assert StatIndex(path).runs() == [
        Run("s", "k2", 3.0, 4.0, "failed", 1, "c", "why"),
        Run("s", "k1", 1.0, 2.0, "ran"),
    ]


def test_two_processes_at_once_are_two_runs(tmp_path: Path) -> None:
    first, second = StatIndex(tmp_path / "index.db"), StatIndex(tmp_path / "index.db")
    for n in range(2):
        for index, key in ((first, "a"), (second, "b")):
            index.remember_run(Run("s", f"{key}{n}", 1.0, 1.0, "ran"))
            index.flush()
    first.close()
    second.close()
    assert [(r.key, r.run) for r in StatIndex(tmp_path / "index.db").runs()] == [
        ("b1", 2),
        ("a1", 1),
        ("b0", 2),
        ("a0", 1),
    ]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits(columns: int) -> None:
    runs = [
        Run("a" * 70 + "[日本語]", "0" * 64, 1e9, 7200.0, "restored", 1234, "f" * 40),
        Run("b", "1" * 64, 1e9, 0.1, "failed", 1234, None, "it failed " * 30),
        Run("c\x1b[31m", "1" * 64, 1e9, 0.1, "ran"),
    ]
    lines = table(runs, columns)
    assert all(width(line) <= columns for line in lines), lines
    assert "\x1b" not in "".join(lines)
    assert len(lines) == 5
