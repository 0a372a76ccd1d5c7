"""What lies in a folder, by the looks of it: no content is read. Imports little: quick answers need it.

A folder may have a hundred thousand files: what is found is kept as a few long strings of bytes, which are
hashed and compared as wholes, and not as an object each.
"""

from __future__ import annotations

import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

from blake3 import blake3

from mlflowc.errors import Failure
from mlflowc.plainfile import kind as kind_of
from mlflowc.runtime import statx
from mlflowc.runtime.statx import WORDS

# Left out of folders that are *inputs*: droppings of interpreters, file managers and version control.
DROPPINGS = frozenset({"__pycache__", ".git", ".mlpipe", ".DS_Store", ".ipynb_checkpoints"})

# Of what each thing looks like: eight bytes for its kind, inode, size, and of its ctime and mtime seconds and
# nanoseconds.
LOOK = 8 * WORDS
KINDS = "fxld"
_EXECUTABLE, _LINK, _FOLDER, _OTHER = 1, 2, 3, 4
_KIND, _INODE, _SIZE, _CTIME, _MTIME = 0, 1, 2, 3, 5
_EMPTY = array("Q", [_FOLDER, *[0] * (WORDS - 1)])


class StrangeError(Failure):
    """There is something in a folder that is no content: a pipe, a socket, a device."""


class Found(NamedTuple):
    """Something found on disk in a folder: its relative path, its kind and what `lstat` says of it."""

    path: str
    kind: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    target: str = ""


