"""What is in the project folder now: content of its files and folders, by way of the stat index."""

from __future__ import annotations

import glob
import os
import stat
import threading
import time
from pathlib import Path
from typing import NamedTuple

from mlflowc.errors import Failure
from mlflowc.runtime import tree, walking
from mlflowc.runtime.hashing import hash_bytes, hash_file, hash_files
from mlflowc.runtime.index import Signature, StatIndex, TreeRow


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

    def same(self, seen: Seen, *, source: bool = True) -> bool:
        """Whether it looks as it did, by stat alone; False for a folder with links that lead out of it."""
        if (seen.path, source) in self._outward:
            return False
        full = self._prefix + seen.path
        try:
            if seen.kind == "file":
                return Signature.of(os.stat(full)) == seen.looks  # noqa: PTH116
            return (
                walking.walk_hash(walking.walk(full, walking.DROPPINGS if source else frozenset()))
                == seen.looks
            )
        except OSError:
            return False

    def mark(self, path: str, *, source: bool = True) -> str:
        """What changes with every write to what is at `path`, but not when a link is made to it; "" where
        nothing is.
        """
        full = self._prefix + path
        try:
            st = os.stat(full)  # noqa: PTH116
            if not stat.S_ISDIR(st.st_mode):
                return f"{st.st_size} {st.st_mtime_ns} {st.st_ino}"
            found = walking.walk(full, walking.DROPPINGS if source else frozenset())
            return walking.walk_hash([f._replace(ctime_ns=0) for f in found])
        except OSError:
            return ""

    def forget(self, path: str) -> None:
        """The next `look` looks again."""
        path = path.rstrip("/")
        with self._guard:
            self._seen.pop((path, True), None)
            self._seen.pop((path, False), None)
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

    def _look(self, path: str, source: bool, ours: bool) -> Seen:
        full = self._prefix + path
        st = os.stat(full) if source else os.lstat(full)  # noqa: PTH116
        if stat.S_ISDIR(st.st_mode):
            return self._look_folder(path, full, source, ours)
        if not stat.S_ISREG(st.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(st.st_mode) else "neither a file nor a folder"
            if not source:
                return Seen(path, "other", "", 0, False, what)
            raise Failure(f"`{path}` is {what}")
        now = Signature.of(st)
        digest = self._index.file(path, now)
        if digest is None:
            started = time.time_ns()
            digest = hash_file(full)
            after = Signature.of(os.stat(full))  # noqa: PTH116
            if after == now:
                self._index.remember_file(path, now, digest, started, ours=ours)
            elif not ours:
                raise Failure(f"`{path}` changed while it was read", help="run again when its writer is done")
        return Seen(path, "file", digest, st.st_size, bool(st.st_mode & 0o100), now)

    def _look_folder(self, path: str, full: str, source: bool, ours: bool) -> Seen:
        started = time.time_ns()
        found = walking.walk(full, walking.DROPPINGS if source else frozenset())
        walk = walking.walk_hash(found)
        row_name = path if source else path + "/"
        row = self._index.tree(row_name)
        leads_out = self._leads_out(path, source, full, found)
        if row is not None and row.walk == walk and not leads_out:
            return Seen(path, "dir", row.hash, row.size, False, walk)
        entries, row = self._hash_folder(full, found, walk, row, exact=not source)
        changed = max((f.ctime_ns for f in found), default=0)
        self._index.remember_tree(row_name, row, changed, started, ours=ours)
        return Seen(path, "dir", row.hash, tree.total_size(entries), False, walk)

    def _hash_folder(
        self, full: str, found: list[walking.Found], walk: str, row: TreeRow | None, *, exact: bool
    ) -> tuple[list[tree.Entry], TreeRow]:
        known = row.files if row else {}
        files = [f for f in found if f.kind in "fx"]
        hashes: dict[str, str] = {}
        for f in files:
            before = known.get(f.path)
            if before and before[0] == (f.size, f.mtime_ns, f.ctime_ns, f.inode):
                hashes[f.path] = before[1]
        missing = [f.path for f in files if f.path not in hashes]
        hashes.update(zip(missing, hash_files([f"{full}/{p}" for p in missing]), strict=True))
        entries = [tree.to_entry(full, f, hashes.get(f.path, ""), exact=exact) for f in found]
        files_row = {f.path: ((f.size, f.mtime_ns, f.ctime_ns, f.inode), hashes[f.path]) for f in files}
        return entries, TreeRow(walk, hash_bytes(tree.encode(entries)), tree.total_size(entries), files_row)

    def measure(self, path: str) -> tuple[list[walking.Found], list[tree.Entry]]:
        """An output's folder: what is in it, and its listing, in the same order; hashes what it must."""
        full = self._prefix + path
        found = walking.walk(full)
        return found, self._hash_folder(full, found, "", self._index.tree(path + "/"), exact=True)[0]

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

    def learn_folder(
        self, path: str, digest: str, entries: list[tree.Entry], before: list[walking.Found] | None = None
    ) -> bool:
        """As `learn_file`, for a folder with those entries."""
        found = walking.walk(self._prefix + path)
        self._leads_out(path, False, self._prefix + path, found)
        if before is not None and [f._replace(ctime_ns=0) for f in before] != [
            f._replace(ctime_ns=0) for f in found
        ]:
            return False
        hashes = {e.path: e.hash for e in entries}
        files = {
            f.path: ((f.size, f.mtime_ns, f.ctime_ns, f.inode), hashes[f.path])
            for f in found
            if f.kind in "fx" and f.path in hashes
        }
        row = TreeRow(walking.walk_hash(found), digest, tree.total_size(entries), files)
        self._index.remember_tree(path + "/", row, max((f.ctime_ns for f in found), default=0), 0, ours=True)
        self._learn(Seen(path, "dir", digest, row.size, False, row.walk))
        return True

    def all_seen(self) -> list[tuple[str, bool, Seen | None]]:
        """Everything that was looked at: path, whether as a source, and what was there."""
        with self._guard:
            return [(path, source, seen) for (path, source), seen in self._seen.items()]

    def watchable(self, path: str, seen: Seen, *, source: bool) -> bool:
        """Whether a change to what was seen must show in its looks: nothing in it was too young when it was
        hashed, and it has no links to what lies elsewhere.
        """
        if isinstance(seen.looks, str):
            row = self._index.tree(path if source else path + "/")
            return row is not None and row.walk == seen.looks and (path, source) not in self._outward
        return self._index.file(path, seen.looks) is not None

    def _leads_out(self, path: str, source: bool, full: str, found: list[walking.Found]) -> bool:
        if any(f.kind == "l" and tree.link_hash(full, f.path, f.target) for f in found):
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


def _written(st: os.stat_result) -> tuple[int, int, int, int]:
    # Not its ctime: linking it into the cache changes that.
    return st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode & 0o100
