"""DVC itself, in an environment of its own: the one that the benchmark has, too."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import uv

REQUIREMENT = "dvc==3.67.1"
CHECKOUT = Path(__file__).resolve().parents[3]
FOLDER = CHECKOUT / ".cache" / "bench" / REQUIREMENT


def program() -> Path | None:
    """The program `dvc`, installed where it is not; None where it cannot be had."""
    stamp = FOLDER / "installed"
    if stamp.exists():
        return FOLDER / "bin" / "dvc"
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / "dvc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() and not _install():
            return None
    stamp.touch()
    return FOLDER / "bin" / "dvc"


def _install() -> bool:
    python = FOLDER / "bin" / "python"
    for command in (
        ["venv", "-q", "--clear", "--python", sys.executable, str(FOLDER)],
        ["pip", "install", "-q", "--python", str(python), REQUIREMENT],
    ):
        if subprocess.run([uv.find_uv_bin(), *command], capture_output=True).returncode != 0:
            return False
    return True


def run(program: Path, folder: Path, *arguments: str) -> str:
    """Runs DVC in `folder`; what it says. It sends nothing home."""
    done = subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env={**os.environ, "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1", "SHELL": "/bin/bash"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"dvc {arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout
