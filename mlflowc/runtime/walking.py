"""What lies in a folder, by the looks of it: no content is read. Imports little: quick answers need it."""

from __future__ import annotations

import marshal
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from blake3 import blake3

from mlflowc.errors import Failure
from mlflowc.plainfile import kind as kind_of

# Left out of folders that are *inputs*: droppings of interpreters, file managers and version control.
DROPPINGS = frozenset({"__pycache__", ".git", ".mlpipe", ".DS_Store", ".ipynb_checkpoints"})


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


_new = tuple.__new__
# The same as `Found`, plain: a tenth of a second less for each 100,000 files.
Plain: TypeAlias = tuple[str, str, int, int, int, int, str]


def walk(folder: str, ignore: frozenset[str] = frozenset()) -> list[Found]:
    """Everything in a folder, sorted by path; folders only when empty. Raises `OSError`, and `Failure` for a
    socket, a pipe or a device. Names in `ignore` are left out wherever they occur."""
    return named(walk_plain(folder, ignore))


def walk_plain(folder: str, ignore: frozenset[str] = frozenset()) -> list[Plain]:
    """The same without names for the fields."""
    found: list[Plain] = []
    _walk(folder, "", ignore, found)
    found.sort()
    return found


# Walks of a moment ago, when they began and what they found, by folder and what was left out: a quick answer
# that was none leaves them to the planner of the same process, which would find the same. Who writes in the
# project clears them.
kept: dict[tuple[str, frozenset[str]], tuple[int, list[Plain]]] = {}


def named(found: list[Plain]) -> list[Found]:
    """The same with names."""
    return [_new(Found, f) for f in found]


def _walk(folder: str, prefix: str, ignore: frozenset[str], found: list[Plain]) -> None:
    empty = True
    is_file, is_folder, add = stat.S_ISREG, stat.S_ISDIR, found.append
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name in ignore:
                continue
            empty = False
            st = entry.stat(follow_symlinks=False)
            mode = st.st_mode
            if is_file(mode):
                kind = "x" if mode & 0o100 else "f"
                add((prefix + name, kind, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, ""))
            elif is_folder(mode):
                _walk(entry.path, f"{prefix}{name}/", ignore, found)
            elif stat.S_ISLNK(mode):
                target = os.readlink(entry.path)  # noqa: PTH115
                add((prefix + name, "l", 0, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, target))
            else:
                raise StrangeError(f"`{entry.path}` is {kind_of(mode)}, neither a file, a folder nor a link")
    if empty and prefix:
        add((prefix[:-1], "d", 0, 0, 0, 0, ""))


def walk_hash(found: Sequence[Plain]) -> str:
    """A hash of what `walk` found: the same while nothing in the folder changes."""
    plain = [tuple(f) for f in found] if found and type(found[0]) is not tuple else list(found)
    # Version 2 of the format: later ones write equal values differently, by how often they are referred to.
    return blake3(marshal.dumps(plain, 2)).hexdigest()


def mark_hash(found: Sequence[Plain]) -> str:
    """The same without the ctimes, which change when a link is made to a file."""
    return walk_hash([(f[0], f[1], f[2], f[3], 0, f[5], f[6]) for f in found])
