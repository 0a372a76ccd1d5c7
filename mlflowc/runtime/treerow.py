"""What is remembered of a folder: how everything in it looked, and the content of each file then.

It is kept as a few long strings of bytes: a folder may have a hundred thousand files, and mostly one of them
changed. What did not change is not touched, the listing is made of the earlier one, and where few small files
changed it is not written down again: they are hashed again the next time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from blake3 import blake3

from mlflowc.runtime import tree
from mlflowc.runtime.walking import KINDS, LOOK, Walk

DIGEST = 32
_NONE = bytes(DIGEST)
_LENGTHS = struct.Struct("<8sQQQQ")
_MAGIC = b"folder 1"
# Up to so many files, of so many bytes, are rather hashed again than written down.
_FEW, _LITTLE = 64, 1024 * 1024
# So many records are compared at once.
_BLOCK = 256

Bytes: TypeAlias = "bytes | bytearray | memoryview"


class TreeRow(NamedTuple):
    """A folder as last seen: hash of the walk, of the listing, bytes of all files; the walk's names and
    looks, the `DIGEST` bytes of each one's content (zeros where it is no file), and the parts of the listing
    (none where it has to be made again). `worth` writing down: what is written says much less.
    """

    walk: str
    hash: str
    size: int
    names: bytes
    looks: Bytes
    digests: Bytes
    parts: tuple[Bytes, ...]
    worth: bool = True

    @property
    def listing(self) -> bytes:
        """The listing."""
        return b"".join(self.parts)

    def encode(self) -> bytes:
        """As it is kept in a file."""
        head = f"{self.walk} {self.hash} {self.size}".encode()
        listing = sum(map(len, self.parts))
        lengths = _LENGTHS.pack(_MAGIC, len(head), len(self.names), len(self.looks) // LOOK, listing)
        parts = (lengths, head, self.names, self.looks, self.digests, *self.parts)
        return b"".join((_hash(parts).digest(), *parts))


def decode(data: bytes) -> TreeRow:
    """What `encode` wrote. Raises `ValueError` for anything else."""
    view = memoryview(data)
    if _hash((view[DIGEST:],)).digest() != data[:DIGEST] or len(data) < DIGEST + _LENGTHS.size:
        raise ValueError("damaged")
    magic, *lengths = _LENGTHS.unpack_from(data, DIGEST)
    if magic != _MAGIC:
        raise ValueError("of another version")
    parts = []
    at = DIGEST + _LENGTHS.size
    for length in (lengths[0], lengths[1], lengths[2] * LOOK, lengths[2] * DIGEST, lengths[3]):
        parts.append(view[at : at + length])
        at += length
    head, names, looks, digests, listing = parts
    walk, digest, size = bytes(head).decode().split(" ")
    return TreeRow(walk, digest, int(size), bytes(names), looks, digests, (listing,) if listing else ())


def of_walk(
    folder: str,
    walk: Walk,
    known: TreeRow | None,
    hashed: Callable[[Sequence[tuple[bytes, int]]], Sequence[bytes]],
    *,
    exact: bool,
) -> TreeRow:
    """What there is to be known of `folder`, where a walk found that, given what was `known` of it.

    `hashed` gives the digests of files, by their paths and sizes: of those that do not look as they did.
    `exact`: names are listed as they are. Raises what `hashed` raises, and `Failure` as `tree.encode` does.
    """
    paths, kinds, sizes = walk.paths(), walk.kinds(), walk.sizes()
    same = known is not None and walk.names == known.names
    changed: Sequence[int]
    if known is None:
        digests, changed = bytearray(DIGEST * len(paths)), range(len(paths))
    elif same:
        digests, changed = bytearray(known.digests), list(differences(known.looks, walk.looks, LOOK))
    else:
        digests, changed = _moved(walk, paths, known)
    files = [n for n in changed if kinds[n] <= 1]
    found = hashed([(paths[n], sizes[n]) for n in files])
    if len(files) == len(paths):
        digests = bytearray(b"".join(found))
    else:
        for n in changed:
            digests[DIGEST * n : DIGEST * (n + 1)] = _NONE
        for n, digest in zip(files, found, strict=True):
            digests[DIGEST * n : DIGEST * (n + 1)] = digest
    parts: tuple[Bytes, ...]
    if known is not None and same and known.parts and not walk.targets and (exact or walk.names.isascii()):
        lines = [_line(KINDS[kinds[n]], digests, n, sizes[n], paths[n]) for n in changed]
        parts = tuple(_mended(known.listing, lines))
        few = len(changed) <= _FEW and sum(sizes[n] for n in files) <= _LITTLE
    else:
        parts, few = (tree.encode_walk(folder, walk, bytes(digests), exact=exact),), False
    listed = _hash(parts).hexdigest()
    return TreeRow(walk.hash, listed, sum(sizes), walk.names, walk.looks, digests, parts, not few)


def of_entries(digest: str, entries: Sequence[tree.Entry], walk: Walk) -> TreeRow | None:
    """What there is to be known of a folder that was just made of a listing; None when a walk through it
    found other names, kinds or sizes.
    """
    known = {os.fsencode(e.path): e for e in entries}
    parts = []
    paths, kinds, sizes = walk.paths(), walk.kinds(), walk.sizes()
    if len(known) != len(paths):
        return None
    for path, kind, size in zip(paths, kinds, sizes, strict=True):
        entry = known.get(path)
        if entry is None or (entry.kind, entry.size) != (KINDS[kind], size):
            return None
        parts.append(bytes.fromhex(entry.hash) if kind <= 1 else _NONE)
    # Its listing is made again when something in it changes.
    return TreeRow(walk.hash, digest, sum(sizes), walk.names, walk.looks, b"".join(parts), ())


def differences(one: Bytes, other: Bytes, width: int) -> Iterator[int]:
    """The numbers of the records, `width` bytes each, in which two strings of one length differ."""
    left, right = memoryview(one), memoryview(other)
    block = _BLOCK * width
    for at in range(0, len(left), block):
        # Comparing bytes is much quicker than comparing views, and the copies are small.
        if bytes(left[at : at + block]) != bytes(right[at : at + block]):
            for start in range(at, min(at + block, len(left)), width):
                if left[start : start + width] != right[start : start + width]:
                    yield start // width


def _moved(walk: Walk, paths: list[bytes], known: TreeRow) -> tuple[bytearray, list[int]]:
    """The digests of what looks as it did, wherever it stands now, and the numbers of everything else."""
    numbers = {name: n for n, name in enumerate(known.names.split(b"\0")[:-1])}
    parts: list[Bytes] = []
    changed: list[int] = []
    looks, before, digests = walk.looks, known.looks, known.digests
    for n, name in enumerate(paths):
        was = numbers.get(name)
        if was is not None and looks[LOOK * n : LOOK * n + LOOK] == before[LOOK * was : LOOK * was + LOOK]:
            parts.append(digests[DIGEST * was : DIGEST * was + DIGEST])
        else:
            parts.append(_NONE)
            changed.append(n)
    return bytearray(b"".join(parts)), changed


def _line(kind: str, digests: bytearray, n: int, size: int, path: bytes) -> bytes:
    return tree.line(kind, digests[DIGEST * n : DIGEST * (n + 1)], size, os.fsdecode(path))


def _mended(listing: bytes, lines: Sequence[bytes]) -> Iterator[Bytes]:
    """The parts of the listing with these lines in place of those of the same paths; all in one order."""
    view = memoryview(listing)
    done = 0
    for line in lines:
        # A path stands at the end of its line alone: quotes within one are written with a backslash before.
        name = line[line.index(b' "') :]
        found = listing.index(name, done)
        yield view[done : listing.rindex(b"\n", 0, found) + 1]
        yield line
        done = found + len(name)
    yield view[done:]


def _hash(parts: Sequence[Bytes]) -> blake3:
    whole = blake3()
    for part in parts:
        whole.update(part)
    return whole
