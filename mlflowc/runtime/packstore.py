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
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mlflowc import plainfile
from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import Signature, StatIndex, racy
from mlflowc.runtime.ports import FileSystem
from mlflowc.runtime.remotes import packs
from mlflowc.runtime.remotes.packs import Index, Sized

# Larger contents are files of their own, which can be cloned or linked; and so are few at once.
LARGEST, FEWEST = 64 * 1024, 64

_TRIES = 3
# Where packs hold so many times what is asked for, asking for each is quicker than going through them.
_FEW = 20
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


class _Map:
    """What packs there are. It only grows: whoever has one may go on."""

    def __init__(self) -> None:
        self.packs: dict[str, Index] = {}
        self._names: list[str] = []
        self._where: dict[str, int] = {}

    def where(self, bad: Mapping[str, set[str]]) -> tuple[list[str], dict[str, int]]:
        """Names of packs, and the places of their contents by hash, but for those that are `bad`. To put all
        of them into one table takes a while, and is done when somebody asks.
        """
        for name, index in list(self.packs.items())[len(self._names) :]:
            pack = len(self._names) << _START
            parts = zip(index.starts, index.lengths, strict=False)
            places = zip(index.digests, [(pack | s) << _LENGTH | n for s, n in parts], strict=True)
            if wrong := bad.get(name):
                self._where.update(p for p in places if p[0] not in wrong)
            else:
                self._where.update(places)
            self._names.append(name)
        return self._names, self._where


