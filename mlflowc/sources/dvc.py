"""`dvc("data/raw.csv.dvc")`: what DVC tracks in this repository, as it is now or at a revision.

Without `rev` the DVC file of the working tree says what the data is, and it stands where DVC has it, too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.resolve import dvctracking
from mlflowc.resolve.dvctracking import Hit, is_file_of_dvc
from mlflowc.sources.dvcrepo import Folder
from mlflowc.sources.dvctracked import Repository, at_version, sized, without_content
from mlflowc.sources.gitcli import CommitTree, GitError, run
from mlflowc.sources.port import Found, GoneError, Progress, Source, Version


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
    """See `mlflowc.sources.port.Opener`."""
    path, out, rev = (args.get(k) for k in ("path", "out", "rev"))
    names = (str(path), None if out is None else str(out))
    if rev is None:
        return Tracking(*names, root, env)
    return Revision(*names, str(rev), root, env)


@dataclass(frozen=True)
class _Place:
    """A path of the project in the repository whose top folder is `top`."""

    top: Path
    prefix: str

    @classmethod
    def of(cls, root: Path, env: Mapping[str, str]) -> _Place:
        root = root.resolve()
        try:
            top = Path(run(root, env, ["rev-parse", "--show-toplevel"]).decode().strip()).resolve()
        except (GitError, Failure):
            top = next((p for p in (root, *root.parents) if (p / ".dvc").is_dir()), root)
        return cls(top, "" if top == root else root.relative_to(top).as_posix())

    def within(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.prefix, path))


def _hit(repository: Repository, place: _Place, path: str, out: str | None, *, everywhere: bool) -> Hit:
    """What the arguments name. Raises `Failure`."""
    full = place.within(path)
    files = repository.files
    if is_file_of_dvc(full):
        hit: Hit | None = dvctracking.in_file(files, full, None if out is None else place.within(out))
    else:
        hit = dvctracking.find(files, place.within(out or path), everywhere=everywhere)
    if hit is None:
        raise Failure(
            f"DVC tracks no `{out or path}` in {files.label}",
            help=f'`dvc add {out or path}` makes it do so; or name its DVC file: `dvc("….dvc")`',
        )
    if not hit.tracked.stored:
        raise Failure(
            f"`{hit.tracked.path}` is kept by git, and not by DVC (`cache: false` in `{hit.tracked.file}`)",
            help=f'name the file: `"{hit.tracked.path}"`',
        )
    if hit.tracked.md5 is None:
        raise without_content(hit.tracked)
    return hit


class Tracking:
    """See `Source`. The version is the MD5 that the DVC file has."""

    def __init__(self, path: str, out: str | None, root: Path, env: Mapping[str, str]) -> None:
        self.shown = path
        self._path, self._out = path, out
        self._place = _Place.of(root, env)
        top = self._place.top
        self._repository = Repository(Folder(top), root, env, top, top)

    def look(self, pinned: Version | None) -> Found:
        """See `Source`. Reads the DVC file."""
        hit = self._now()
        assert hit.tracked.md5 is not None
        return Found({"md5": hit.tracked.md5}, sized(hit.tracked, hit.inner))

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        hit = at_version(self._now(), version["md5"])
        standing = self._place.top / hit.tracked.path
        self._repository.write(hit, into, progress, standing)
        return dict(version)

    def _now(self) -> Hit:
        return _hit(self._repository, self._place, self._path, self._out, everywhere=False)


class Revision:
    """See `Source`. The version is the commit, and the MD5 that the DVC file has there."""

    def __init__(self, path: str, out: str | None, rev: str, root: Path, env: Mapping[str, str]) -> None:
        self.shown = f"{path} at {rev}"
        self._path, self._out, self._rev, self._root, self._env = path, out, rev, root, env
        self._place = _Place.of(root, env)

    def look(self, pinned: Version | None) -> Found:
        """See `Source`. Reads the repository of the project, and asks nobody."""
        commit = self._commit()
        hit = self._at(commit)
        assert hit.tracked.md5 is not None
        return Found({"commit": commit, "md5": hit.tracked.md5}, sized(hit.tracked, hit.inner))

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        commit = version["commit"]
        if self._parsed(commit) is None:
            raise GoneError(
                f"commit {commit[:9]} is not in this repository",
                help="in a shallow clone, `git fetch --unshallow --tags` brings it",
            )
        hit = at_version(self._at(commit), version["md5"])
        self._repository(commit).write(hit, into, progress, self._place.top / hit.tracked.path)
        return dict(version)

    def _commit(self) -> str:
        found = self._parsed(self._rev) or self._parsed(f"origin/{self._rev}")
        if found is None:
            raise Failure(
                f"this repository has no branch, tag or commit `{self._rev}`",
                help="`git fetch --tags` brings the tags of others; in a shallow clone add `--unshallow`",
            )
        return found

    def _parsed(self, rev: str) -> str | None:
        try:
            out = run(
                self._place.top,
                self._env,
                ["rev-parse", "--verify", "-q", "--end-of-options", rev + "^{commit}"],
            )
        except GitError:
            return None
        return out.decode().split()[-1]

    def _repository(self, commit: str) -> Repository:
        top = self._place.top
        tree = CommitTree(top, commit, self._env, f"this repository at {self._rev}")
        return Repository(tree, self._root, self._env, top, top)

    def _at(self, commit: str) -> Hit:
        return _hit(self._repository(commit), self._place, self._path, self._out, everywhere=True)
