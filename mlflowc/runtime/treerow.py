"""What is remembered of a folder: how everything in it looked, and the content of each file then.

It is kept as a few long strings of bytes: a folder may have a hundred thousand files, and mostly one of them
changed. What did not change is not touched, and the listing is made of the earlier one.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from blake3 import blake3

from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.walking import KINDS, LOOK, Walk

DIGEST = 32
_NONE = bytes(DIGEST)


class TreeRow(NamedTuple):
    """A folder as last seen: hash of the walk, of the listing, bytes of all files; the walk's names and
    looks, the `DIGEST` bytes of each one's content (zeros where it is no file), and the listing ("" where it
    has to be made again).
    """

    walk: str
    hash: str
    size: int
    names: bytes
    looks: bytes
    digests: bytes
    listing: bytes

    def encode(self) -> bytes:
        """As it is kept in a file."""
        data = marshal.dumps(tuple(self))
        return blake3(data).digest() + data


def decode(data: bytes) -> TreeRow:
    """What `encode` wrote. Raises `ValueError` for anything else."""
    body = memoryview(data)[DIGEST:]
    if blake3(body).digest() != data[:DIGEST]:
        raise ValueError("damaged")
    return TreeRow(*marshal.loads(body))


def of_walk(
    folder: str,
    walk: Walk,
    known: TreeRow | None,
    hashed: Callable[[Sequence[int]], Sequence[bytes]],
    *,
    exact: bool,
) -> TreeRow:
    """What there is to be known of `folder`, where a walk found that, given what was `known` of it.

    `hashed` gives the digests of files, by their numbers: of those that do not look as they did. `exact`:
    names are listed as they are. Raises what `hashed` raises, and `Failure` as `tree.encode` does.
    """
    same = known is not None and walk.names == known.names
    if known is None:
        digests, changed = bytearray(DIGEST * len(walk)), list(range(len(walk)))
    elif same:
        digests, changed = bytearray(known.digests), list(differences(known.looks, walk.looks, LOOK))
    else:
        digests, changed = _moved(walk, known)
    kinds = walk.kinds()
    files = [n for n in changed if kinds[n] <= 1]
    for n in changed:
        digests[DIGEST * n : DIGEST * (n + 1)] = _NONE
    for n, digest in zip(files, hashed(files), strict=True):
        digests[DIGEST * n : DIGEST * (n + 1)] = digest
    content = bytes(digests)
    if known is not None and same and known.listing and not walk.targets and (exact or walk.names.isascii()):
        listing = _mended(walk, content, known.listing, changed)
    else:
        listing = tree.encode_walk(folder, walk, content, exact=exact)
    return TreeRow(
        walk.hash, hash_bytes(listing), sum(walk.sizes()), walk.names, walk.looks, content, listing
    )


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
    return TreeRow(walk.hash, digest, sum(sizes), walk.names, walk.looks, b"".join(parts), b"")


def differences(one: bytes, other: bytes, width: int) -> Iterator[int]:
    """The numbers of the records, `width` bytes each, in which two strings of one length differ."""
    left, right = memoryview(one), memoryview(other)
    spans = [(0, len(one) // width)]
    while spans:
        start, end = spans.pop()
        if left[width * start : width * end] == right[width * start : width * end]:
            continue
        if end - start == 1:
            yield start
            continue
        middle = (start + end) // 2
        spans += [(middle, end), (start, middle)]


def _moved(walk: Walk, known: TreeRow) -> tuple[bytearray, list[int]]:
    """The digests of what looks as it did, wherever it stands now, and the numbers of everything else."""
    numbers = {name: n for n, name in enumerate(known.names.split(b"\0")[:-1])}
    parts: list[bytes] = []
    changed: list[int] = []
    looks, before, digests = walk.looks, known.looks, known.digests
    for n, name in enumerate(walk.paths()):
        was = numbers.get(name)
        if was is not None and looks[LOOK * n : LOOK * n + LOOK] == before[LOOK * was : LOOK * was + LOOK]:
            parts.append(digests[DIGEST * was : DIGEST * was + DIGEST])
        else:
            parts.append(_NONE)
            changed.append(n)
    return bytearray(b"".join(parts)), changed


def _mended(walk: Walk, digests: bytes, listing: bytes, changed: Sequence[int]) -> bytes:
    """The listing with other lines for these numbers. All names are listed as they are."""
    if not changed:
        return listing
    paths, kinds, sizes = walk.paths(), walk.kinds(), walk.sizes()
    parts: list[bytes] = []
    at = 0
    for n in changed:
        digest = digests[DIGEST * n : DIGEST * (n + 1)]
        line = tree.line(KINDS[kinds[n]], digest, sizes[n], os.fsdecode(paths[n]))
        # A path stands at the end of its line alone: quotes within one are written with a backslash before.
        name = line[line.index(b' "') :]
        end = listing.index(name, at) + len(name)
        parts += [listing[at : listing.rindex(b"\n", at - 1 if at else 0, end - len(name)) + 1], line]
        at = end
    parts.append(listing[at:])
    return b"".join(parts)
