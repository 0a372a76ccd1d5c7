"""The canonical listing of a folder: what makes two folders the same.

A listing is text. Its first line is `mlpipe-tree 1`; then comes a line for each entry, sorted by path:

    f HASH SIZE "path"          a file
    x HASH SIZE "path"          a file with its exec bit (of the owner) set
    l "target" "path"           a symbolic link that stays within the folder
    l "target" HASH "path"      one that leads out of it: what it leads to counts too
    d "path"                    a folder with nothing in it

Paths are relative, POSIX, as JSON strings: those of inputs in Unicode's NFC, since checkouts of one commit
may differ in that; those of outputs as the command wrote them. The folder's hash is BLAKE3 of the listing.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple

from mlflowc.errors import Failure
from mlflowc.runtime.hashing import hash_bytes, hash_file, is_name
from mlflowc.runtime.walking import DROPPINGS, KINDS, Found, Walk, walk

_HEADER = "mlpipe-tree 1"
# What `json.dumps` does with a string, without all that it asks first.
_quoted = json.encoder.encode_basestring_ascii
# A string that JSON writes as it is.
_PLAIN = re.compile(r'"[ !#-\[\]-~]*"')
# A listing of nothing but files with such names.
_FILES = re.compile(_HEADER + r'\n(?:[fx] [0-9a-f]{64} [0-9]{1,18} "[ !#-\[\]-~]*+"\n)++')
# What no path has, with a slash before and behind it.
_WRONG = ("//", "/./", "/../")
# The same, and what stands behind each name of a walk.
_AS_THEY_ARE = bytes(c for c in range(0x20, 0x7F) if c not in b'"\\') + b"\0"


class Entry(NamedTuple):
    """A line of a listing: `kind` is `f x l d`. `target` is that of a link, `hash` and `size` a file's."""

    path: str
    kind: str
    hash: str = ""
    size: int = 0
    target: str = ""


class Summary:
    """What a listing says of contents: the hashes of its files in their order, and which links there are."""

    def __init__(
        self, digests: list[str], sizes: Callable[[], Iterable[int]], links: tuple[Entry, ...] = ()
    ) -> None:
        self.digests = digests
        self.links = links
        self._sizes = sizes

    @cached_property
    def files(self) -> dict[str, int]:
        """How many bytes each file has, by hash. Seldom asked for where there are many."""
        return dict(zip(self.digests, self._sizes(), strict=True))


def encode(entries: list[Entry]) -> bytes:
    """The listing. Raises `Failure` when two names are the same in NFC."""
    lines = [_HEADER]
    last = None
    for e in sorted(entries):
        if e.path == last:
            raise Failure(
                f"two files are both named `{e.path}` once their names are normalised (Unicode NFC)"
            )
        last = e.path
        path = _quoted(e.path)
        if e.kind in "fx":
            lines.append(f"{e.kind} {e.hash} {e.size} {path}")
        elif e.kind == "l":
            lines.append(" ".join(["l", _quoted(e.target), *([e.hash] if e.hash else []), path]))
        else:
            lines.append(f"d {path}")
    return ("\n".join(lines) + "\n").encode()


def line(kind: str, digest: bytes | bytearray, size: int, path: str) -> bytes:
    """The line of a file or an empty folder."""
    words = f"{kind} {digest.hex()} {size}" if kind in "fx" else kind
    return f"{words} {_quoted(path)}\n".encode()


def encode_walk(folder: str, walk: Walk, digests: bytes, *, exact: bool) -> bytes:
    """The listing of what a walk found, given the digests of all of it, one after the other: what `encode`
    says of `entries`. Raises `Failure` as that.
    """
    # What was found is in order, but normalised names may stand elsewhere, and those that are not UTF-8.
    try:
        names = walk.names.decode() if exact else walk.names.decode("ascii")
    except UnicodeDecodeError:
        return encode(entries(folder, walk, digests, exact=exact))
    plain = not walk.names.translate(None, _AS_THEY_ARE)
    quoted = [f'"{p}"' for p in names.split("\0")] if plain else list(map(_quoted, names.split("\0")))
    quoted.pop()
    kinds, sizes, hashes = walk.kinds(), walk.sizes(), digests.hex()
    each = zip(map(KINDS.__getitem__, kinds), range(0, len(hashes), 64), sizes, quoted, strict=True)
    if max(kinds, default=0) <= 1:
        lines = [f"{kind} {hashes[at : at + 64]} {size} {path}" for kind, at, size, path in each]
        return "\n".join([_HEADER, *lines, ""]).encode()
    lines, targets = [_HEADER], dict(walk.targets)
    for n, (kind, at, size, path) in enumerate(each):
        if kind in "fx":
            lines.append(f"{kind} {hashes[at : at + 64]} {size} {path}")
        elif kind == "l":
            target = os.fsdecode(targets[n])
            digest = link_hash(folder, json.loads(path), target)
            lines.append(" ".join(["l", _quoted(target), *([digest] if digest else []), path]))
        else:
            lines.append(f"d {path}")
    return "\n".join([*lines, ""]).encode()


