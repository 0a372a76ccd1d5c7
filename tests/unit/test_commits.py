"""Which commit is checked out: git's files and git say the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlflowc.runtime import commits


def git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_AUTHOR_NAME", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "repository"
    (root / "project").mkdir(parents=True)
    git(root, "init", "-q")
    git(root, "commit", "-q", "--allow-empty", "-m", "one")
    return root


def test_of_a_branch_by_its_file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(repository, "rev-parse", "HEAD")
    monkeypatch.setattr(commits, "_by_git", lambda root: pytest.fail("git was started"))
    assert commits.checked_out(repository / "project") == head
    git(repository, "checkout", "-q", "-b", "some/feature")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    assert commits.checked_out(repository) == git(repository, "rev-parse", "HEAD") != head
    git(repository, "checkout", "-q", "--detach", head)
    assert commits.checked_out(repository) == head


def test_of_packed_references_and_worktrees(repository: Path, tmp_path: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert commits._by_files(repository) is None
    assert commits.checked_out(repository) == head
    git(repository, "worktree", "add", "-q", str(tmp_path / "other"))
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "two")
    assert commits.checked_out(tmp_path / "other") == git(tmp_path / "other", "rev-parse", "HEAD") != head


def test_of_what_has_none(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q", "empty")
    assert commits.checked_out(tmp_path / "empty") is None
    (tmp_path / "plain").mkdir()
    assert commits.checked_out(tmp_path / "plain") is None
    # Variables may point elsewhere.
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert commits.checked_out(tmp_path / "plain") == git(repository, "rev-parse", "HEAD")
