"""The cache of results: contents, folder listings and records, under `.mlpipe/cache`.

    objects/ab/cdef…   the content of a file whose hash is `abcdef…`, read-only
    packs/cdef….pack   the contents of many small files (`mlflowc.runtime.packstore`)
    trees/ab/cdef…     the listing of a folder (`mlflowc.runtime.tree`) whose hash is `abcdef…`
    records/ab/cdef…   what a key led to (`mlflowc.runtime.records`)

Everything is written to a temporary name and renamed; objects first, then trees, then the record, so a record
means that all it names was there. Nothing is believed because it is there: a listing and a record carry
their own hash, and an object is used only while it looks as it did when its content was known to be right
(size, mtime, ctime, inode, in the index), else it is hashed again. What turns out wrong is dropped: a miss.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlflowc import plainfile
from mlflowc.runtime import packstore, tree
from mlflowc.runtime.hashing import hash_bytes, hash_file, is_name
from mlflowc.runtime.index import Signature, StatIndex
from mlflowc.runtime.linking import Linking
from mlflowc.runtime.listings import Listings
from mlflowc.runtime.packstore import PackStore, Piece
from mlflowc.runtime.ports import FileSystem, flush_disk
from mlflowc.runtime.records import OutputRecord, Record, decode, encode

# Below this, a copy costs what a link costs, and leaves nothing that writing in place could spoil.
_COPIED = packstore.LARGEST
# From so many small files on, a folder is restored by so many threads.
_PARALLEL, _THREADS = 500, 2

# From so many objects on, one looks for them all at once.
_MANY = 1000

_NAME = re.compile(r"[0-9a-f]{62}")


class Store:
    """The cache in the folder `root` (`.mlpipe/cache`)."""

    def __init__(self, root: Path, fs: FileSystem, index: StatIndex, link: str = "auto") -> None:
        self.root = root
        self._fs = fs
        self._index = index
        self._linking = Linking(fs, link)
        self._folders: set[str] = set()
        self.listings = Listings(root, fs)
        self.packs = PackStore(root, fs, index)

    # --- asking

    def object_path(self, digest: str) -> Path:
        """Where the object is, or would be, as a file of its own."""
        return self._path("objects", digest)

    def has(self, digest: str) -> bool:
        """Whether the object is there and good. One that looks different from before is hashed; a bad one
        dropped.
        """
        if self.packs.loaded and self.packs.has(digest):
            return True
        return self._has_file(digest) or self.packs.has(digest)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of many objects that are not there, or not good."""
        wanted = dict.fromkeys(digests)
        packed = self.packs.among(wanted)
        if len(packed) == len(wanted):
            return []
        left = [d for d in wanted if d not in packed] if packed else list(wanted)
        there = self._seen(left)
        if not there:
            return left
        self._index.load_objects(there)
        absent = set(left).difference(there)
        return [d for d in left if d in absent or not self._has_file(d)]

    def _seen(self, digests: list[str]) -> list[str]:
        """Those that may have files of their own. Of many, that is read from the folders they would be in,
        unless these hold so much else that asking for each is quicker.
        """
        if len(digests) < _MANY:
            return digests
        if not os.path.isdir(f"{self.root}/objects"):  # noqa: PTH112
            return []
        found: set[str] = set()
        for start in {d[:2] for d in digests}:
            with contextlib.suppress(OSError):
                found.update([start + n for n in os.listdir(f"{self.root}/objects/{start}")])  # noqa: PTH208
            if len(found) > 2 * len(digests):
                return digests
        return [d for d in digests if d in found]

    def file(self, digest: str) -> Path | None:
        """A file that holds the object; None when it is not there, or cannot be unpacked."""
        if not self._has_file(digest):
            data = self.packs.read(digest)
            if data is None:
                return None
            try:
                self.put_checked(digest, data)
            except OSError:
                return None
        return self._path("objects", digest)

    def size(self, digest: str) -> int | None:
        """How many bytes the object has; None when it is not there, or not good."""
        if self._has_file(digest):
            return os.stat(self._path("objects", digest)).st_size  # noqa: PTH116
        return self.packs.size(digest) if self.packs.has(digest) else None

    def contents(self, digests: Iterable[str]) -> Iterator[tuple[str, bytes | memoryview]]:
        """The contents of many small objects; of those that are there and good, in any order."""
        left = dict.fromkeys(digests)
        for digest, packed in self.packs.read_many(left):
            del left[digest]
            yield digest, packed
        for digest, data in self._read_files(list(left)):
            del left[digest]
            yield digest, data
        # Whatever they are now, they are no use to anybody: this drops them.
        self.missing(left)

    def _read_files(self, digests: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Those of small objects with files of their own that are good."""
        for digest in digests:
            with contextlib.suppress(OSError):
                data = plainfile.read(f"{self.root}/objects/{digest[:2]}/{digest[2:]}")
                if hash_bytes(data) == digest:
                    yield digest, data

    def _has_file(self, digest: str) -> bool:
        if not digest.isalnum():
            return False  # `../..` in a lock that somebody wrote: nothing outside of the cache is dropped
        try:
            st = os.stat(f"{self.root}/objects/{digest[:2]}/{digest[2:]}", follow_symlinks=False)  # noqa: PTH116
        except OSError:
            return False
        now = Signature.of(st)
        if self._index.known_object(digest) == now:
            return True
        path = self._path("objects", digest)
        try:
            good = stat.S_ISREG(st.st_mode) and hash_file(path) == digest
        except OSError:
            return False
        if good:
            # Seen durable only if it is: a reader cannot tell, and asking the disk is cheap beside the
            # hashing.
            with contextlib.suppress(OSError):
                self._fs.sync(path)
            self._index.remember_object(digest, now, durable=True)
            return True
        self._index.forget_object(digest)
        with contextlib.suppress(OSError):
            self._fs.remove(path)
        return False

    def listing(self, digest: str) -> list[tree.Entry] | None:
        """The entries of a folder's listing; None when it is not there or damaged (and then dropped)."""
        return self.listings.entries(digest)

    def has_output(self, output: OutputRecord, place: Path | None = None) -> bool:
        """Whether all of an output's content is there and good.

        With `place`, where it would be restored, also whether links that lead out of it lead to the same.
        """
        if output.kind == "file":
            return self.has(output.hash)
        found = self.listings.summary(output.hash)
        if found is None or self.missing(found.digests):
            return False
        links = found.links if place is not None else ()
        return all(tree.link_hash(str(place), e.path, e.target) == e.hash for e in links)

    def record(self, key: str) -> Record | None:
        """The record of a key; None when there is none, or a damaged one (which is then dropped)."""
        path = self._path("records", key)
        data = self._read(path) if is_name(key) else None
        if data is None:
            return None
        try:
            record = decode(data)
            if record.key == key:
                return record
        except (ValueError, KeyError, TypeError):
            pass
        with contextlib.suppress(OSError):
            self._fs.remove(path)
        return None

    def records(self) -> Iterator[Record]:
        """All good records, in no useful order."""
        for path in sorted((self.root / "records").glob("??/*")):
            # Beside them may stand what another process is about to rename.
            record = self.record(path.parent.name + path.name) if _NAME.fullmatch(path.name) else None
            if record is not None:
                yield record

    def forget(self, digest: str) -> None:
        """The object is gone."""
        self._index.forget_object(digest)

    def drop(self, digest: str) -> None:
        """The object is known to be wrong."""
        self.packs.drop(digest)
        self.drop_file(digest)

    def drop_file(self, digest: str) -> None:
        """The file of its own that the object has is known to be wrong."""
        self._index.forget_object(digest)
        if not is_name(digest):
            return
        with contextlib.suppress(OSError):
            self._fs.remove(self._path("objects", digest))

    # --- putting. All raise OSError (no space left, a read-only file system, ...).

    def put_checked(self, digest: str, data: bytes | memoryview) -> None:
        """Adds an object whose content has just been found to have that hash, and that is not there.

        It is written in place, which is quicker. Nobody takes a part of it for the whole: until the index
        knows it, it is hashed before use.
        """
        folder = f"objects/{digest[:2]}"
        if folder not in self._folders:
            self._fs.make_folder(self.root / folder)
            self._folders.add(folder)
        try:
            st = self._fs.create(f"{self.root}/{folder}/{digest[2:]}", data, 0o444)
        except FileExistsError:
            # A part that a killed process left, or another process is just writing the same.
            path = self._path("objects", digest)
            self._fs.write(path, data)
            self._fs.chmod(path, 0o444)
            st = os.stat(path)  # noqa: PTH116
        self._index.remember_object(digest, Signature.of(st), durable=False)

    def put_pieces(self, pieces: Sequence[Piece]) -> None:
        """Adds many objects as `put_checked` does one: small ones together, if they are not few."""
        small = [p for p in pieces if len(p.content) <= _COPIED]
        small = small if len(small) >= packstore.FEWEST else []
        for piece in [p for p in pieces if len(p.content) > _COPIED] if small else pieces:
            self.put_checked(*piece)
        for group in packstore.full(small):
            self.packs.put(group)

    def put_output_files(self, folder: str, files: Sequence[tuple[tree.Entry, int]]) -> bool:
        """As `put_output_file`, for the files of a folder, each with the `mtime_ns` it had."""
        missing = set(self.missing(entry.hash for entry, _ in files))
        left = {entry.hash: (entry, mtime_ns) for entry, mtime_ns in files if entry.hash in missing}
        small = [(e, mtime_ns) for e, mtime_ns in left.values() if e.size <= _COPIED]
        if len(small) >= packstore.FEWEST:
            for group in packstore.full(packstore.pieces_of(folder, small)):
                self.packs.put(group)
                for piece in group:
                    del left[piece.digest]
        return all(
            self.put_output_file(Path(folder, entry.path), entry.hash, entry.kind == "x", mtime_ns)
            for entry, mtime_ns in left.values()
        )

    def put_file(self, source: Path, digest: str, *, move: bool = False) -> None:
        """Adds the content of `source`, whose hash is `digest`, as an object. With `move` it is the file
        itself.
        """
        if self.has(digest):
            if move:
                self._fs.remove(source)
            return
        path = self._place("objects", digest)
        if move and self._same_disk(source):
            self._finish(source, path, digest)
            return
        temporary = self._temporary()
        try:
            if not self._fs.clone(source, temporary):
                self._fs.copy(source, temporary)
            self._finish(temporary, path, digest)
            if move:
                self._fs.remove(source)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.remove(temporary)
            raise

    def put_output_file(self, source: Path, digest: str, executable: bool, mtime_ns: int) -> bool:
        """Adds an output's file. A large one that is linked (`Linking`) becomes read-only in place.
        False when it was written since it had that `mtime_ns`, before it was hashed.
        """
        if self.has(digest):
            return True
        path = self._place("objects", digest)
        temporary = self._temporary()
        try:
            if os.stat(source, follow_symlinks=False).st_size <= _COPIED:  # noqa: PTH116
                data = plainfile.read(source)
                if hash_bytes(data) != digest:
                    return False
                self._fs.write(temporary, data)
            else:
                self._linking.place(source, temporary)
            if os.stat(source, follow_symlinks=False).st_mtime_ns != mtime_ns:  # noqa: PTH116
                self._fs.remove(temporary)
                return False
            self._finish(temporary, path, digest, executable)
            return True
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.remove(temporary)
            raise

    def put_log(self, source: Path) -> str:
        """Adds a log, which goes from where it was; returns its hash."""
        digest = hash_file(source)
        self.put_file(source, digest, move=True)
        return digest

    def put_listing(self, entries: list[tree.Entry]) -> str:
        """Adds a folder's listing; returns its hash. The objects it names must be there already."""
        return self.listings.put(tree.encode(entries))

    def put_record(self, record: Record) -> None:
        """Adds a record, in place of another of its key. All that it names must be there already."""
        self._fs.write(self._place("records", record.key), encode(record))

    def touch(self, key: str) -> None:
        """The result of that key was used: `collect` drops first what was not for long."""
        with contextlib.suppress(OSError):
            os.utime(self._path("records", key))

    def sync(self) -> None:
        """Makes what this process added survive a power cut; until then, it is checked before use."""
        fresh = self._index.volatile_objects()
        if not fresh:
            return
        with contextlib.suppress(OSError):
            if len(fresh) <= 8 or not flush_disk(self.root):
                for digest in fresh:
                    for path in self.packs.files(digest) or [self.object_path(digest)]:
                        self._fs.sync(path)
            self._index.objects_are_durable(fresh)

    # --- giving back

    def restore(self, output: OutputRecord, target: Path) -> bool:
        """Puts an output at `target`, where nothing may be. False, leaving nothing, when content is missing.

        Raises `OSError`.
        """
        try:
            if output.kind == "file":
                return self._restore_file(output.hash, target, output.executable)
            entries = self.listing(output.hash)
            if entries is None:
                return False
            if not self._restore_folder(entries, target):
                self._fs.remove(target)
                return False
        except OSError:
            with contextlib.suppress(OSError):
                self._fs.remove(target)
            raise
        return True

    def _restore_folder(self, entries: list[tree.Entry], target: Path) -> bool:
        self._fs.make_folder(target)
        folders = {e.path if e.kind == "d" else e.path.rpartition("/")[0] for e in entries}
        for folder in sorted(folders - {""}):
            self._fs.make_folder(target / folder)
        for entry in entries:
            if entry.kind == "l":
                self._fs.symlink(entry.target, target / entry.path)
            elif entry.kind in "fx" and entry.size > _COPIED:
                path = target / entry.path
                if not self._restore_file(entry.hash, path, entry.kind == "x"):
                    return False
        return self._restore_small([e for e in entries if e.kind in "fx" and e.size <= _COPIED], str(target))

    def _restore_small(self, entries: list[tree.Entry], place: str) -> bool:
        """Small files of a folder: read and hashed rather than looked up, which is quicker."""
        wanted: dict[str, list[tree.Entry]] = {}
        for entry in entries:
            wanted.setdefault(entry.hash, []).append(entry)
        # To find out what the packs hold costs more than to find a few files by their names.
        packed = self.packs.by_pack(wanted) if self.packs.loaded or len(wanted) >= packstore.FEWEST else []
        left = dict.fromkeys(wanted)
        for _, spots in packed:
            for spot in spots:
                del left[spot.digest]
        loose = list(left)
        parts: list[Iterator[tuple[str, bytes | memoryview]]] = [
            *(self.packs.read_of(name, spots) for name, spots in packed),
            *(self._read_files(loose[n::_THREADS]) for n in range(_THREADS)),
        ]

        def put(part: Iterable[tuple[str, bytes | memoryview]]) -> set[str]:
            done = set()
            for digest, data in part:
                for entry in wanted[digest]:
                    self._create(f"{place}/{entry.path}", data, entry.kind == "x")
                done.add(digest)
            return done

        if len(entries) < _PARALLEL:
            done: set[str] = set().union(*map(put, parts))
        else:
            # The system's part of making files goes in parallel. Brings `logging` along: only where there
            # are many files.
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(_THREADS, thread_name_prefix="restore") as pool:
                done = set().union(*pool.map(put, parts))
        # A short read, or damage: looked at with more care, and dropped if it is.
        again = [e for digest, group in wanted.items() if digest not in done for e in group]
        return all(self._restore_file(e.hash, Path(place, e.path), e.kind == "x") for e in again)

    def _restore_file(self, digest: str, target: Path, executable: bool) -> bool:
        if not self.has(digest):
            return False
        # Before the file, which may be there and damaged if it is in a pack.
        data = self.packs.read(digest) if self.packs.loaded else None
        if data is not None:
            self._create(str(target), data, executable)
            return True
        if not self._has_file(digest):
            return False
        source = self._path("objects", digest)
        st = os.stat(source)  # noqa: PTH116
        if st.st_size > _COPIED:
            # A link shares its mode with the object, and so must want the same exec bit.
            if self._linking.place(source, target, linked=bool(st.st_mode & 0o100) == executable):
                self._index.remember_object(digest, Signature.of(os.stat(source)), durable=False)  # noqa: PTH116
                return True
        else:
            self._fs.copy(source, target)
        self._fs.chmod(target, 0o755 if executable else 0o644)
        return True

    def _create(self, path: str, data: bytes | memoryview, executable: bool) -> None:
        mode = 0o755 if executable else 0o644
        if self._fs.create(path, data, mode).st_mode & 0o777 != mode:
            self._fs.chmod(Path(path), mode)

    # --- places

    def _read(self, path: Path) -> bytes | None:
        try:
            return plainfile.read(path)
        except OSError as e:
            # What is no file would be in the way of what belongs there.
            if e.errno in (errno.EISDIR, errno.EINVAL):
                with contextlib.suppress(OSError):
                    self._fs.remove(path)
        return None

    def _path(self, kind: str, digest: str) -> Path:
        return Path(f"{self.root}/{kind}/{digest[:2]}/{digest[2:]}")

    def _place(self, kind: str, digest: str) -> Path:
        path = self._path(kind, digest)
        folder = f"{kind}/{digest[:2]}"
        if folder not in self._folders:
            self._fs.make_folder(path.parent)
            self._folders.add(folder)
        return path

    def _temporary(self) -> Path:
        # The number of a process comes again, in containers on every run, and what is drawn at the start is
        # the same in all children of a fork: what one left must not be in the way.
        folder = self.root / "tmp"
        if "tmp" not in self._folders:
            self._fs.make_folder(folder)
            self._folders.add("tmp")
        return folder / f"{os.getpid()}-{os.urandom(8).hex()}"

    def _finish(self, temporary: Path, path: Path, digest: str, executable: bool = False) -> None:
        self._fs.chmod(temporary, 0o555 if executable else 0o444)
        self._fs.rename(temporary, path)
        self._index.remember_object(digest, Signature.of(os.stat(path)), durable=False)  # noqa: PTH116

    def _same_disk(self, path: Path) -> bool:
        return os.stat(path).st_dev == os.stat(self.root).st_dev  # noqa: PTH116
