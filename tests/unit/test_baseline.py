"""Which commit a baseline means, with real repositories; everything that can be missing says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc.runtime import baseline, commits
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.lockfile import NAME, LockFile, StageEntry
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.store import Store
from tests.support.stores import put_bytes
from tests.support.training import commit, git


def lock(root: Path, auc: float) -> None:
    """Writes a lock file with one metric."""
    entry = StageEntry("a" * 64, (), {"scores": {"auc": auc}}, {"lr": auc / 10})
    (root / NAME).write_text(LockFile().with_stages({"train": entry}).render())


def auc(root: Path, revision: str) -> float | None:
    return baseline.at(root, revision).metric("train", "scores", "auc")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """`main` with 0.5, then 0.6 (tag v1); from there the branch `topic` with 0.8; `main` went on to 0.7."""
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    for value in (0.5, 0.6):
        lock(root, value)
        commit(root, f"{value}")
    git(root, "tag", "-a", "v1", "-m", "first")
    git(root, "checkout", "-q", "-b", "topic")
    lock(root, 0.8)
    commit(root, "0.8")
    git(root, "checkout", "-q", "main")
    lock(root, 0.7)
    commit(root, "0.7")
    git(root, "checkout", "-q", "topic")
    return root


def test_a_branch_is_compared_with_where_it_left_main(repository: Path) -> None:
    found = baseline.at(repository, "main")
    assert found.metric("train", "scores", "auc") == 0.6
    assert found.commit == git(repository, "rev-parse", "v1^{commit}")
    assert (found.note, found.found) == ("", True)
    assert found.stages["train"].params == {"lr": 0.06}


def test_a_branch_as_it_is_now(repository: Path) -> None:
    found = baseline.at(repository, "main", tip=True)
    assert (found.metric("train", "scores", "auc"), found.note) == (0.7, "")
    assert found.commit == git(repository, "rev-parse", "main")


def test_tags_hashes_and_relative_names_are_taken_as_they_are(repository: Path) -> None:
    assert auc(repository, "v1") == 0.6
    assert auc(repository, git(repository, "rev-parse", "main")[:10]) == 0.7
    assert auc(repository, "HEAD~1") == 0.6


def test_a_branch_that_is_only_at_the_origin_is_found(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--branch", "topic", str(repository), "clone")
    clone = tmp_path / "clone"
    assert git(clone, "branch", "--list", "main") == ""
    assert auc(clone, "main") == 0.6


def test_on_main_itself_a_new_result_is_compared_with_head_and_a_committed_one_with_its_parent(
    repository: Path,
) -> None:
    git(repository, "checkout", "-q", "main")
    found = baseline.at(repository, "main")
    assert found.metric("train", "scores", "auc") == 0.6
    assert found.note == "this is `main` itself: compared with the commit before"
    lock(repository, 0.9)
    assert auc(repository, "main") == 0.7


def test_a_detached_checkout_of_main_is_main(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach", "main")
    assert auc(repository, "main") == 0.6


def test_a_merge_commit_of_a_pull_request_is_compared_with_its_target(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach", "main")
    git(repository, "merge", "-q", "-X", "theirs", "-m", "merge", "topic")
    assert auc(repository, "main") == 0.7


def test_the_project_may_be_a_folder_of_the_repository(tmp_path: Path) -> None:
    root = tmp_path / "services" / "churn"
    root.mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main")
    lock(tmp_path, 0.1)
    lock(root, 0.6)
    commit(tmp_path, "first")
    git(tmp_path, "checkout", "-q", "-b", "topic")
    commit(tmp_path, "second")
    assert auc(root, "main") == 0.6


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = baseline.at(tmp_path, "main")
    assert (found.found, found.commit) == (False, None)
    assert found.note == "no baseline `main`: this is no git repository"
    assert commits.checked_out(tmp_path) is None


def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert baseline.at(repository, "main").note == "no baseline: git is not installed here"


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    assert baseline.at(tmp_path, "main").note == "no baseline `main`: the repository has no commit yet"


def test_the_first_commit_has_nothing_before_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    lock(tmp_path, 0.5)
    commit(tmp_path, "first")
    found = baseline.at(tmp_path, "main")
    assert (found.found, found.note) == (False, "no baseline `main`: this is its first commit")


def test_no_lock_file_at_that_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    first = commit(tmp_path, "empty")
    git(tmp_path, "checkout", "-q", "-b", "topic")
    commit(tmp_path, "more")
    found = baseline.at(tmp_path, "main")
    assert (found.found, found.commit) == (False, first)
    assert found.note == f"no baseline: {first[:9]} has no mlpipe.lock"


def test_a_damaged_lock_file_at_that_commit(repository: Path) -> None:
    git(repository, "checkout", "-q", "main")
    (repository / NAME).write_text("stage train {\n")
    commit(repository, "broken")
    (repository / NAME).write_text("")
    found = baseline.at(repository, "main")
    assert not found.found
    assert "is damaged at line 1" in found.note


@pytest.mark.parametrize("name", ["nowhere", "-n", "--help", "a..b", "HEAD^{tree}", "", "a b"])
def test_an_unknown_revision(repository: Path, name: str) -> None:
    found = baseline.at(repository, name)
    assert (found.found, found.commit) == (False, None)
    assert found.note == f"no baseline `{name}`: no branch, tag or commit has that name"


def test_a_shallow_clone_without_the_branch(repository: Path, tmp_path: Path) -> None:
    url = repository.as_uri()
    git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "topic", url, "clone")
    assert (
        baseline.at(tmp_path / "clone", "main").note
        == "no baseline `main`: this is a shallow clone without it"
    )


def test_a_shallow_clone_that_does_not_reach_the_merge_base(repository: Path, tmp_path: Path) -> None:
    url = repository.as_uri()
    git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", "--branch", "topic", url, "clone")
    found = baseline.at(tmp_path / "clone", "main")
    assert found.metric("train", "scores", "auc") == 0.7
    assert found.note == "compared with the tip of `main`: the shallow clone does not reach the merge base"


def test_an_output_is_located_in_the_store_or_in_the_project(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", LocalFileSystem(), StatIndex(tmp_path / "index.db"))
    digest = put_bytes(store, b"old")
    old = OutputRecord("x", "x.csv", "file", digest, 3)
    assert baseline.locate(tmp_path, store, old) == store.object_path(digest)
    here = OutputRecord("x", "x.csv", "file", hash_bytes(b"new"), 3)
    assert baseline.locate(tmp_path, store, here) is None
    (tmp_path / "x.csv").write_bytes(b"new")
    assert baseline.locate(tmp_path, store, here) == tmp_path / "x.csv"
    assert baseline.locate(tmp_path, store, OutputRecord("x", "x.csv", "dir", digest, 3)) is None


def test_a_branch_without_commits_of_its_own_is_compared_with_where_it_is(repository: Path) -> None:
    git(repository, "checkout", "-q", "main")
    git(repository, "checkout", "-q", "-b", "fresh")
    assert (auc(repository, "main"), baseline.at(repository, "main").note) == (0.7, "")
    git(repository, "checkout", "-q", "--detach", "main")
    assert auc(repository, "main") == 0.6, "a job of a push to main has no branch checked out"


def test_a_slip_in_the_name_of_a_branch(repository: Path) -> None:
    found = baseline.at(repository, "mian")
    assert found.misspelt
    assert found.note == "no baseline `mian`: no branch, tag or commit has that name; did you mean `main`?"
    assert not baseline.at(repository, "production").misspelt