class Walk(NamedTuple):
    """All that is in a folder, in the order of the paths; folders only when empty.

    `names` has the relative paths, each with a NUL behind it, and `looks` as many times `LOOK` bytes: see
    above. `targets` are those of the links, by their number. `hash` is that of all this: the same while
    nothing in the folder changes.
    """

    names: bytes
    looks: bytes
    targets: tuple[tuple[int, bytes], ...]
    hash: str

    def __len__(self) -> int:
        return len(self.looks) // LOOK

    def paths(self) -> list[bytes]:
        """The relative paths."""
        return self.names.split(b"\0")[:-1]

    def kinds(self) -> array[int]:
        """What each is: a place in `KINDS`. A file, one with its exec bit set, a link or an empty folder."""
        return array("Q", self.looks)[_KIND::WORDS]

    def sizes(self) -> array[int]:
        """Bytes of each; of a file, that is."""
        return array("Q", self.looks)[_SIZE::WORDS]

    def modified(self) -> list[int]:
        """The mtime of each, in nanoseconds."""
        words = array("q", self.looks)
        return [
            s * 1_000_000_000 + n
            for s, n in zip(words[_MTIME::WORDS], words[_MTIME + 1 :: WORDS], strict=True)
        ]

    def changed(self) -> int:
        """The latest ctime of all, in nanoseconds; 0 where there is none."""
        words = array("q", self.looks)
        seconds = words[_CTIME::WORDS]
        latest = max(seconds, default=0)
        parts = compress(words[_CTIME + 1 :: WORDS], map(latest.__eq__, seconds))
        return latest * 1_000_000_000 + max(parts, default=0)

    def mark(self) -> str:
        """A hash of the same without the ctimes, which change when a link is made to a file."""
        words = array("Q", self.looks)
        nothing = array("Q", bytes(len(words) // WORDS * 8))
        words[_CTIME::WORDS] = nothing
        words[_CTIME + 1 :: WORDS] = nothing
        return _hash(self.names, words.tobytes(), self.targets)

    def found(self) -> Iterator[Found]:
        """One by one."""
        words, targets = array("q", self.looks), dict(self.targets)
        for n, path in enumerate(self.paths()):
            kind, inode, size, changed, c, modified, m = words[WORDS * n : WORDS * (n + 1)]
            yield Found(
                os.fsdecode(path),
                KINDS[kind],
                size,
                modified * 1_000_000_000 + m,
                changed * 1_000_000_000 + c,
                inode,
                os.fsdecode(targets.get(n, b"")),
            )


def walk(folder: str, ignore: frozenset[str] = frozenset()) -> list[Found]:
    """Everything in a folder, sorted by path; folders only when empty. Raises `OSError`, and `Failure` for a
    socket, a pipe or a device. Names in `ignore` are left out wherever they occur."""
    return sorted(look_through(folder, ignore).found())


def look_through(folder: str, ignore: frozenset[str] = frozenset()) -> Walk:
    """The same as `walk`, all in one."""
    into = _Collected([], array("Q"), [])
    _walk(os.fsencode(folder), b"", frozenset(map(os.fsencode, ignore)), into)
    names, looks, targets = b"".join(into.names), into.looks.tobytes(), tuple(into.targets)
    return Walk(names, looks, targets, _hash(names, looks, targets))


# Walks of a moment ago, when they began and what they found, by folder and what was left out: a quick answer
# that was none leaves them to the planner of the same process, which would find the same. Who writes in the
# project clears them.
kept: dict[tuple[str, frozenset[str]], tuple[int, Walk]] = {}


class _Collected(NamedTuple):
    names: list[bytes]
    looks: array[int]
    targets: list[tuple[int, bytes]]


def _walk(folder: bytes, prefix: bytes, ignore: frozenset[bytes], into: _Collected) -> None:
    names = os.listdir(folder)  # noqa: PTH208
    if ignore and not ignore.isdisjoint(names):
        names = [n for n in names if n not in ignore]
    if not names:
        if prefix:
            into.names.append(prefix[:-1] + b"\0")
            into.looks.extend(_EMPTY)
        return
    names.sort()
    looks = statx.looks(folder, names)
    modes = looks[_KIND::WORDS]
    kinds = {mode: _kind(mode >> 32) for mode in set(modes)}
    looks[_KIND::WORDS] = array("Q", map(kinds.__getitem__, modes))
    if max(kinds.values()) <= _EXECUTABLE:
        _add(into, prefix, names, looks)
    else:
        _mixed(folder, prefix, ignore, into, names, looks)


def _kind(mode: int) -> int:
    if stat.S_ISREG(mode):
        return _EXECUTABLE if mode & 0o100 else 0
    if stat.S_ISLNK(mode):
        return _LINK
    return _FOLDER if stat.S_ISDIR(mode) else _OTHER


def _add(into: _Collected, prefix: bytes, names: list[bytes], looks: array[int]) -> None:
    if names:
        into.names.append(prefix + (b"\0" + prefix).join(names) + b"\0")
        into.looks.extend(looks)


def _mixed(
    folder: bytes,
    prefix: bytes,
    ignore: frozenset[bytes],
    into: _Collected,
    names: list[bytes],
    looks: array[int],
) -> None:
    """A folder in which there are not only files: these go in between, in the order of the paths."""
    files, of_files = [], array("Q")
    others: list[tuple[bytes, _Collected]] = []
    start = 0
    for n, kind in enumerate(looks[_KIND::WORDS]):
        if kind > _EXECUTABLE:
            others.append(_other(folder, prefix, ignore, names[n], looks[WORDS * n : WORDS * (n + 1)]))
            files += names[start:n]
            of_files += looks[WORDS * start : WORDS * n]
            start = n + 1
    files += names[start:]
    of_files += looks[WORDS * start :]
    start = 0
    for key, found in sorted(others, key=itemgetter(0)):
        end = bisect_left(files, key, start)
        _add(into, prefix, files[start:end], of_files[WORDS * start : WORDS * end])
        start = end
        before = len(into.looks) // WORDS
        into.names.extend(found.names)
        into.looks.extend(found.looks)
        into.targets.extend((before + n, target) for n, target in found.targets)
    _add(into, prefix, files[start:], of_files[WORDS * start :])


def _other(
    folder: bytes, prefix: bytes, ignore: frozenset[bytes], name: bytes, look: array[int]
) -> tuple[bytes, _Collected]:
    """A link, or what is in a folder; and the name by which it has its place among others."""
    found = _Collected([], array("Q"), [])
    if look[_KIND] == _FOLDER:
        _walk(folder + b"/" + name, prefix + name + b"/", ignore, found)
        # Paths in it begin with a slash behind its name, its own has none.
        return name if found.looks == _EMPTY and found.names == [
            prefix + name + b"\0"
        ] else name + b"/", found
    if look[_KIND] == _LINK:
        look[_SIZE] = 0
        found.targets.append((0, os.readlink(folder + b"/" + name)))  # noqa: PTH115
        _add(found, prefix, [name], look)
        return name, found
    path = os.fsdecode(folder + b"/" + name)
    raise StrangeError(f"`{path}` is {kind_of(os.lstat(path).st_mode)}, neither a file, a folder nor a link")


def _hash(names: bytes, looks: bytes, targets: tuple[tuple[int, bytes], ...]) -> str:
    # As many looks as there are NULs in the names: nothing can stand for something else.
    whole = blake3(names)
    whole.update(looks)
    whole.update(repr(targets).encode())
    return whole.hexdigest()
