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


def test_results_come_from_the_cache_of_dvc(tmp_path: Path, dvc: Path) -> None:
    """Outputs that are links into DVC's cache, that are not there, and that are damaged there."""
    project = repository(tmp_path / "project", PROJECTS["chain"], dvc)
    harness.run(dvc, project, "config", "cache.type", "symlink")
    harness.run(dvc, project, "repro")
    made = outputs(project)
    assert (project / "models/m.bin").is_symlink()
    cached = (project / "models/m.bin").resolve()
    linked = Path(shutil.copytree(project, tmp_path / "linked" / "project", symlinks=True))
    removed = Path(shutil.copytree(project, tmp_path / "removed" / "project", symlinks=True))

    said = mlpipec(linked, "import", "--cache")
    assert "3 results" in said, said
    assert "nothing to do" in mlpipec(linked, "run")
    assert contents(linked, made) == made
    assert not (linked / "models/m.bin").is_symlink()

    for path in ("data/parts", "models", "all.txt"):
        shutil.rmtree(removed / path) if (removed / path).is_dir() else (removed / path).unlink()
    assert "3 results" in mlpipec(removed, "import", "--cache")
    assert "nothing to do" in mlpipec(removed, "run")
    assert contents(removed, made) == made

    (project / "models/m.bin").unlink()
    cached.chmod(0o644)
    cached.write_bytes(b"something else")
    said = mlpipec(project, "import", "--cache")
    assert "`models/m.bin` is damaged in DVC's cache" in said, said
    assert "2 results" in said, said
    assert "1 ran" in mlpipec(project, "run")
    assert contents(project, made) == made


def test_what_was_changed_since_is_made_again(tmp_path: Path, dvc: Path) -> None:
    """A parameter and a command, and with them what comes after; the rest is taken over."""
    project = repository(tmp_path / "project", PROJECTS["chain"], dvc)
    harness.run(dvc, project, "repro")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("1.0e-3", "0.5"))
    said = mlpipec(project, "import", "--cache")
    assert "2 results" in said, said
    assert "of `train`: its command is another now" in said, said
    ran = mlpipec(project, "run")
    assert "1 ran" in ran, ran
    harness.run(dvc, project, "repro")
    again = outputs(project)
    assert "nothing to do" in mlpipec(project, "run")
    assert contents(project, again) == again


def test_data_that_dvc_tracks_is_read_from_where_dvc_has_it(tmp_path: Path, dvc: Path) -> None:
    """A file and a folder of `dvc add`: results are taken over, and a clone without data fetches it."""
    files = {**PROJECTS["chain"], "data/extra/one.txt": "1\n", "data/extra/two.txt": "2\n"}
    files["dvc.yaml"] = (
        files["dvc.yaml"]
        .replace("deps: [data/parts]", "deps: [data/parts, data/extra]")
        .replace("all.txt -- data/parts", "all.txt -- data/parts data/extra")
    )
    project = repository(tmp_path / "project", files, dvc)
    harness.run(dvc, project, "remote", "add", "-q", "-d", "storage", str(tmp_path / "storage"))
    harness.run(dvc, project, "add", "-q", "data/raw.csv", "data/extra")
    harness.run(dvc, project, "repro", "-q")
    harness.run(dvc, project, "push", "-q")
    made = outputs(project)
    said = mlpipec(project, "import", "--cache")
    assert "3 results" in said, said
    text = (project / "pipeline.mlpipe").read_text()
    assert 'dvc("data/raw.csv.dvc")' in text
    assert 'dvc("data/extra.dvc")' in text
    assert "nothing to do" in mlpipec(project, "run")
    assert contents(project, made) == made

    # A clone has neither data nor cache: DVC's remote has it.
    for path in ("data/raw.csv", ".mlpipe", ".dvc/cache", "data/extra", "data/parts", "all.txt", "models"):
        at = project / path
        shutil.rmtree(at) if at.is_dir() else at.unlink(missing_ok=True)
    assert "3 ran" in mlpipec(project, "run")
    assert contents(project, made) == made
    # DVC finds what it would have put there itself.
    assert "modified" not in harness.run(dvc, project, "status", "data/raw.csv.dvc", "data/extra.dvc")
