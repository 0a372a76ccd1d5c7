"""The quick answer must never be wrong: whatever could change a key, or an output, takes it away."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflowc.ir.model import Env
from mlflowc.runtime import laststate
from mlflowc.runtime.execute import run
from mlflowc.runtime.plan import make_plan
from tests.runtime.lab import DIR, Lab, stage
from tests.support.ir import place

SAID = laststate.Said("all is well\n", "all is well\n")


@pytest.fixture
def ready(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A project of every kind of input and output, run once, its state kept."""
    monkeypatch.setenv("PASSED", "1")
    # A version manager's `python3` is a script, and cannot be watched.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    lab.write("src/tool.py", "import helper\nopen('out/code.txt', 'w').write(helper.WORD)\n")
    lab.write("src/helper.py", "WORD = 'x'\n")
    lab.write("raw.txt", "1\n")
    lab.write("parts/a.txt", "a\n")
    lab.write("folder/deep/file.txt", "f\n")
    here = Env("here", place(), passed=("PASSED",))
    lab.envs = (here,)
    lab.stages = [
        stage("code", "python3 src/tool.py", writes={"o": "out/code.txt"}),
        stage(
            "copy", "cat {i:a} > {o:o}", reads={"a": "./raw.txt"}, writes={"o": "out/copy.txt"}, env="here"
        ),
        stage("glob", "cat {i:a} > {o:o}", reads={"a": "glob:parts/*.txt"}, writes={"o": "out/glob.txt"}),
        stage(
            "tree",
            "cp -r {i:a} {o:o}",
            reads={"a": "./folder"},
            writes={"o": "out/tree"},
            types={"o": DIR},
        ),
    ]
    assert keep(lab)
    # What was written just before the first run is too young to be believed then.
    assert keep(lab)
    assert laststate.is_fresh(lab.root, "token") == SAID
    return lab


def keep(lab: Lab) -> bool:
    """Runs, and keeps the state as the command line does."""
    ws = lab.open()
    plan = make_plan(ws)
    result = run(ws, plan)
    laststate.save(ws, plan.planner, "token", SAID)
    ws.close()
    return result.ok


def test_fresh_means_the_planner_has_nothing_to_do(ready: Lab) -> None:
    assert laststate.is_fresh(ready.root, "other token") is None
    assert ready.plan().idle


def _new_module(lab: Lab) -> None:
    lab.write("src/json.py", "")


CHANGES: dict[str, Callable[[Lab], object]] = {
    "an input": lambda lab: lab.write("raw.txt", "2\n"),
    "a script": lambda lab: lab.write("src/tool.py", "import helper\nopen('out/code.txt','w').write('2')\n"),
    "an imported module": lambda lab: lab.write("src/helper.py", "WORD = 'y'\n"),
    "a module that was not there": _new_module,
    "an output": lambda lab: lab.write("out/copy.txt", "2\n"),
    "an output that is gone": lambda lab: (lab.root / "out/copy.txt").unlink(),
    "a file that matches": lambda lab: lab.write("parts/b.txt", "b\n"),
    "a file that matched": lambda lab: (lab.root / "parts/a.txt").unlink(),
    "a file in a folder": lambda lab: lab.write("folder/deep/new.txt", ""),
    "an empty folder in a folder": lambda lab: (lab.root / "folder/empty").mkdir(),
    "an output folder": lambda lab: (lab.root / "out/tree/deep/file.txt").unlink(),
    "the lock": lambda lab: lab.write("mlpipe.lock", lab.read("mlpipe.lock") + "# more\n"),
    "no lock": lambda lab: (lab.root / "mlpipe.lock").unlink(),
    "a damaged state": lambda lab: (lab.root / ".mlpipe/state").write_bytes(b"x" * 100),
    "no state": lambda lab: shutil.rmtree(lab.root / ".mlpipe"),
    "a variable": lambda lab: os.environ.__setitem__("PASSED", "2"),
    "the mtime alone": lambda lab: os.utime(lab.root / "raw.txt", ns=(5, 5)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_noticed(ready: Lab, what: str) -> None:
    CHANGES[what](ready)
    assert laststate.is_fresh(ready.root, "token") is None


def test_another_interpreter_is_noticed(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ready.write("bin/python3", "#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    assert laststate.is_fresh(ready.root, "token") is None


def test_the_state_comes_back_after_the_change(ready: Lab) -> None:
    ready.write("raw.txt", "2\n")
    assert keep(ready)
    assert keep(ready)
    assert laststate.is_fresh(ready.root, "token") == SAID


def test_a_link_out_of_a_folder_cannot_be_watched(ready: Lab) -> None:
    ready.write("elsewhere.txt", "1\n")
    (ready.root / "folder" / "link").symlink_to("../elsewhere.txt")
    assert keep(ready)
    assert keep(ready)
    assert laststate.is_fresh(ready.root, "token") is None


def test_a_program_that_was_looked_for_and_comes_later(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    (lab.root / "tools").mkdir()
    command = "if [ -e tools/extra.sh ]; then bash tools/extra.sh > {o:o}; else echo none > {o:o}; fi"
    lab.stages = [stage("s", command, writes={"o": "o"})]
    assert keep(lab)
    assert keep(lab)
    assert laststate.is_fresh(lab.root, "token") is not None
    lab.write("tools/extra.sh", "echo extra\n")
    assert laststate.is_fresh(lab.root, "token") is None
    assert lab.run().ok
    assert lab.read("o") == "extra\n"
