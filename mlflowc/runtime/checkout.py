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
        self._marks: dict[tuple[str, bool], str] = {}
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

        With `mark`, what it is marked with now is kept for the next `taken_mark`: one walk does for both.
        """
        if (seen.path, source) in self._outward:
            return False
        full = self._prefix + seen.path
        try:
            if seen.kind == "file":
                return Signature.of(os.stat(full)) == seen.looks  # noqa: PTH116
            found = walking.walk_plain(full, _ignored(source))
            same = walking.walk_hash(found) == seen.looks
        except OSError:
            return False
        if mark and same:
            with self._guard:
                self._marks[seen.path, source] = walking.mark_hash(found)
        return same

    def taken_mark(self, path: str, *, source: bool = True) -> str:
        """The `mark` that was kept; that of now, where none was. It is kept no longer."""
        with self._guard:
            kept = self._marks.pop((path, source), None)
        return self.mark(path, source=source) if kept is None else kept

    def mark(self, path: str, *, source: bool = True) -> str:
        """What changes with every write to what is at `path`, but not when a link is made to it; "" where
        nothing is.
        """
        full = self._prefix + path
        try:
            st = os.stat(full)  # noqa: PTH116
            if not stat.S_ISDIR(st.st_mode):
                return f"{st.st_size} {st.st_mtime_ns} {st.st_ino}"
            return walking.mark_hash(walking.walk_plain(full, _ignored(source)))
        except OSError:
            return ""

    def forget(self, path: str) -> None:
        """The next `look` looks again."""
        path = path.rstrip("/")
        with self._guard:
            self._seen.pop((path, True), None)
            self._seen.pop((path, False), None)
            self._marks.clear()
            walking.kept.clear()
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
            elif not ours:
                raise Failure(f"`{path}` changed while it was read", help="run again when its writer is done")
        return Seen(path, "file", digest, st.st_size, bool(st.st_mode & 0o100), now)

    def _look_folder(self, path: str, full: str, source: bool, ours: bool) -> Seen:
        kept = walking.kept.pop((full, _ignored(source)), None)
        started, found = kept or (time.time_ns(), walking.walk_plain(full, _ignored(source)))
        walk = walking.walk_hash(found)
        row_name = path if source else path + "/"
        leads_out = self._leads_out(path, source, full, found)
        if not leads_out and (known := self._index.tree_head(row_name)) and known.walk == walk:
            return Seen(path, "dir", known.hash, known.size, False, walk)
        files, size = self._hash_files(full, found, self._index.tree(row_name))
        listing = tree.encode_walk(
            full, found, {p: digest for p, (_, digest) in files.items()}, exact=not source
        )
        row = TreeRow(walk, hash_bytes(listing), size, files)
        changed = max((f[4] for f in found), default=0)
        self._index.remember_tree(row_name, row, changed, started, ours=ours)
        return Seen(path, "dir", row.hash, size, False, walk)

    def _hash_files(
        self, full: str, found: Sequence[walking.Plain], row: TreeRow | None
    ) -> tuple[dict[str, tuple[tuple[int, int, int, int], str]], int]:
        """Signature and hash of each file by path, those of `row` where a file looks as it did; their bytes
        in all.
        """
        known = row.files if row else {}
        files: dict[str, tuple[tuple[int, int, int, int], str]] = {}
        missing: list[walking.Plain] = []
        total = 0
        for f in found:
            path, kind, size, mtime, ctime, inode, _ = f
            if kind not in "fx":
                continue
            total += size
            before = known.get(path)
            if before is not None and before[0] == (size, mtime, ctime, inode):
                files[path] = before
            else:
                missing.append(f)
        hashes = hash_files([f"{full}/{f[0]}" for f in missing])
        for (path, _, size, mtime, ctime, inode, _), digest in zip(missing, hashes, strict=True):
            files[path] = ((size, mtime, ctime, inode), digest)
        return files, total

    def measure(self, path: str) -> tuple[list[walking.Found], list[tree.Entry]]:
        """An output's folder: what is in it, and its listing, in the same order; hashes what it must."""
        full = self._prefix + path
        found = walking.walk(full)
        files, _ = self._hash_files(full, found, self._index.tree(path + "/"))
        entries = [
            tree.to_entry(full, f, files[f.path][1] if f.path in files else "", exact=True) for f in found
        ]
        return found, entries

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
            row = self._index.tree_head(path if source else path + "/")
            return row is not None and row.walk == seen.looks and (path, source) not in self._outward
        return self._index.file(path, seen.looks) is not None

    def _leads_out(self, path: str, source: bool, full: str, found: Sequence[walking.Plain]) -> bool:
        if any(f[1] == "l" and tree.link_hash(full, f[0], f[6]) for f in found):
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
