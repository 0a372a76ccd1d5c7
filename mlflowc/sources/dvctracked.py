"""What a repository with DVC in it has at a path, written out: contents that DVC tracks, files of git, or a
folder with some of both."""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlflowc.errors import Failure
from mlflowc.resolve import dvcfiles, dvctracking
from mlflowc.resolve.dvcfiles import Member, Origin, Tracked
from mlflowc.resolve.dvctracking import Files, Hit
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.transport import AbsentError, RemoteError, connect
from mlflowc.sources import dvcrepo
from mlflowc.sources.dvcfetch import Contents
from mlflowc.sources.gitcli import CommitTree
from mlflowc.sources.inner import is_inner
from mlflowc.sources.mirror import Mirror
from mlflowc.sources.port import GoneError, Progress

# What DVC itself leaves out of a folder that it hands out.
_OF_DVC = ("dvc.yaml", "dvc.lock", ".dvcignore")
# Imports of imports of imports: more is a circle.
_DEEPEST = 8


@dataclass(frozen=True)
class Repository:
    """A repository with DVC in it. `top` is its top folder where that is on this machine: relative remotes
    are seen from there; `local` is where a `config.local` and a cache are; `root` is the project, which keeps
    what is fetched of other repositories.
    """

    files: Files
    root: Path
    env: Mapping[str, str]
    top: Path | None = None
    local: Path | None = None
    depth: int = 0

    def contents(self, tracked: Tracked) -> Contents:
        """Where the contents of one output are had."""
        config, _ = dvcrepo.configuration(self.files, tracked.file, self.env, self.top, self.local)
        caches = [config.cache] if config.cache is not None else []
        return Contents(config, caches, tracked.remote, self.env, self.files.label)

    def write(self, hit: Hit, into: Path, progress: Progress, standing: Path | None = None) -> None:
        """Writes a tracked output (or a part of one) as `into`. Raises `Failure`, `GoneError`."""
        tracked = hit.tracked
        if tracked.md5 is None:
            raise without_content(tracked)
        contents = self.contents(tracked)
        try:
            contents.fetch(tracked, hit.inner, into, progress, standing)
        except GoneError as e:
            if tracked.origin is None:
                raise
            self._from_origin(tracked.origin, hit, into, progress, e)

    # --- imports ---

    def _from_origin(self, origin: Origin, hit: Hit, into: Path, progress: Progress, gone: GoneError) -> None:
        """What `dvc import` and `dvc import-url` brought is not pushed: it is fetched where they had it."""
        tracked = hit.tracked
        whole = into if not hit.inner else into.with_name(into.name + ".whole")
        if whole.is_dir():
            shutil.rmtree(whole)
        whole.unlink(missing_ok=True)
        if origin.url is not None:
            if self.depth >= _DEEPEST:
                raise Failure(
                    f"`{tracked.file}` is an import of an import, and so on", help="they import each other"
                )
            other = Mirror(origin.url, self.top or self.root, self.env)
            commit = origin.commit or other.resolve(None)
            registry(other, commit, self.root, self.env, self.depth + 1).write_path(
                origin.path, whole, progress
            )
        elif "://" in origin.path:
            self._from_address(tracked, origin.path, whole, progress)
        else:
            source = Path(origin.path) if self.top is None else self.top / origin.path
            if not source.exists():
                raise gone
            shutil.copytree(source, whole) if source.is_dir() else shutil.copyfile(source, whole)
        self._same(tracked, whole, origin)
        shutil.rmtree(into.with_name(into.name + ".parts"), ignore_errors=True)
        if hit.inner:
            if not (whole / hit.inner).exists():
                raise Failure(f"`{tracked.path}` has no `{hit.inner}`", help="check the path")
            (whole / hit.inner).rename(into)
            shutil.rmtree(whole)

    def _same(self, tracked: Tracked, whole: Path, origin: Origin) -> None:
        assert tracked.md5 is not None
        if whole.is_dir():
            here = [p for p in whole.rglob("*") if p.is_file()]
            members = (
                Member(p.relative_to(whole).as_posix(), dvcfiles.md5_of(p, legacy=tracked.legacy))
                for p in here
            )
            same = dvcfiles.folder_md5(members) == tracked.md5
        else:
            same = dvcfiles.holds(whole, tracked.md5, legacy=tracked.legacy)
        if not same:
            shutil.rmtree(whole) if whole.is_dir() else whole.unlink()
            raise GoneError(
                f"`{origin.path}` is not what it was when DVC imported it as `{tracked.path}`",
                help=f"`dvc update {tracked.file}` takes the new one; the last good copy is kept",
            )

    def _from_address(self, tracked: Tracked, address: str, whole: Path, progress: Progress) -> None:
        parts = urlsplit(address)
        folder, _, name = parts.path.rpartition("/")
        base = urlunsplit((parts.scheme, parts.netloc, folder, "", ""))
        try:
            engine = Engine(connect(base, self.root, {}))
            if tracked.is_folder:
                found = engine.names(name)
                for file in found:
                    inner = file.name.removeprefix(f"{name}/")
                    if not is_inner(inner):
                        raise Failure(f"{address} has a file named `{inner}`, which leads out of it")
                    target = whole / inner
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _stream(engine, file.name, target, progress)
                if not found:
                    raise AbsentError(name)
            else:
                _stream(engine, name, whole, progress)
        except AbsentError:
            raise GoneError(
                f"there is no {address} any more, from which DVC imported `{tracked.path}`",
                help="the last good copy is kept",
            ) from None
        except RemoteError as e:
            raise Failure(f"{address} cannot be fetched: {e.message}", help=e.help) from None

    # --- any path ---

    def write_path(self, path: str, into: Path, progress: Progress) -> str | None:
        """Writes what is at `path`, whoever tracks it; the MD5 where DVC alone does. Raises `Failure`."""
        tree = self.files
        assert isinstance(tree, CommitTree)
        at = posixpath.normpath(path)
        entry = tree.find(at) if at != "." else None
        if entry is None:
            hit = dvctracking.find(tree, at, everywhere=True)
            if hit is not None:
                self.write(hit, into, progress)
                return hit.tracked.md5 if not hit.inner else None
        outs = [] if entry else dvctracking.tracked(tree)
        # What lies elsewhere on the machine of who tracked it is no part of a folder.
        inside = [t for t in outs if is_inner(t.path) and (at == "." or t.path.startswith(at + "/"))]
        in_git = entry is not None or bool(tree.entries(at))
        if in_git:
            tree.export(at, into, progress)
        elif not inside:
            raise tree.absent(path, [t.path for t in outs])
        if entry is None:
            self._add(inside, at, into, progress)
        return None

    def _add(self, inside: list[Tracked], at: str, into: Path, progress: Progress) -> None:
        """Adds what DVC tracks below a folder, and takes away the files that only DVC reads."""
        into.mkdir(exist_ok=True)
        for file in [p for p in into.rglob("*") if p.name in _OF_DVC or p.name.endswith(".dvc")]:
            if file.is_file() or file.is_symlink():
                file.unlink()
        for out in inside:
            target = into / posixpath.relpath(out.path, at)
            if target.exists() or not out.stored:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            self.write(Hit(out), target, progress)


