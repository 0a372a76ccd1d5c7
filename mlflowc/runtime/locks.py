"""Locks between processes: one for each key and each output path, never a global one.

A lock is `flock` on a file in `.mlpipe/locks`. A stage takes all of its locks in one sorted order, so no two
can wait for each other. The command inherits them: when this process is killed and the command lives on,
another process waits for it instead of writing beside it. A normal end lets go explicitly, whoever inherited.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.ports import Clock


class Held:
    """Locks that are held; `descriptors` are to be inherited by the command."""

    def __init__(self, descriptors: tuple[int, ...], names: tuple[str, ...] = ()) -> None:
        self.descriptors = descriptors
        self._names = names

    def share(self, names: Iterable[str]) -> bool:
        """Lets other readers in at the locks of those names. False when a writer was quicker: then that lock
        is lost.
        """
        places = dict(zip(self._names, self.descriptors, strict=True))
        return all(_try(places[name], fcntl.LOCK_SH) for name in names)

    def release(self) -> None:
        """Lets go; fine to call twice."""
        for fd in self.descriptors:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)
        self.descriptors = ()


def acquire(
    folder: Path,
    exclusive: Iterable[str],
    shared: Iterable[str],
    clock: Clock,
    cancel: threading.Event,
    waiting: Callable[[str], None],
    keys: Path | None = None,
) -> Held | None:
    """Takes the locks of those names; None when `cancel` was set first.

    `waiting` is told once, when another process holds one of them. Those of keys are in the folder `keys`
    where that is given: a cache may be that of several checkouts. Raises `Failure` when locks cannot be made.
    """
    wanted = dict.fromkeys(shared, fcntl.LOCK_SH) | dict.fromkeys(exclusive, fcntl.LOCK_EX)
    held: list[int] = []
    told = False
    try:
        for name in sorted(wanted):
            fd = _open(keys if keys is not None and name.startswith("key ") else folder, name)
            held.append(fd)
            while not _try(fd, wanted[name]):
                if not told:
                    waiting(_holder(fd))
                    told = True
                if clock.wait(0.05, cancel):
                    Held(tuple(held)).release()
                    return None
            if wanted[name] == fcntl.LOCK_EX:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, str(os.getpid()).encode(), 0)
    except BaseException:
        Held(tuple(held)).release()
        raise
    return Held(tuple(held), tuple(sorted(wanted)))


def _open(folder: Path, name: str) -> int:
    path = folder / hash_bytes(name.encode("utf-8", "surrogateescape"))[:32]
    for attempt in (1, 2):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if attempt == 1:
                with contextlib.suppress(OSError):
                    folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise _failure(folder, e) from e
    raise _failure(folder, OSError(0, "it cannot be made"))


def _failure(folder: Path, e: OSError) -> Failure:
    return Failure(
        f"cannot lock `{name_of(folder)}`: {e.strerror}",
        help="a run needs to write in the project's `.mlpipe`; check its permissions and the free space",
    )


def name_of(folder: Path) -> str:
    """`.mlpipe/…`: as people know it."""
    return "/".join(folder.parts[-2:])


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> str:
    with contextlib.suppress(OSError):
        pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        if pid.isdigit():
            return f"process {pid}"
    return "another process"