def entries(folder: str, walk: Walk, digests: bytes, *, exact: bool) -> list[Entry]:
    """What a walk found as entries, in its order, given the digests of all of it, one after the other."""
    return [
        to_entry(folder, f, digests[32 * n : 32 * (n + 1)].hex() if f.kind in "fx" else "", exact=exact)
        for n, f in enumerate(walk.found())
    ]


def decode(data: bytes) -> list[Entry]:
    """The entries of a listing. Raises `ValueError` for anything that `encode` does not write."""
    text = data.decode()
    found = _plain(text)
    if found is not None:
        return [Entry(path, h[1], h[3:67], int(h[68:])) for h, path in zip(*found, strict=True)]
    lines = text.split("\n")
    if lines[0] != _HEADER or lines[-1] != "":
        raise ValueError("not a listing")
    entries = []
    for line in lines[1:-1]:
        kind, _, rest = line.partition(" ")
        if kind in ("f", "x"):
            digest, size, path = rest.split(" ", 2)
            name = path[1:-1] if _PLAIN.fullmatch(path) else json.loads(path)
            entries.append(Entry(name, kind, digest, int(size)))
        elif kind == "l":
            target, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end + 1 :]
            digest, _, path = ("", "", rest) if rest.startswith('"') else rest.partition(" ")
            entries.append(Entry(json.loads(path), kind, digest, 0, target))
        elif kind == "d":
            entries.append(Entry(json.loads(rest), kind))
        else:
            raise ValueError(f"an entry of kind {kind!r}")
    if any(not _safe(e.path) for e in entries):
        raise ValueError("a path leads out of the folder")
    if any(e.kind in "fx" and not is_name(e.hash) for e in entries):
        raise ValueError("a hash is none")
    return entries


def _plain(text: str) -> tuple[list[str], list[str]] | None:
    """What stands before each path (a line's end, `f HASH SIZE` and spaces), and the paths, if there are
    nothing but files with plain names that are safe. All are looked at at once: there may be a hundred
    thousand.
    """
    if not _FILES.fullmatch(text):
        return None
    parts = text.split('"')
    heads, paths = parts[:-1:2], parts[1::2]
    heads[0] = heads[0][len(_HEADER) :]
    joined = "/" + "/\n/".join(paths) + "/"
    return None if any(wrong in joined for wrong in _WRONG) else (heads, paths)


def summary(data: bytes) -> Summary:
    """Of a listing, without all of its entries. Raises `ValueError` as `decode` and `harmless` do."""
    found = _plain(data.decode())
    if found is not None and len({*found[1]}) == len(found[1]):
        heads = found[0]
        return Summary([h[3:67] for h in heads], lambda: [int(h[68:]) for h in heads])
    entries = harmless(decode(data))
    files = [e for e in entries if e.kind in "fx"]
    links = tuple(e for e in entries if e.kind == "l")
    return Summary([e.hash for e in files], lambda: [e.size for e in files], links)


def harmless(entries: list[Entry]) -> list[Entry]:
    """The entries, if none lies at or below a link: putting that back would write wherever the link leads.

    Raises `ValueError`.
    """
    if len({e.path for e in entries}) < len(entries):
        raise ValueError("has a path twice")
    links = {e.path for e in entries if e.kind == "l"}
    if not links:
        return entries
    for entry in entries:
        above = entry.path
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in links:
                raise ValueError("has a file below a link")
    return entries


def total_size(entries: list[Entry]) -> int:
    """Bytes of all files."""
    return sum(e.size for e in entries)


def link_hash(folder: str, path: str, target: str, depth: int = 0) -> str:
    """For a link at `path` in `folder` that leads out of it, the hash of what it leads to; else "".

    The link itself need not be there yet. One that leads nowhere, or round in circles, has the hash of its
    own words.
    """
    inside = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120
    if not target.startswith("/") and inside != ".." and not inside.startswith("../"):
        return ""
    real = os.path.realpath(os.path.join(folder, os.path.dirname(path), target))  # noqa: PTH118, PTH120
    try:
        if not os.path.isdir(real):  # noqa: PTH112
            return hash_file(real)
        if depth > 8:
            raise OSError("links within links")
        return hash_bytes(encode(scan(real, DROPPINGS, depth + 1)))
    except OSError:
        return hash_bytes(target.encode("utf-8", "surrogateescape"))


def scan(folder: str, ignore: frozenset[str] = frozenset(), depth: int = 0) -> list[Entry]:
    """The entries of a folder, hashed without any memory of earlier times. See `Checkout` for the quick
    way.
    """
    return [
        to_entry(folder, f, hash_file(os.path.join(folder, f.path)) if f.kind in "fx" else "", depth)  # noqa: PTH118
        for f in walk(folder, ignore)
    ]


def to_entry(folder: str, found: Found, digest: str, depth: int = 0, *, exact: bool = False) -> Entry:
    """What was found, as an entry; `digest` is the hash of a file's content. `exact`: its name as it is."""
    path = found.path if exact or found.path.isascii() else unicodedata.normalize("NFC", found.path)
    if found.kind == "l":
        return Entry(path, "l", link_hash(folder, found.path, found.target, depth), 0, found.target)
    return Entry(path, found.kind, digest, found.size)


def _safe(path: str) -> bool:
    parts = f"/{path}/"
    return "\0" not in path and not any(wrong in parts for wrong in _WRONG)
