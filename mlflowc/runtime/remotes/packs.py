"""Many small contents in one file.

A pack is the contents one after another, and is named by its hash. Its index is `mlpipe-pack 1`, a line
with the hash of the rest, and for each content its hash (32 bytes) and its length (4 bytes, little
endian), in the order of the pack. An index is only a guess where to look: what is found there counts if it
has the hash that was looked for.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

from blake3 import blake3

from mlflowc.runtime.hashing import hash_bytes

# Bytes in a pack: so many that requests do not count, so few that packs go in parallel, and quickly again.
FULL = 8 * 1024 * 1024
_HEADER = b"mlpipe-pack 1\n"
_ROW = struct.Struct("<32sI")
# Bytes of an index: of all of it, and more for each content.
HEAD, LINE = len(_HEADER) + 65, _ROW.size
# Bytes between two wanted contents that are read rather than asked around.
_GAP = 128 * 1024


class Member(NamedTuple):
    """A content's hash and its place in a pack, in bytes."""

    digest: str
    start: int
    length: int


class Span(NamedTuple):
    """A stretch of a pack to be read in one request, and the members in it."""

    start: int
    length: int
    members: tuple[Member, ...]


class Sized(NamedTuple):
    """A content and its length in bytes."""

    digest: str
    length: int


class Index:
    """What a pack holds, in its order. `raw` is the index as it is written.

    What it says is unpacked when it is asked for, all at once: there may be a hundred thousand rows.
    """

    def __init__(self, raw: bytes) -> None:
        """Raises `ValueError` for anything that `encode_index` does not write."""
        body = memoryview(raw)[HEAD:]
        head = _HEADER + hash_bytes(body).encode() + b"\n"
        if raw[:HEAD] != head or len(body) % LINE:
            raise ValueError("not the index of a pack")
        self.raw = raw

    @cached_property
    def digests(self) -> list[str]:
        """The hashes of its contents."""
        text, row = self.raw[HEAD:].hex(), 2 * LINE
        return [text[at : at + 64] for at in range(0, len(text), row)]

    @cached_property
    def lengths(self) -> list[int]:
        """How many bytes each content has."""
        words = array("I")
        words.frombytes(self.raw[HEAD:])
        if sys.byteorder == "big":
            words.byteswap()
        return words[8::9].tolist()

    @cached_property
    def starts(self) -> list[int]:
        """Where each content begins; and at last, where the pack ends."""
        return list(accumulate(self.lengths, initial=0))

    @property
    def size(self) -> int:
        """The bytes of all contents."""
        return self.starts[-1]

    def __len__(self) -> int:
        return (len(self.raw) - HEAD) // LINE

    def __iter__(self) -> Iterator[Member]:
        return map(Member, self.digests, self.starts, self.lengths)

    def is_of(self, body: bytes | memoryview) -> bool:
        """Whether a pack's bytes are all what this says."""
        view, starts = memoryview(body), self.starts
        if len(view) != starts[-1]:
            return False
        found = [blake3(view[s:e]).digest() for s, e in pairwise(starts)]
        return b"".join(found) == bytes.fromhex("".join(self.digests))


def encode_index(members: Iterable[Sized]) -> bytes:
    """The index of a pack that holds these in this order."""
    rows = b"".join(_ROW.pack(bytes.fromhex(m.digest), m.length) for m in members)
    return _HEADER + hash_bytes(rows).encode() + b"\n" + rows


def groups(contents: Iterable[Sized]) -> Iterator[list[Sized]]:
    """The contents in the order given, a list for each pack."""
    group: list[Sized] = []
    total = 0
    for content in contents:
        if group and total + content.length > FULL:
            yield group
            group, total = [], 0
        group.append(content)
        total += content.length
    if group:
        yield group


def spans(members: Iterable[Member]) -> list[Span]:
    """What to read of one pack to get these: neighbours in one request, none larger than a full pack."""
    found: list[Span] = []
    run: list[Member] = []
    for member in sorted(members, key=lambda m: (m.start, m.length)):
        end = run[-1].start + run[-1].length if run else 0
        if run and (member.start - end > _GAP or member.start + member.length - run[0].start > FULL):
            found.append(_span(run))
            run = []
        run.append(member)
    if run:
        found.append(_span(run))
    return found


def _span(run: list[Member]) -> Span:
    start = run[0].start
    return Span(start, run[-1].start + run[-1].length - start, tuple(run))
