"""`mlpipec import` beside DVC itself: the same project gives the same files, and what DVC made is not
made again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import absent
from tests.e2e.harness import dvc as harness
from tests.support.dvc_projects import PROJECTS

MLPIPEC = Path(sys.executable).with_name("mlpipec")


@pytest.fixture(scope="session")
def dvc() -> Path:
    """The program `dvc`."""
    found = harness.program()
    if found is None:
        absent(f"{harness.REQUIREMENT} cannot be installed")
    assert found
    return found


def mlpipec(folder: Path, *arguments: str, expect: int = 0) -> str:
    """What the command prints, on both streams."""
    done = subprocess.run(
        [MLPIPEC, *arguments],
        cwd=folder,
        env={**os.environ, "WORD": "of the host", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    said = done.stdout + done.stderr
    assert done.returncode == expect, said
    assert "Traceback" not in said
    return said


def repository(path: Path, files: dict[str, str], dvc: Path) -> Path:
    """A DVC project in a new git repository."""
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=path, check=True)
    harness.run(dvc, path, "init", "-q")
    return path


def outputs(folder: Path) -> dict[str, bytes]:
    """The content of all that `dvc.lock` says was written, by path."""
    found: dict[str, bytes] = {}
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    declared = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    for name, stage in lock["stages"].items():
        wdir = declared[name.partition("@")[0]].get("wdir", ".").replace("${where}", "sub")
        for out in stage["outs"]:
            path = Path(os.path.normpath(Path(wdir) / out["path"]))
            files = (
                [p for p in (folder / path).rglob("*") if p.is_file()]
                if (folder / path).is_dir()
                else [folder / path]
            )
            found |= {str(p.relative_to(folder)): p.read_bytes() for p in files}
    return found


def contents(folder: Path, paths: dict[str, bytes]) -> dict[str, bytes | None]:
    """The content of the same paths in another folder."""
    return {p: (folder / p).read_bytes() if (folder / p).is_file() else None for p in paths}


@pytest.mark.parametrize("name", PROJECTS)
def test_an_imported_project_makes_what_dvc_makes(
    name: str, tmp_path: Path, dvc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "of the host")
    ours = repository(tmp_path / "project", PROJECTS[name], dvc)
    theirs = Path(shutil.copytree(ours, tmp_path / "theirs" / "project"))
    harness.run(dvc, theirs, "repro")
    made = outputs(theirs)
    assert len(made) > 2

    mlpipec(ours, "import")
    assert "error" not in mlpipec(ours, "check")
    mlpipec(ours, "fmt", "--check")
    mlpipec(ours, "run")
    assert contents(ours, made) == made
    assert "nothing to do" in mlpipec(ours, "run")

    # What DVC made counts: after a takeover there is nothing to do, but for what DVC itself makes each time.
    said = mlpipec(theirs, "import", "--cache")
    assert re.search(r"\d+ results", said), said
    again = mlpipec(theirs, "run")
    always = "always_changed" in PROJECTS[name]["dvc.yaml"]
    assert ("nothing to do" in again) != always, again
    if always:
        assert re.search(r"\b1 ran\b", again), again
    assert contents(theirs, made) == made
