"""Who uses the cache, and who clears it up: never both at once.

Everything that reads results from the cache, or is about to name them in a record, holds `.mlpipe/gc.lock`
(of a shared cache, the `gc.lock` in its folder) together with all others that do. The collector holds it
alone. A process that is killed holds nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mlflowc.errors import Failure

_NAME = "gc.lock"
_PATIENCE = 5.0


@contextlib.contextmanager
def using(state: Path) -> Iterator[None]:
    """Nothing is collected meanwhile from the cache whose locks are in `state`; waits for a collector."""
    fd = _open(state)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def collecting(state: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Nobody uses the cache meanwhile. Raises `Failure` when somebody does for longer than `patience` s."""
    fd = _open(state)
    try:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Failure(
                        "the cache is in use by another mlpipec", help="try again when it has ended"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(fd)


def _open(state: Path) -> int:
    try:
        return os.open(state / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as e:
        where = "`.mlpipe`" if state.name == ".mlpipe" else f"the shared cache `{state}`"
        raise Failure(
            f"cannot write in {where}: {e.strerror}", help="check its permissions and the free space"
        ) from e
