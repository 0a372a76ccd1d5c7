"""One key, two results: noticed, told once, and the first is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.unlike import Kept, compare
from tests.runtime.lab import Lab, stage

PIPELINE = """\
mlpipe 1

pipeline odd

stage draw {
  out number: file   = "number.txt"
  out scores: metrics { auc: float, n: int } = "scores.json"
  run = \"\"\"
  cat ../chance > {{number}}
  echo '{"n": 3, "auc": '$(cat ../chance)'}' > {{scores}}
  \"\"\"
}

stage use {
  in  number     = draw.number
  out copy: file = "copy.txt"
  run = "cat {{number}} > {{copy}}"
}

on push("main") { run = [use] }
"""


class Project:
    """A project whose first stage depends on a file beside it that it does not declare."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "pipeline.mlpipe").write_text(PIPELINE)
        self.chance("0.5")

    def chance(self, text: str) -> None:
        (self.root.parent / "chance").write_text(f"{text}\n")

    def call(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "mlflowc", *words], cwd=self.root, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *words: str) -> Any:
        return json.loads(self.call(*words, "--json").stdout)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "one" / "project")


def test_a_forced_run_with_another_result_is_told(project: Project) -> None:
    assert "differently" not in project.call("run").stderr
    first = project.read("mlpipe.lock")
    project.chance("0.75")
    done = project.call("run", "--force", "draw")
    assert done.stderr.count("came out differently") == 1
    assert "number (`number.txt`): first " in done.stderr
    assert "auc 0.5 → 0.75" in done.stderr
    assert "n 3" not in done.stderr
    assert "the cache keeps the first result" in done.stderr
    assert "pin what is random" in done.stderr
    # In place, and in the lock, is what was made; the first comes back with the first lock.
    assert project.read("number.txt") == "0.75\n"
    assert project.read("mlpipe.lock") != first
    assert project.call("run").stderr == ""
    assert project.read("copy.txt") == "0.75\n"
    assert "nothing to do" in project.call("run").stdout
    (project.root / "mlpipe.lock").write_text(first)
    project.call("run")
    assert (project.read("number.txt"), project.read("copy.txt")) == ("0.5\n", "0.5\n")


def test_without_a_lock_the_first_comes_back(project: Project) -> None:
    project.call("run")
    project.chance("0.75")
    project.call("run", "--force", "draw")
    for name in ("mlpipe.lock", "number.txt"):
        (project.root / name).unlink()
    project.call("run")
    assert project.read("number.txt") == "0.5\n"


def test_machines_and_the_history_are_told(project: Project) -> None:
    project.call("run")
    project.chance("0.75")
    stages = {s["stage"]: s for s in project.json("run", "--force")["stages"]}
    unlike = stages["draw"]["unlike"]
    assert "unlike" not in stages["use"]  # it read something else: another key
    assert unlike["kept"] == "first"
    by_name = {o["output"]: o for o in unlike["outputs"]}
    assert by_name["scores"]["metrics"] == {"auc": {"first": 0.5, "now": 0.75}}
    assert by_name["number"]["first"] != by_name["number"]["now"]
    assert by_name["number"]["now"] == stages["draw"]["outputs"]["number"]["hash"]
    noted = [r for r in project.json("log", "draw")["runs"] if r["note"]]
    assert len(noted) == 1
    assert noted[0]["outcome"] == "ran"
    assert "came out differently: number" in project.call("log", "draw").stdout
    assert "came out differently: number" in project.call("show", "draw").stdout


def test_each_run_keeps_its_own_outputs_and_numbers(project: Project) -> None:
    """Also when the cache has those of the first alone."""
    project.call("run")
    project.chance("0.75")
    project.call("run", "--force", "draw")
    said = project.call("diff", "@1", "@2", "draw").stdout
    assert "draw.scores.auc" in said and "0.75" in said and "draw.number" in said
    assert "not kept" not in said
    runs = {r["run"]: r for r in project.json("log", "draw", "--json")["runs"]}
    assert runs[1]["metrics"]["scores"]["auc"] == 0.5
    assert runs[2]["metrics"]["scores"]["auc"] == 0.75
    # Now and then the cache is cleared up: what no result names goes.
    for path in (project.root / ".mlpipe/cache/objects").glob("??/*"):
        if path.read_text() == "0.75\n":
            path.unlink()
    said = project.call("diff", "@1", "@2", "draw").stdout
    assert "0.75" in said
    assert "note: @2: the content of `number.txt` is not kept: `draw` came out differently" in said
    shutil.rmtree(project.root / ".mlpipe/cache")
    assert "0.75" in project.call("diff", "@1", "@2", "draw").stdout


def test_the_same_again_is_nothing_to_tell(project: Project) -> None:
    project.call("run")
    assert "differently" not in project.call("run", "--force").stderr


