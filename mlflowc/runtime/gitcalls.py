"""Questions to git about the checkout that a folder is in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlflowc.runtime.lockfile import NAME

_PATIENCE, _LONG = 60.0, 600.0  # seconds: for a question, and for what may go over the network
_QUIET = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


class GitError(Exception):
    """Git cannot be used at all: it is not there, cannot be run, or does not trust the folder."""


class Said(NamedTuple):
    """What a command of git ended with, and printed."""

    code: int
    out: str
    err: str


def attempt(root: Path, *args: str, env: Mapping[str, str], given: str | None = None) -> Said:
    """`git ARGS` in `root`, which may change something and take long; `given` is what it reads. It asks
    nobody for a password. Raises `GitError`.
    """
    data = None if given is None else given.encode()
    done = _started(root, args, env, data, _LONG)
    return Said(done.returncode, *(x.decode("utf-8", "replace") for x in (done.stdout, done.stderr)))


def _started(
    root: Path, args: Sequence[str], env: Mapping[str, str], given: bytes | None, patience: float
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", *args],
            cwd=root,
            env={**env, **_QUIET},
            input=b"" if given is None else given,
            capture_output=True,
            timeout=patience,
        )
    except FileNotFoundError:
        raise GitError("git is not installed here") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {args[0]} did not end") from None
    except OSError as e:
        raise GitError(f"git cannot be run: {e}") from None


def printed(root: Path, *args: str) -> bytes | None:
    """What `git ARGS` prints in `root`, None when it fails. Raises `GitError`."""
    done = _started(root, args, {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}, None, _PATIENCE)
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
