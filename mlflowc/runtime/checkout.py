"""What is in the project folder now: content of its files and folders, by way of the stat index."""

from __future__ import annotations

import glob
import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.runtime import tree, treerow, walking
from mlflowc.runtime.hashing import hash_below, hash_file
from mlflowc.runtime.index import Signature, StatIndex
from mlflowc.runtime.treerow import TreeRow
from mlflowc.runtime.walking import Walk

# A walk of so many seconds ago is not done again before a command starts.
_MOMENT = 5.0
# How often a file that changes meanwhile is read.
_LOOKS = 3


class Seen(NamedTuple):
    """A file or folder as it was seen: `kind` is `file` or `dir`, `size` in bytes, of all files.

    `looks` is what must be the same for it to be taken as unchanged: a file's signature, a folder's walk.
    """

    path: str
    kind: str
    hash: str
    size: int
    executable: bool
    looks: Signature | str


class Checkout:
    """Looks at paths relative to the project folder. Each is looked at once, until told to `forget`.

    `source=True` is for inputs from the repository: droppings such as `__pycache__` do not count there.
    Raises `Failure` when something is there and cannot be read. Safe to use from several threads.
    """

    def __init__(self, root: Path, index: StatIndex) -> None:
        self.root = root
        self._prefix = os.fspath(root) + "/"
        self._index = index
        self._seen: dict[tuple[str, bool], Seen | None] = {}
        self._folders: set[tuple[str, bool]] = set()
        self._globs: dict[str, tuple[str, ...]] = {}
        # Folders (and whether as a source) with links that lead out of them: their stat does not say all.
        self._outward: set[tuple[str, bool]] = set()
        # Folders that were walked since a command started: when, the walk's hash, and its mark.
        self._fresh: dict[tuple[str, bool], tuple[float, str, str]] = {}
        self._guard = threading.Lock()

    def look(self, path: str, *, source: bool = True, ours: bool = False) -> Seen | None:
        """What is at `path`; None when nothing is. `ours`: see `StatIndex.remember_file`."""
        path = path.rstrip("/")
        try:
            return self._seen[path, source]
        except KeyError:
            pass
        try:
            seen = self._look(path, source, ours)
        except (FileNotFoundError, NotADirectoryError):
            seen = None
        except OSError as e:
            raise Failure(f"cannot read `{path}`: {e.strerror}") from e
        with self._guard:
            self._keep(path, source, seen)
        return seen

    def same(self, seen: Seen, *, source: bool = True, mark: bool = False) -> bool:
        """Whether it looks as it did, by stat alone; False for a folder with links that lead out of it.

        With `mark` that is asked before a command starts, and by the same walk what it is marked with is kept
        for `taken_mark`. Then a folder that was walked a moment ago, when no command of ours had started
        since, is not walked again: what changes in between shows after the command, as everything does that
        changes while it runs.
        """
        if (seen.path, source) in self._outward:
            return False
        full = self._prefix + seen.path
        try:
            if seen.kind == "file":
                return Signature.of(os.stat(full)) == seen.looks  # noqa: PTH116
            if mark and self._fresh_mark(seen, source) is not None:
                return True
            walk = walking.look_through(full, _ignored(source))
        except OSError:
            return False
        if walk.hash != seen.looks:
            return False
        if mark:
            self._just_walked(seen.path, source, walk)
        return True

    def taken_mark(self, seen: Seen, *, source: bool = True) -> str:
        """The `mark` of what was seen, from a moment ago where one was kept; else that of now."""
        fresh = self._fresh_mark(seen, source)
        return self.mark(seen.path, source=source) if fresh is None else fresh

    def mark(self, path: str, *, source: bool = True) -> str:
        """What changes with every write to what is at `path`, but not when a link is made to it; "" where
        nothing is.
        """
        full = self._prefix + path
        try:
            st = os.stat(full)  # noqa: PTH116
            if not stat.S_ISDIR(st.st_mode):
                return f"{st.st_size} {st.st_mtime_ns} {st.st_ino}"
            return walking.look_through(full, _ignored(source)).mark()
        except OSError:
            return ""

    def disturb(self) -> None:
        """A command is about to start, which may write anywhere: what was walked has to be walked again."""
        with self._guard:
            self._fresh.clear()

    def _just_walked(self, path: str, source: bool, walk: Walk) -> None:
        mark = walk.mark()
        with self._guard:
            self._fresh[path, source] = time.monotonic(), walk.hash, mark

    def _fresh_mark(self, seen: Seen, source: bool) -> str | None:
        with self._guard:
            when, looked, mark = self._fresh.get((seen.path, source), (0.0, "", ""))
        return mark if looked == seen.looks and time.monotonic() - when < _MOMENT else None

    def forget(self, path: str) -> None:
        """The next `look` looks again."""
        path = path.rstrip("/")
        with self._guard:
            self._seen.pop((path, True), None)
            self._seen.pop((path, False), None)
            walking.kept.clear()
            for fresh in [f for f in self._fresh if f"{path}/".startswith(f[0] + "/")]:
                del self._fresh[fresh]
            # A folder that is an input may hold it.
            for folder in [f for f in self._folders if path.startswith(f[0] + "/")]:
                self._folders.discard(folder)
                self._seen.pop(folder, None)

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The files that match, sorted; `**` crosses folders, hidden files only where the pattern says so."""
        if pattern not in self._globs:
            found = glob.glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207
            files = {
                p.replace(os.sep, "/")
                for p in found
                if os.path.isfile(self._prefix + p)  # noqa: PTH113
                and walking.DROPPINGS.isdisjoint(p.split(os.sep))  # noqa: PTH206
            }
            self._globs[pattern] = tuple(sorted(files))
        return self._globs[pattern]

    def _look(self, path: str, source: bool, ours: bool, looks: int = _LOOKS) -> Seen:
        full = self._prefix + path
        st = os.stat(full) if source else os.lstat(full)  # noqa: PTH116
        if stat.S_ISDIR(st.st_mode):
            try:
                return self._look_folder(path, full, source, ours)
            except walking.StrangeError as e:
                if source:
                    raise
                # It is no result, then, and will be moved out of the way.
                return Seen(path, "other", "", 0, False, e.message)
        if not stat.S_ISREG(st.st_mode):
            what = plainfile.kind(st.st_mode)
            if not source:
                return Seen(path, "other", "", 0, False, what)
            raise Failure(f"`{path}` is {what}, neither a file nor a folder")
        now = Signature.of(st)
        digest = self._index.file(path, now)
        if digest is None:
            started = time.time_ns()
            digest = hash_file(full)
            after = Signature.of(os.stat(full))  # noqa: PTH116
            if after == now:
                self._index.remember_file(path, now, digest, started, ours=ours)
            elif looks > 1:
                # Another process here may publish it right now: linked or put in place, it is what it was.
                return self._look(path, source, ours, looks - 1)
            elif not ours:
                raise Failure(f"`{path}` changed while it was read", help="run again when its writer is done")
        return Seen(path, "file", digest, st.st_size, bool(st.st_mode & 0o100), now)

    def _look_folder(self, path: str, full: str, source: bool, ours: bool) -> Seen:
        kept = walking.kept.pop((full, _ignored(source)), None)
        started, walk = kept or (time.time_ns(), walking.look_through(full, _ignored(source)))
        row_name = path if source else path + "/"
        leads_out = self._leads_out(path, source, full, walk)
        if not leads_out and (known := self._index.tree_head(row_name)) and known.walk == walk.hash:
            self._just_walked(path, source, walk)
            return Seen(path, "dir", known.hash, known.size, False, walk.hash)
        row = self._row(full, walk, row_name, exact=not source)
        self._index.remember_tree(row_name, row, walk.changed(), started, ours=ours)
        self._just_walked(path, source, walk)
        return Seen(path, "dir", row.hash, row.size, False, walk.hash)

    def _row(self, full: str, walk: Walk, row_name: str, *, exact: bool) -> TreeRow:
        """What is known of a folder with what was walked; hashes files that do not look as they did."""

        def hashed(files: Sequence[tuple[bytes, int]]) -> list[bytes]:
            return hash_below(full, files)

        return treerow.of_walk(full, walk, self._index.tree(row_name), hashed, exact=exact)

    def measure(self, path: str) -> tuple[Walk, TreeRow]:
        """An output's folder: what is in it, and what is known of that; hashes what it must."""
        full = self._prefix + path
        walk = walking.look_through(full)
        return walk, self._row(full, walk, path + "/", exact=True)

    def learn_file(self, path: str, digest: str, before: os.stat_result | None = None) -> bool:
        """The file at `path` has that content: its writer has ended, and it was hashed just now.

        False, learning nothing, when it was written since it looked as `before`.
        """
        st = os.lstat(self._prefix + path)
        if before is not None and _written(before) != _written(st):
            return False
        now = Signature.of(st)
        self._index.remember_file(path, now, digest, 0, ours=True)
        self._learn(Seen(path, "file", digest, st.st_size, bool(st.st_mode & 0o100), now))
        return True

    def learn_folder(self, path: str, row: TreeRow, before: Walk | None = None) -> bool:
        """As `learn_file`, for a folder in which there is what `row` says; how it looks is looked up."""
        full = self._prefix + path
        walk = walking.look_through(full)
        self._leads_out(path, False, full, walk)
        if before is not None and before.hash != walk.hash and before.mark() != walk.mark():
            return False
        self._learn_walk(path, row, walk)
        return True

    def learn_restored(self, path: str, digest: str, entries: list[tree.Entry]) -> bool:
        """The folder at `path` was just made of the entries of the listing with that hash. False, learning
        nothing, when there is something else in it.
        """
        full = self._prefix + path
        walk = walking.look_through(full)
        self._leads_out(path, False, full, walk)
        row = treerow.of_entries(digest, entries, walk)
        if row is not None:
            self._learn_walk(path, row, walk)
        return row is not None

    def _learn_walk(self, path: str, row: TreeRow, walk: Walk) -> None:
        row = row._replace(walk=walk.hash, names=walk.names, looks=walk.looks)
        self._index.remember_tree(path + "/", row, walk.changed(), 0, ours=True)
        self._learn(Seen(path, "dir", row.hash, row.size, False, row.walk))

    def all_seen(self) -> list[tuple[str, bool, Seen | None]]:
        """Everything that was looked at: path, whether as a source, and what was there."""
        with self._guard:
            return [(path, source, seen) for (path, source), seen in self._seen.items()]

    def watchable(self, path: str, seen: Seen, *, source: bool) -> bool:
        """Whether a change to what was seen must show in its looks: nothing in it was too young when it was
        hashed, and it has no links to what lies elsewhere.
        """
        if isinstance(seen.looks, str):
            row = self._index.tree_head(path if source else path + "/")
            return row is not None and row.walk == seen.looks and (path, source) not in self._outward
        return self._index.file(path, seen.looks) is not None

    def _leads_out(self, path: str, source: bool, full: str, walk: Walk) -> bool:
        paths = walk.paths() if walk.targets else []
        if any(tree.link_hash(full, os.fsdecode(paths[n]), os.fsdecode(t)) for n, t in walk.targets):
            self._outward.add((path, source))
            return True
        self._outward.discard((path, source))
        return False

    def all_globs(self) -> tuple[str, ...]:
        """Every pattern that was asked for."""
        return tuple(self._globs)

    def _keep(self, path: str, source: bool, seen: Seen | None) -> None:
        self._seen[path, source] = seen
        if seen is not None and seen.kind == "dir":
            self._folders.add((path, source))

    def _learn(self, seen: Seen) -> None:
        self.forget(seen.path)
        with self._guard:
            self._keep(seen.path, False, seen)


def _ignored(source: bool) -> frozenset[str]:
    return walking.DROPPINGS if source else frozenset()


def _written(st: os.stat_result) -> tuple[int, int, int, int]:
    # Not its ctime: linking it into the cache changes that.
    return st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode & 0o100
