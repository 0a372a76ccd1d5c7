"""Earlier results to compare with: a revision becomes the `mlpipe.lock` of its commit, read by `git show`.

Which commit a revision means
- A name is looked for as written (branch, tag, hash), then as `origin/NAME`.
- For a branch other than the one checked out, the commit is the merge base with HEAD: a change is
  compared with where it started, not with what others merged since. What a person asks for by `--vs` is the
  branch as it is now.
- On a branch without commits of its own yet, that is the commit both are at.
- On that branch itself it is HEAD where the lock file has changed since, else the commit before:
  so that a push to `main` is compared with the `main` before it.

Everything that can be missing (git, the repository, the branch in a shallow clone, an earlier commit, the
lock file in it) gives an empty snapshot with a note that says so; nothing here raises for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mlflowc.errors import Failure
from mlflowc.runtime import gitcalls
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.lockfile import NAME, Entry, LockFile, StageEntry
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.store import Store
from mlflowc.spell import nearest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The results of one commit, or of now (`revision` and `commit` None).

    `data` are the pins of data sources by name. `found` is whether there are any results; `note`
    says why not, or which commit was taken where that is not plain. `misspelt`: there is no such revision,
    and one of nearly that name.
    """

    revision: str | None = None
    commit: str | None = None
    stages: Mapping[str, StageEntry] = field(default_factory=dict)
    note: str = ""
    found: bool = True
    data: Mapping[str, Entry] = field(default_factory=dict)
    misspelt: bool = False

    def metric(self, stage: str, output: str, field: str) -> float | None:
        """The value of a metrics field, None where there is none."""
        entry = self.stages.get(stage)
        return None if entry is None else entry.metrics.get(output, {}).get(field)

    def output(self, stage: str, output: str) -> OutputRecord | None:
        """What an output was, None where there is none."""
        entry = self.stages.get(stage)
        return None if entry is None else entry.output(output)


class Commit(NamedTuple):
    """What a revision came to: a commit's hash, or None; `note` has the reason, or explains the choice."""

    hash: str | None
    note: str = ""
    misspelt: bool = False


def at(root: Path, revision: str, *, tip: bool = False) -> Snapshot:
    """The results of `revision` as seen from the working tree at `root`; with `tip`, those of another branch
    as it is now."""
    commit = resolve(root, revision, tip=tip)
    if commit.hash is None:
        return Snapshot(revision, None, note=commit.note, found=False, misspelt=commit.misspelt)
    short = commit.hash[:9]
    try:
        text = gitcalls.lock_at(root, commit.hash)
        if text is None:
            return Snapshot(revision, commit.hash, note=f"no baseline: {short} has no {NAME}", found=False)
        lock = LockFile.parse(text, f"{NAME} at {short}")
    except (GitError, Failure) as e:
        return Snapshot(revision, commit.hash, note=f"no baseline: {e}", found=False)
    pins = {name: entry for (kind, name), entry in lock.entries.items() if kind == "data"}
    return Snapshot(revision, commit.hash, lock.stages(), commit.note, data=pins)


def content(root: Path, commit: str, path: str, limit: int) -> bytes | None:
    """What git has at `path`, relative to `root`, in a commit; None where it has none, or more than `limit`
    bytes."""
    name = f"{commit}:./{path}"
    try:
        size = gitcalls.said(root, "cat-file", "-s", name)
        if size is None or not size.strip().isdigit() or int(size) > limit:
            return None
        return gitcalls.printed(root, "cat-file", "blob", name)
    except GitError:
        return None


def locate(root: Path, store: Store, output: OutputRecord) -> Path | None:
    """A file with exactly the content that `output` had: in the store, or still in the project.

    None for folders, and where neither has it.
    """
    if output.kind != "file":
        return None
    stored = store.file(output.hash)
    if stored is not None:
        return stored
    path = root / output.path
    with contextlib.suppress(OSError):
        if path.is_file() and hash_file(path) == output.hash:
            return path
    return None


def edited(root: Path, made: Collection[str]) -> bool:
    """Whether files of the project are not as the commit has them; False outside of git.

    The lock file does not count, nor do `made`, the paths of outputs.
    """
    try:
        told = gitcalls.said(root, "diff", "--name-only", "--relative", "-z", "HEAD", "--", ".")
    except GitError:
        return False
    paths = [path for path in (told or "").split("\0") if path and path != NAME]
    outputs = {path.rstrip("/") for path in made}
    return any(not outputs.intersection((path, *map(str, PurePosixPath(path).parents))) for path in paths)


def resolve(root: Path, revision: str, *, tip: bool = False) -> Commit:
    """The commit that `revision` means for the repository around `root`; see the head of this module."""
    try:
        return _resolve(root, revision, tip)
    except GitError as e:
        return Commit(None, f"no baseline: {e}")


def _resolve(root: Path, revision: str, as_it_is: bool) -> Commit:
    if gitcalls.said(root, "rev-parse", "--is-inside-work-tree") is None:
        return Commit(None, f"no baseline `{revision}`: this is no git repository")
    head = _commit(root, "HEAD")
    if head is None:
        return Commit(None, f"no baseline `{revision}`: the repository has no commit yet")
    shallow = (gitcalls.said(root, "rev-parse", "--is-shallow-repository") or "").strip() == "true"
    for name in (revision, f"origin/{revision}"):
        tip = _commit(root, name)
        if tip is not None:
            break
    else:
        why = "this is a shallow clone without it" if shallow else "no branch, tag or commit has that name"
        meant = nearest(revision, _names(root))
        why += f"; did you mean `{meant}`?" if meant else ""
        return Commit(None, f"no baseline `{revision}`: {why}", meant is not None)
    if not _is_branch(root, name):
        return Commit(tip)
    if tip == head:
        here = (gitcalls.said(root, "symbolic-ref", "--quiet", "--short", "HEAD") or "").strip()
        # A job of a CI service often has no branch checked out: then it is that of the event.
        other = here not in ("", name, revision) and f"origin/{here}" != name
        return Commit(head) if other else _before(root, revision, head, shallow)
    if as_it_is:
        return Commit(tip)
    base = (gitcalls.said(root, "merge-base", head, tip) or "").strip()
    if not base:
        why = (
            "the shallow clone does not reach the merge base" if shallow else "they have no commit in common"
        )
        return Commit(tip, f"compared with the tip of `{revision}`: {why}")
    return Commit(base)


def _names(root: Path) -> list[str]:
    """The names of branches and tags, those of `origin` without that word."""
    told = gitcalls.said(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags",
                         "refs/remotes/origin")  # fmt: skip
    return [name.removeprefix("origin/") for name in (told or "").splitlines()]


def _before(root: Path, revision: str, head: str, shallow: bool) -> Commit:
    """The baseline on the very commit that `revision` names."""
    then = gitcalls.lock_at(root, head)
    if then is not None and then != _text(root / NAME):
        return Commit(head)
    parent = _commit(root, "HEAD^")
    if parent is not None:
        return Commit(parent, f"this is `{revision}` itself: compared with the commit before")
    why = "the shallow clone has no earlier commit" if shallow else "this is its first commit"
    return Commit(None, f"no baseline `{revision}`: {why}")


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def _is_branch(root: Path, name: str) -> bool:
    full = gitcalls.said(root, "rev-parse", "--symbolic-full-name", "--end-of-options", name) or ""
    return full.strip().split("\n")[-1].startswith(("refs/heads/", "refs/remotes/"))


def _commit(root: Path, name: str) -> str | None:
    out = gitcalls.said(root, "rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")
    return out.split()[-1] if out and out.strip() else None
