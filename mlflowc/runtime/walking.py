"""What lies in a folder, by the looks of it: no content is read. Imports little: quick answers need it."""

from __future__ import annotations

import marshal
import os
import stat
from typing import NamedTuple

from blake3 import blake3

from mlflowc.errors import Failure

# Left out of folders that are *inputs*: droppings of interpreters, file managers and version control.
DROPPINGS = frozenset({"__pycache__", ".git", ".mlpipe", ".DS_Store", ".ipynb_checkpoints"})


class Found(NamedTuple):
    """Something found on disk in a folder: its relative path, its kind and what `lstat` says of it."""

    path: str
    kind: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    target: str = ""


def walk(folder: str, ignore: frozenset[str] = frozenset()) -> list[Found]:
    """Everything in a folder, sorted by path; folders only when empty. Raises `OSError`, and `Failure` for a
    socket, a pipe or a device. Names in `ignore` are left out wherever they occur."""
    found: list[Found] = []
    _walk(folder, "", ignore, found)
    found.sort()
    return found


def _walk(folder: str, prefix: str, ignore: frozenset[str], found: list[Found]) -> None:
    empty = True
    is_file, is_folder, add, made = stat.S_ISREG, stat.S_ISDIR, found.append, Found
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
                add(made(prefix + name, kind, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino))
            elif is_folder(mode):
                _walk(entry.path, f"{prefix}{name}/", ignore, found)
            elif stat.S_ISLNK(mode):
                target = os.readlink(entry.path)  # noqa: PTH115
                add(made(prefix + name, "l", 0, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, target))
            else:
                raise Failure(f"`{entry.path}` is neither a file, a folder nor a link")
    if empty and prefix:
        add(made(prefix[:-1], "d", 0, 0, 0, 0))


def walk_hash(found: list[Found]) -> str:
    """A hash of what `walk` found: the same while nothing in the folder changes."""
    # Version 2 of the format: later ones write equal values differently, by how often they are referred to.
    return blake3(marshal.dumps([tuple(f) for f in found], 2)).hexdigest()