def registry(mirror: Mirror, commit: str, root: Path, env: Mapping[str, str], depth: int = 0) -> Repository:
    """Another repository at a commit. Raises `GoneError` where that is gone."""
    return Repository(mirror.tree(commit), root, env, mirror.local, mirror.local, depth)


def without_content(tracked: Tracked) -> Failure:
    """That DVC's file does not say what the output holds."""
    return Failure(
        f"`{tracked.file}` does not say what `{tracked.path}` holds: it has no MD5",
        help=f"`dvc update {tracked.file}` or `dvc commit` writes it"
        if tracked.origin
        else "run `dvc commit`",
    )


def sized(tracked: Tracked, inner: str) -> int | None:
    """The size of what will be fetched, in bytes, where it is known."""
    return None if inner else tracked.size


def at_version(hit: Hit, md5: str) -> Hit:
    """The same output with the content that it had at another time. Raises `Failure` for what is no MD5."""
    if not dvcfiles.is_md5(md5):
        raise Failure(f"`{md5}` is no MD5, which `mlpipe.lock` has for `{hit.tracked.path}`")
    return hit if hit.tracked.md5 == md5 else replace(hit, tracked=replace(hit.tracked, md5=md5, size=None))


def _stream(engine: Engine, name: str, target: Path, progress: Progress) -> None:
    done = 0
    part = target.with_name(target.name + ".part")
    with part.open("wb") as file:
        for chunk in engine.read(name):
            file.write(chunk)
            done += len(chunk)
            progress(done, None)
    part.rename(target)