def test_a_first_result_that_is_not_whole_gives_way(project: Project) -> None:
    project.call("run")
    project.chance("0.75")
    shutil.rmtree(project.root / ".mlpipe/cache/objects")
    (project.root / "number.txt").unlink()
    told = project.call("run").stderr
    assert "the first result could not be used any more" in told
    for name in ("number.txt", "mlpipe.lock"):
        (project.root / name).unlink()
    project.call("run")
    assert project.read("number.txt") == "0.75\n"


def test_another_result_than_the_committed_lock_names_is_told(project: Project, tmp_path: Path) -> None:
    project.call("run")
    other = Project(tmp_path / "two" / "project")
    shutil.copy(project.root / "mlpipe.lock", other.root)
    other.chance("0.75")
    told = other.call("run").stderr
    assert "`mlpipe.lock` named another result" in told
    # Two people who overwrite each other's line hear of it, each time.
    shutil.copy(project.root / "mlpipe.lock", other.root)
    told = other.call("run").stderr
    assert "`draw` came out differently" in told
    assert "`use`" not in told
    assert "differently" not in other.call("run").stderr


def test_a_bundle_with_another_result_is_told_and_left_out(project: Project, tmp_path: Path) -> None:
    project.call("run")
    project.call("cache", "export", "../results.tar")
    other = Project(tmp_path / "two" / "project")
    other.chance("0.75")
    other.call("run")
    done = other.call("cache", "import", "../../one/results.tar")
    assert done.stderr.count("`draw` came out differently") == 1
    assert "the result that is here stays" in done.stderr
    unlike = other.json("cache", "import", "../../one/results.tar")["unlike"]
    assert [u["stage"] for u in unlike] == ["draw"]
    (other.root / "number.txt").unlink()
    other.call("run")
    assert other.read("number.txt") == "0.75\n"


def test_another_result_than_the_remote_has_is_told(project: Project) -> None:
    project.call("run")
    project.call("cache", "push", "--remote", "../remote")
    shutil.rmtree(project.root / ".mlpipe")
    for name in ("number.txt", "scores.json", "mlpipe.lock"):
        (project.root / name).unlink()
    project.chance("0.75")
    project.call("run")
    said = project.call("cache", "push", "--remote", "../remote").stdout
    assert "note: `draw` came out differently than in the remote" in said
    assert "  scores (`scores.json`): first " in said
    assert "auc 0.5 → 0.75" in said
    (unlike,) = project.json("cache", "push", "--remote", "../remote")["unlike"]
    assert (unlike["stage"], unlike["kept"]) == ("draw", "in the remote")


def test_what_is_lost_here_comes_from_the_remote_though_it_is_another(project: Project) -> None:
    project.call("run")
    project.call("cache", "push", "--remote", "../remote")
    two = Project(project.root.parent / "two")
    two.chance("0.7")
    two.call("run")
    shutil.rmtree(two.root / ".mlpipe/cache/objects")
    for name in ("number.txt", "scores.json", "copy.txt"):
        (two.root / name).unlink()
    two.chance("0.9")
    # A fresh look: it was not made again, and so was nothing behind it.
    said = two.call("run", "--remote", "../remote", "draw", "use").stderr
    assert "`draw` came out differently, though nothing that decides it changed" in said
    assert "auc 0.7 → 0.5" in said
    assert "the content of the result that was made here is lost: what the remote has takes its place" in said
    assert (two.root / "number.txt").read_text() == (two.root / "copy.txt").read_text() == "0.5\n"
    done = two.call("run", "--remote", "../remote")
    assert "nothing to do" in done.stdout and "differently" not in done.stderr


def test_what_another_process_made_since_the_plan_is_not_made_again(tmp_path: Path) -> None:
    """Between the plan and the locks nobody had to wait: the other process was faster."""
    from mlflowc.runtime.execute import Options, run
    from mlflowc.runtime.plan import make_plan

    lab = Lab(tmp_path)
    lab.stages = [stage("a", "echo x >> count; echo done > {o:o}", writes={"o": "out"})]
    ws = lab.open()
    plan = make_plan(ws)
    assert lab.run().ok
    lab.read("out")
    (tmp_path / "out").unlink()
    assert run(ws, plan, Options(1)).ok
    ws.close()
    assert lab.read("count") == "x\n"
    assert lab.read("out") == "done\n"


def test_what_differs() -> None:
    def made(name: str, digest: str, *, executable: bool = False) -> OutputRecord:
        return OutputRecord(name, f"out/{name}", "file", digest * 64, 1, executable)

    same = made("s", "a")
    assert compare([same], {"s": {"x": 1}}, [same], {"s": {"x": 1}}) == ()
    (mode,) = compare([same], {}, [made("s", "a", executable=True)], {})
    assert str(mode) == "s (`out/s`): only its exec bit differs"
    (text,) = compare([same], {"s": {"x": 1, "y": 2.5}}, [made("s", "b")], {"s": {"x": 2, "y": 2.5, "z": 1}})
    assert str(text) == f"s (`out/s`): first {'a' * 12}, now {'b' * 12}; x 1 → 2, z none → 1"
    assert {k.value for k in Kept} == {
        "first",
        "here",
        "new",
        "not the locked",
        "in the remote",
        "from the remote",
    }
