"""Questions to git about the checkout that a folder is in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mlflowc.runtime.lockfile import NAME

_PATIENCE = 60.0  # seconds


class GitError(Exception):
    """Git cannot be used at all: it is not there, cannot be run, or does not trust the folder."""


def printed(root: Path, *args: str) -> bytes | None:
    """What `git ARGS` prints in `root`, None when it fails. Raises `GitError`."""
    env = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *args],
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
        )
    except FileNotFoundError:
        raise GitError("git is not installed here") from None
    except (OSError, subprocess.TimeoutExpired) as e:
        raise GitError(f"git cannot be run: {e}") from None
    if done.returncode:
        if b"dubious ownership" in done.stderr:
            raise GitError("git does not trust this folder (see `git config safe.directory`)")
        return None
    return done.stdout


def said(root: Path, *args: str) -> str | None:
    """The same as text."""
    data = printed(root, *args)
    return None if data is None else data.decode("utf-8", "replace")


def lock_at(root: Path, commit: str) -> str | None:
    """The text of the lock file in a commit, None where there is none. Raises `GitError`."""
    return said(root, "show", f"{commit}:./{NAME}")
