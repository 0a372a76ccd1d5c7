"""Small git repositories for executors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_ENV = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


class Repository:
    """A work tree on branch `main`, with `origin` set to itself: what executors look for in a checkout."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(
        cls, path: Path, files: Mapping[str, str] | None = None, *, copy: Path | None = None
    ) -> Repository:
        """A fresh repository with the given files, on top of a copy of the folder `copy`, committed."""
        if copy:
            shutil.copytree(
                copy, path, ignore=shutil.ignore_patterns(".mlpipe", "__pycache__", ".venv", "mlpipe-bundles")
            )
        path.mkdir(parents=True, exist_ok=True)
        made = cls(path)
        made.git("init", "-q", "-b", "main")
        made.write(files or {})
        made.commit("first")
        made.git("remote", "add", "origin", path.as_uri())
        made.sync()
        return made

    def git(self, *args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=self.path, env=os.environ | _ENV, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise AssertionError(f"git {' '.join(args)}: {done.stderr}")
        return done.stdout.strip()

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)

    def commit(self, message: str = "change") -> str:
        """Commits everything that is not ignored; returns the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        if self.git("remote"):
            self.sync()
        return self.git("rev-parse", "HEAD")

    def sync(self) -> None:
        """Remote-tracking refs as after a push and fetch (gitlab-ci-local's `rules:changes` reads them)."""
        self.git("fetch", "-q", "origin")
        self.git("remote", "set-head", "origin", "main")