class PackStore:
    """The packs of the cache in the folder `root`. Safe to use from several threads."""

    def __init__(self, root: Path, fs: FileSystem, index: StatIndex) -> None:
        self._folder = root / "packs"
        self._fs = fs
        self._index = index
        self._guard = threading.RLock()
        self._map = _Map()
        # Of packs that were found to be good: what they look like. And what is known to be bad in others.
        self._good: dict[str, Signature] = {}
        # What indexes looked like when they were read.
        self._read: dict[str, Signature] = {}
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
        wanted = set(digests)
        if len(wanted) * _FEW < sum(map(len, list(self._map.packs.values()))):
            return {d for d in wanted if self.has(d)}
        found: set[str] = set()
        sure = True
        for name, index in list(self._map.packs.items()):
            there = wanted.intersection(index.digests)
            if there and self._is_good(name):
                found |= there.difference(self._bad.get(name, ()))
            elif there:
                sure = False
        return found if sure else found.union(d for d in wanted - found if self.has(d))

    def size(self, digest: str) -> int | None:
        """How many bytes the content has; None when it is in no pack."""
        self._refresh()
        place = self._where()[1].get(digest)
        return None if place is None else place & ((1 << _LENGTH) - 1)

    def files(self, name: str) -> list[Path]:
        """The files of the pack with that name; none when there is none."""
        if self._listed is None or name not in self._map.packs:
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
        names, where = self._where()
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

    def whole(self, wanted: Collection[str]) -> list[tuple[str, Index]]:
        """Packs that hold nothing but what is wanted, each content in one of them at most."""
        self._refresh()
        left = set(wanted)
        found = []
        for name, index in list(self._map.packs.items()):
            if left.issuperset(index.digests):
                left.difference_update(index.digests)
                found.append((name, index))
        return found

    def body(self, name: str) -> bytes | None:
        """All contents of a pack; None when it is not as it should be.

        As with an object that has a file of its own, it is right while it looks as when it was known to be.
        """
        if not self._is_good(name) or self._bad.get(name):
            return None
        try:
            with os.fdopen(plainfile.opened(self._path(name, "pack")), "rb", buffering=0) as file:
                before = Signature.of(os.fstat(file.fileno()))
                data: bytes = file.readall()
                after = Signature.of(os.fstat(file.fileno()))
        except OSError:
            return None
        return data if before == after == self._good.get(name) else None

    # --- putting

    def put(self, pieces: Sequence[Piece]) -> str:
        """Adds a pack; returns its name. Raises `OSError`."""
        index = Index(packs.encode_index(Sized(p.digest, len(p.content)) for p in pieces))
        return self.put_whole(index, b"".join([p.content for p in pieces]))

    def put_whole(self, index: Index, body: bytes | memoryview) -> str:
        """Adds a pack, all of whose contents have just been found to be what `index` says; returns its name.

        Raises `OSError`.
        """
        name = hash_bytes(index.raw)
        self._fs.make_folder(self._folder)
        for kind in ("pack", "index"):
            # The one thing that a rename does not replace.
            if self._path(name, kind).is_dir():
                self._fs.remove(self._path(name, kind))
        self._fs.write(self._path(name, "pack"), body)
        now = Signature.of(os.stat(self._path(name, "pack")))  # noqa: PTH116
        self._fs.write(self._path(name, "index"), index.raw)
        self._index.remember_object(name, now, durable=False)
        with self._guard:
            self._bad.pop(name, None)
            self._good[name] = now
            if self._listed is None or name in self._map.packs:
                self._refresh(anew=True)
            elif (looks := self._looks(name)) is not None:
                self._map.packs[name], self._read[name] = index, looks
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
        for name, index in list(self._map.packs.items()):
            with contextlib.suppress(OSError):
                stats = [p.stat() for p in self.files(name)]
                lengths = dict(zip(index.digests, index.lengths, strict=True))
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
        whole = {p.name for n in list(self._map.packs) for p in self.files(n)}
        return sorted(p for p in self._folder.glob("*") if p.name not in whole)

    # --- how packs are

    def _is_good(self, name: str) -> bool:
        """Whether all of a pack is as it should be. If not, what is known of places is not what it was."""
        path = self._path(name, "pack")
        try:
            if self._looks(name) != self._read.get(name):
                self._refresh(anew=True)
                if name not in self._map.packs:
                    return False
            now = Signature.of(os.stat(path))  # noqa: PTH116
            if self._good.get(name) == now:
                return True
            if self._index.known_object(name) == now:
                self._good[name] = now
                return True
            bad = {piece.digest for piece, good in self._pieces(name) if not good}
        except (FileNotFoundError, IsADirectoryError):
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
        for digest, start, length in self._index_of(name) or ():
            content = body[start : start + length]
            yield Piece(digest, content), blake3(content).hexdigest() == digest

    # --- where things are

    def _pack_of(self, digest: str) -> str | None:
        # Also of what is known: whoever removes a pack takes its index away first, and may have died then.
        self._refresh()
        names, where = self._where()
        place = where.get(digest)
        return None if place is None else names[place >> (_START + _LENGTH)]

    def _where(self) -> tuple[list[str], dict[str, int]]:
        with self._guard:
            return self._map.where(self._bad)

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
            if anew or not names.issuperset(known.packs):
                known = _Map()
            for name in sorted(names.difference(known.packs)):
                looks = self._looks(name)
                index = self._index_of(name)
                if index is not None and looks is not None:
                    known.packs[name], self._read[name] = index, looks
            self._map, self._listed = known, (changed, now)

    def _looks(self, name: str) -> Signature | None:
        """What the index of a pack looks like now; None where there is none."""
        with contextlib.suppress(OSError):
            return Signature.of(os.stat(self._path(name, "index")))  # noqa: PTH116
        return None

    def _index_of(self, name: str) -> Index | None:
        """The index of a pack; None when it is not what its name says."""
        with contextlib.suppress(OSError, ValueError):
            data = plainfile.read(self._path(name, "index"))
            if hash_bytes(data) == name:
                return Index(data)
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


def takes(index: Index) -> bool:
    """Whether a pack as it is elsewhere may be one here."""
    return len(index) >= FEWEST and max(index.lengths) <= LARGEST and index.size <= 2 * packs.FULL


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
