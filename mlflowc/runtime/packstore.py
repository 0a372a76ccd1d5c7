"""Many small contents of the cache in one file, in the form in which remotes keep them.

    packs/cdef….pack     the contents one after another (`mlflowc.runtime.remotes.packs`)
    packs/cdef….index    what is where in it; it is named by the hash of this index

A pack is there when both files are: the index is written last and removed first, both by renaming. An index
that has not the hash it is named by does not count. What it says of the pack is believed while the pack
looks as it did when each of its contents was known to be right (in the stat index, under the pack's name);
else all are hashed again, and the good ones go into a pack without the others. Who reads hashes what it
reads.

Another process may rewrite a pack at any time: who does not find it looks again where things are now.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mlflowc import plainfile
from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import Signature, StatIndex, racy
from mlflowc.runtime.ports import FileSystem
from mlflowc.runtime.remotes import packs
from mlflowc.runtime.remotes.packs import Sized

# Larger contents are files of their own, which can be cloned or linked; and so are few at once.
LARGEST, FEWEST = 64 * 1024, 64

_TRIES = 3
# A place is one number: of the pack, then where the content starts, then how long it is.
_LENGTH, _START = 24, 32


class Piece(NamedTuple):
    """A content whose hash was just found to be `digest`."""

    digest: str
    content: bytes | memoryview


class Held(NamedTuple):
    """A pack: its name, the lengths of its contents by hash, the bytes of its files, and their last change
    in seconds since 1970.
    """

    name: str
    lengths: dict[str, int]
    size: int
    changed: float


class _Spot(NamedTuple):
    """Where in its pack a content is."""

    digest: str
    start: int
    length: int


class _Map(NamedTuple):
    """What packs there are, and the places of contents by hash. It only grows: whoever has one may go on."""

    names: list[str]
    where: dict[str, int]

    def pack(self, place: int) -> str:
        """The name of the pack of a place."""
        return self.names[place >> (_START + _LENGTH)]


class PackStore:
    """The packs of the cache in the folder `root`. Safe to use from several threads."""

    def __init__(self, root: Path, fs: FileSystem, index: StatIndex) -> None:
        self._folder = root / "packs"
        self._fs = fs
        self._index = index
        self._guard = threading.RLock()
        self._map = _Map([], {})
        # Of packs that were found to be good: what they look like. And what is known to be bad in others.
        self._good: dict[str, Signature] = {}
        self._bad: dict[str, set[str]] = {}
        self._listed: tuple[int, int] | None = None

    # --- asking

    @property
    def loaded(self) -> bool:
        """Whether it is known what is where: then asking costs next to nothing."""
        return self._listed is not None

    def has(self, digest: str) -> bool:
        """Whether the content is in a pack, and good."""
        for _ in range(_TRIES):
            name = self._pack_of(digest)
            if name is None or self._is_good(name):
                return name is not None
        return False

    def among(self, digests: Iterable[str]) -> set[str]:
        """Those that are in packs, and good."""
        self._refresh()
        names, where = self._map
        found = {d: where[d] for d in digests if d in where}
        used = {place >> (_START + _LENGTH) for place in found.values()}
        if not [n for n in used if not self._is_good(names[n])]:
            return set(found)
        return {d for d in found if self.has(d)}

    def size(self, digest: str) -> int | None:
        """How many bytes the content has; None when it is in no pack."""
        self._refresh()
        place = self._map.where.get(digest)
        return None if place is None else place & ((1 << _LENGTH) - 1)

    def files(self, name: str) -> list[Path]:
        """The files of the pack with that name; none when there is none."""
        if self._listed is None or name not in self._map.names:
            return []
        return [self._path(name, "pack"), self._path(name, "index")]

    # --- reading

    def read(self, digest: str) -> bytes | None:
        """The content; None when no pack has it as it should be."""
        return next((bytes(content) for _, content in self.read_many([digest])), None)

    def read_many(self, digests: Iterable[str]) -> Iterator[tuple[str, memoryview]]:
        """Those that are in packs as they should be, in the order of the packs."""
        left = list(dict.fromkeys(digests))
        for _ in range(_TRIES):
            again: list[str] = []
            for name, spots in self.by_pack(left):
                again += yield from self.read_of(name, spots)
            if not again:
                return
            left = again

    def by_pack(self, digests: Collection[str]) -> list[tuple[str, list[_Spot]]]:
        """The packs that have any of these, and which. What is in no pack is left out."""
        self._refresh()
        names, where = self._map
        found: list[tuple[str, list[_Spot]]] = []
        last = -1
        for place, digest in sorted((where[d], d) for d in digests if d in where):
            if place >> (_START + _LENGTH) != last:
                last = place >> (_START + _LENGTH)
                found.append((names[last], []))
            start = place >> _LENGTH & ((1 << _START) - 1)
            found[-1][1].append(_Spot(digest, start, place & ((1 << _LENGTH) - 1)))
        return found

    def read_of(self, name: str, spots: list[_Spot]) -> Generator[tuple[str, memoryview], None, list[str]]:
        """Contents of one pack, as they should be; returns those that have to be looked for again."""
        first, end = min(s.start for s in spots), max(s.start + s.length for s in spots)
        try:
            view = memoryview(_stretch(self._path(name, "pack"), first, end - first))
        except FileNotFoundError:
            self._is_good(name)
            return [s.digest for s in spots]
        except OSError:
            return []
        again = []
        for digest, start, length in spots:
            content = view[start - first : start - first + length]
            if blake3(content).hexdigest() == digest:
                yield digest, content
            else:
                again.append(digest)
        if again:
            self._index.forget_object(name)
            self._good.pop(name, None)
            self._is_good(name)
        return again

    # --- putting

    def put(self, pieces: Sequence[Piece]) -> str:
        """Adds a pack; returns its name. Raises `OSError`."""
        index = packs.encode_index(Sized(p.digest, len(p.content)) for p in pieces)
        name = hash_bytes(index)
        body = b"".join([p.content for p in pieces])
        self._fs.make_folder(self._folder)
        self._fs.write(self._path(name, "pack"), body)
        now = Signature.of(os.stat(self._path(name, "pack")))  # noqa: PTH116
        self._fs.write(self._path(name, "index"), index)
        self._index.remember_object(name, now, durable=False)
        with self._guard:
            self._bad.pop(name, None)
            self._good[name] = now
            if self._listed is None or name in self._map.names:
                self._refresh(anew=True)
            else:
                self._add(self._map, name, index)
        return name

    def leave(self, name: str, wanted: Collection[str]) -> int:
        """Leaves only these contents of a pack; returns the bytes that are left. Raises `OSError`."""
        kept = [p for p, good in self._pieces(name) if good and p.digest in wanted] if wanted else []
        if not kept or self.put(kept) != name:
            self._discard(name)
        return sum(len(p.content) for p in kept)

    def drop(self, digest: str) -> None:
        """That content is known to be wrong."""
        for _ in range(_TRIES):
            name = self._pack_of(digest)
            if name is None:
                return
            self._without(name, {digest})

    # --- all of them

    def all(self) -> list[Held]:
        """All packs that there are now."""
        self._refresh(anew=True)
        found = []
        for name in list(self._map.names):
            with contextlib.suppress(OSError):
                stats = [p.stat() for p in self.files(name)]
                lengths = {raw.hex(): length for raw, length in self._rows(name)}
                changed = max(max(s.st_mtime, s.st_ctime) for s in stats)
                found.append(Held(name, lengths, sum(s.st_size for s in stats), changed))
        return found

    def check(self) -> list[str]:
        """Hashes all contents again; the names of those, and of indexes, that were bad and are dropped."""
        damaged = []
        for held in self.all():
            self._index.forget_object(held.name)
            self._good.pop(held.name, None)
            if not self._is_good(held.name):
                damaged += [f"objects/{d}" for d in held.lengths if not self.has(d)]
        for path in self.strays():
            if path.suffix == ".index":
                damaged.append(f"packs/{path.name}")
                with contextlib.suppress(OSError):
                    self._fs.remove(path)
        return damaged

    def strays(self) -> list[Path]:
        """Files that belong to no pack."""
        self._refresh(anew=True)
        whole = {p.name for n in self._map.names for p in self.files(n)}
        return sorted(p for p in self._folder.glob("*") if p.name not in whole)

    # --- how packs are

    def _is_good(self, name: str) -> bool:
        """Whether all of a pack is as it should be. If not, what is known of places is not what it was."""
        path = self._path(name, "pack")
        try:
            now = Signature.of(os.stat(path))  # noqa: PTH116
            if self._good.get(name) == now:
                return True
            if self._index.known_object(name) == now:
                self._good[name] = now
                return True
            bad = {piece.digest for piece, good in self._pieces(name) if not good}
        except FileNotFoundError:
            self._discard(name)
            return False
        except OSError:
            return False
        if bad:
            self._without(name, bad)
            # If it cannot be written anew, the rest of it is good.
            self._good[name] = now
            return False
        # As with other contents: asking the disk is cheap beside the hashing.
        with contextlib.suppress(OSError):
            for file in self.files(name):
                self._fs.sync(file)
            self._index.remember_object(name, now, durable=True)
        self._good[name] = now
        return True

    def _without(self, name: str, bad: set[str]) -> None:
        """The same without what is bad, as far as the disk lets us."""
        with self._guard:
            self._bad.setdefault(name, set()).update(bad)
            bad = self._bad[name]
            with contextlib.suppress(OSError):
                kept = [p for p, good in self._pieces(name) if good and p.digest not in bad]
                if not kept or self.put(kept) != name:
                    self._discard(name)
            self._index.forget_object(name)
            self._refresh(anew=True)

    def _discard(self, name: str) -> None:
        """Index first: what is left of a pack is not one."""
        with self._guard:
            self._index.forget_object(name)
            self._good.pop(name, None)
            for path in (self._path(name, "index"), self._path(name, "pack")):
                with contextlib.suppress(OSError):
                    self._fs.remove(path)
            self._refresh(anew=True)

    def _pieces(self, name: str) -> Iterator[tuple[Piece, bool]]:
        """What a pack has, and whether it is that. Raises `OSError`."""
        body = memoryview(plainfile.read(self._path(name, "pack")))
        at = 0
        for raw, length in self._rows(name):
            content = body[at : at + length]
            yield Piece(raw.hex(), content), blake3(content).digest() == raw
            at += length

    # --- where things are

    def _pack_of(self, digest: str) -> str | None:
        # Also of what is known: whoever removes a pack takes its index away first, and may have died then.
        self._refresh()
        known = self._map
        place = known.where.get(digest)
        return None if place is None else known.pack(place)

    def _refresh(self, *, anew: bool = False) -> None:
        """Sees what packs there are, if that may have changed."""
        try:
            changed = os.stat(self._folder).st_mtime_ns  # noqa: PTH116
        except OSError:
            changed = 0
        listed = self._listed
        # Two changes within a tick of the clock look like one.
        if not anew and listed is not None and listed[0] == changed and not racy(*listed):
            return
        with self._guard:
            now = time.time_ns()
            try:
                names = {e.name[:-6] for e in os.scandir(self._folder) if e.name.endswith(".index")}
            except OSError:
                names = set()
            known = self._map
            if anew or not names.issuperset(known.names):
                known = _Map([], {})
            for name in sorted(names.difference(known.names)):
                data = self._index_of(name)
                if data is not None:
                    self._add(known, name, data)
            self._map, self._listed = known, (changed, now)

    def _add(self, known: _Map, name: str, index: bytes) -> None:
        names, where = known
        names.append(name)
        at = (len(names) - 1) << _START
        bad = self._bad.get(name, ())
        for raw, length in packs.rows(index):
            digest = raw.hex()
            if digest not in bad:
                where[digest] = at << _LENGTH | length
            at += length

    def _rows(self, name: str) -> list[tuple[bytes, int]]:
        """What the index of a pack says; nothing where there is none."""
        data = self._index_of(name)
        return [] if data is None else list(packs.rows(data))

    def _index_of(self, name: str) -> bytes | None:
        """The index of a pack; None when it is not what its name says."""
        with contextlib.suppress(OSError, ValueError):
            data = plainfile.read(self._path(name, "index"))
            if hash_bytes(data) == name:
                return data
        return None

    def _path(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"


def full(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The pieces in their order, a list for each pack."""
    group: list[Piece] = []
    total = 0
    for piece in pieces:
        group.append(piece)
        total += len(piece.content)
        if total >= packs.FULL:
            yield group
            group, total = [], 0
    if group:
        yield group


def pieces_of(folder: str, files: Iterable[tuple[tree.Entry, int]]) -> Iterator[Piece]:
    """Small files of a folder; those that are as they were at their `mtime_ns`. Raises `OSError`."""
    for entry, mtime_ns in files:
        fd = plainfile.opened(f"{folder}/{entry.path}")
        try:
            data = os.read(fd, entry.size + 1)
            now = os.fstat(fd).st_mtime_ns
        finally:
            os.close(fd)
        if now == mtime_ns and blake3(data).hexdigest() == entry.hash:
            yield Piece(entry.hash, data)


def _stretch(path: Path, start: int, length: int) -> bytes:
    """Bytes of a file; fewer where it ends."""
    fd = plainfile.opened(path)
    try:
        data = os.pread(fd, length, start)
        while len(data) < length and (more := os.pread(fd, length - len(data), start + len(data))):
            data += more
        return data
    finally:
        os.close(fd)
