"""The quick answer must never be wrong: whatever could change a key, or an output, takes it away."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlflowc.ir.model import Env
from mlflowc.runtime import laststate, requirements
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


@pytest.fixture
def pyenv(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version manager whose script is the `python3` on PATH, with the project settled under it."""
    root = ready.root.parent / f"{ready.root.name}-pyenv"
    (ready.root / "sub" / "deep").mkdir(parents=True)
    for version in ("3.11.7", "3.12.1"):
        folder = root / "versions" / version / "bin"
        folder.mkdir(parents=True)
        (folder / "python3").symlink_to(sys.executable)
    (root / "version").write_text("3.11.7\n")
    scripts = {
        "shims/python3": f'program="${{0##*/}}"\nexec "{root}/libexec/pyenv" exec "$program" "$@"\n',
        "libexec/pyenv": f'shift 2\nexec {root}/versions/3.11.7/bin/python3 "$@"\n',
    }
    for name, text in scripts.items():
        (root / name).parent.mkdir()
        (root / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (root / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/shims{os.pathsep}{os.environ['PATH']}")
    for name in [n for n in os.environ if n.startswith("PYENV_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(ready.root / "sub" / "deep")
    assert keep(ready)
    assert laststate.is_fresh(ready.root, "token") == SAID
    return root


VERSIONS: dict[str, Callable[[Path], object]] = {
    "another version for all": lambda root: (root / "version").write_text("3.12.1\n"),
    "one for the project": lambda root: Path(".python-version").write_text("3.12.1\n"),
    "one for a folder above": lambda root: Path("../.python-version").write_text("3.12.1\n"),
    "one for the shell": lambda root: os.environ.__setitem__("PYENV_VERSION", "3.12.1"),
    "none": lambda root: (root / "version").unlink(),
    "it is gone": lambda root: shutil.rmtree(root / "versions/3.11.7"),
    "one more version": lambda root: (root / "versions/3.13.0").mkdir(),
    "another manager": lambda root: (root / "libexec/pyenv").write_text("#!/bin/sh\n"),
}


@pytest.mark.parametrize("what", VERSIONS)
def test_a_version_manager_that_chooses_anew(
    ready: Lab, pyenv: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYENV_VERSION", "")
    assert laststate.is_fresh(ready.root, "token") == SAID
    VERSIONS[what](pyenv)
    assert laststate.is_fresh(ready.root, "token") is None


def test_a_version_manager_that_leaves_it_to_path_cannot_be_watched(ready: Lab, pyenv: Path) -> None:
    (pyenv / "version").write_text("system\n")
    assert keep(ready)
    assert keep(ready)
    assert laststate.is_fresh(ready.root, "token") is None


@pytest.fixture
def packaged(ready: Lab) -> Lab:
    """With an environment whose requirements include others and install what lies in the project."""
    ready.write("requirements.txt", "-r more/base.txt\n./lib\n-e ./tools\n")
    ready.write("more/base.txt", "# none\n")
    for name in ("lib", "tools"):
        ready.write(f"{name}/pyproject.toml", f'[project]\nname = "{name}"\nversion = "1"\n')
    env = Env("packed", place(), requirements="requirements.txt", python="3.11")
    lock = ready.read("mlpipe.lock")
    wanted = requirements.read(ready.root, "requirements.txt").digest("3.11")
    entry = {"file": "requirements.txt", "local": ["./lib"], "source": wanted}
    package = {"pins": ["==1.0"]}
    head, *lines = lock.splitlines()
    lines += [f"env packed {json.dumps(entry, separators=(',', ':'))}"]
    lines += [f"package packed.some {json.dumps(package, separators=(',', ':'))}"]
    ready.write("mlpipe.lock", "\n".join([head, *sorted(lines)]) + "\n")
    ready.envs = (*ready.envs, env)
    ready.change("glob", lambda s: replace(s, env="packed"))
    return ready


def decided(lab: Lab) -> bool:
    """Keeps the state of a plan, as if all its stages were up to date."""
    ws = lab.open()
    plan = make_plan(ws)
    laststate.save(ws, plan.planner, "token", SAID)
    ws.close()
    return laststate.is_fresh(lab.root, "token") == SAID


REQUIREMENTS: dict[str, Callable[[Lab], object]] = {
    "the file": lambda lab: lab.write("requirements.txt", "-r more/base.txt\n./lib\n-e ./tools\n# more\n"),
    "one that it includes": lambda lab: lab.write("more/base.txt", "# one\n"),
    "what is installed": lambda lab: lab.write("lib/module.py", "x = 1\n"),
    "how a part is built": lambda lab: lab.write("tools/setup.cfg", "\n"),
    "a link": lambda lab: (lab.root / "lib" / "link").symlink_to("../raw.txt"),
}


@pytest.mark.parametrize("what", REQUIREMENTS)
def test_requirements_of_every_kind_are_watched(packaged: Lab, what: str) -> None:
    assert decided(packaged)
    REQUIREMENTS[what](packaged)
    assert laststate.is_fresh(packaged.root, "token") is None


def test_requirements_from_elsewhere_cannot_be_watched(packaged: Lab) -> None:
    (packaged.root / "lib" / "link").symlink_to("../raw.txt")
    assert requirements.places(packaged.root, "requirements.txt") is None
