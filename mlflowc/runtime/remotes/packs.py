"""Many small contents in one file.

A pack is the contents one after another, and is named by its hash. Its index is `mlpipe-pack 1`, a line
with the hash of the rest, and for each content its hash (32 bytes) and its length (4 bytes, little
endian), in the order of the pack. An index is only a guess where to look: what is found there counts if it
has the hash that was looked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

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


def encode_index(members: Iterable[Sized]) -> bytes:
    """The index of a pack that holds these in this order."""
    rows = b"".join(_ROW.pack(bytes.fromhex(m.digest), m.length) for m in members)
    return _HEADER + hash_bytes(rows).encode() + b"\n" + rows


def decode_index(data: bytes) -> list[Member]:
    """The members of a pack. Raises `ValueError` for anything that `encode_index` does not write."""
    members, at = [], 0
    for raw, length in rows(data):
        members.append(Member(raw.hex(), at, length))
        at += length
    return members


def rows(index: bytes) -> Iterator[tuple[bytes, int]]:
    """The hashes and lengths in an index. Raises `ValueError` as `decode_index`."""
    head, body = index[: len(_HEADER) + 65], index[len(_HEADER) + 65 :]
    if head != _HEADER + hash_bytes(body).encode() + b"\n" or len(body) % _ROW.size:
        raise ValueError("not the index of a pack")
    return _ROW.iter_unpack(body)


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


def spans(members: Sequence[Member]) -> list[Span]:
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
