"""How many files of one folder look, asked of Linux without an object for each answer.

`os.stat` makes some twenty Python objects of each answer, which takes as long as the asking. Where it can be,
`statx` (whose answers look the same on all kinds of machines) is called through `ctypes` instead, for a whole
folder at a time; what counts is then copied out of all answers at once. Elsewhere, and where the two do not
agree, `os.stat` is asked.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

# Eight bytes each: what kind of file it is (with its mode), its inode and size, and seconds and nanoseconds
# of its ctime and mtime.
WORDS = 7
_WORD = (1 << 64) - 1

# Fewer are asked for one by one: making room for the answers costs, too.
_FEWEST = 24
_BATCH = 512
# What the kernel calls these, and where in its answer (in eight bytes) the words are, to be copied.
_HERE, _NO_FOLLOW, _BASIC = -100, 0x100, 0x7FF
_ANSWER = 32
_PLACES = (3, 4, 5, 12, 13, 14, 15)


class _Room(NamedTuple):
    """Room for the answers to one batch; `each` are its parts."""

    all: array[int]
    each: list[Any]


def looks(folder: bytes, names: Sequence[bytes]) -> array[int]:
    """What is in `folder` by these names, `WORDS` numbers each. Raises `OSError`."""
    ask = _statx() if len(names) >= _FEWEST else None
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = _asked(ask, fd, names) if ask is not None else None
        return _one_by_one(fd, names) if found is None else found
    except OSError as e:
        if e.filename in names:
            e.filename = os.path.join(folder, e.filename)  # noqa: PTH118
        raise
    finally:
        os.close(fd)


def _one_by_one(fd: int, names: Sequence[bytes]) -> array[int]:
    found = array("Q")
    for name in names:
        found.extend(_words(os.stat(name, dir_fd=fd, follow_symlinks=False)))
    return found


def _words(st: os.stat_result) -> tuple[int, ...]:
    changed, written = divmod(st.st_ctime_ns, 1_000_000_000), divmod(st.st_mtime_ns, 1_000_000_000)
    # As in the kernel's answer; times before 1970 are less than nothing.
    mode = st.st_mode << 32 | st.st_gid
    return (mode, st.st_ino, st.st_size, changed[0] & _WORD, changed[1], written[0] & _WORD, written[1])


def _asked(ask: Callable[..., int], fd: int, names: Sequence[bytes]) -> array[int] | None:
    """The same by `statx`; None when it fails for one of them: `os.stat` says why."""
    found = array("Q", bytes(8 * WORDS * len(names)))
    room = _free.pop() if _free else _make_room()
    try:
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            if any(map(ask, repeat(fd), batch, repeat(_NO_FOLLOW), repeat(_BASIC), room.each)):
                return None
            end = start + len(batch)
            for n, place in enumerate(_PLACES):
                found[WORDS * start + n : WORDS * end : WORDS] = room.all[
                    place : _ANSWER * len(batch) : _ANSWER
                ]
    finally:
        _free.append(room)
    return found


# Rooms that no thread uses just now.
_free: list[_Room] = []
_found: list[Callable[..., int] | None] = []


def _make_room() -> _Room:
    import ctypes  # only where there are folders of many files

    all_ = array("Q", bytes(8 * _ANSWER * _BATCH))
    part = ctypes.c_char * (8 * _ANSWER)
    return _Room(all_, [part.from_buffer(all_, 8 * _ANSWER * n) for n in range(_BATCH)])


def _statx() -> Callable[..., int] | None:
    """The function, if there is one that says the same as `os.stat`."""
    if not _found:
        _found.append(_tried())
    return _found[0]


def _tried() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        function = ctypes.CDLL(None).statx
        room = _make_room()
        for path in (b"/", os.fsencode(sys.executable)):
            if function(_HERE, path, _NO_FOLLOW, _BASIC, room.each[1]):
                return None
            answer = room.all[_ANSWER : 2 * _ANSWER]
            if tuple(answer[p] for p in _PLACES) != _words(os.stat(path, follow_symlinks=False)):  # noqa: PTH116
                return None
    except (ImportError, AttributeError, OSError):
        return None
    return function
