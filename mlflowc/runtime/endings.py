"""What it means that a command ended as it did, in words."""

from __future__ import annotations

import os
import signal

from mlflowc.errors import Failure
from mlflowc.runtime.ports import Exit

PREEMPTED = 75
INTERRUPTED = "it was interrupted"


def failure(end: Exit, limit: int | None) -> Failure | None:
    """Why a command that ended like that failed; None when it did not. `limit` is its timeout, in seconds."""
    if end.cancelled:
        return Failure(INTERRUPTED)
    if end.timed_out:
        return Failure(
            f"it ran longer than its timeout of {limit} s, and was ended", help="`timeout` sets the limit"
        )
    if end.code < 0:
        try:
            name = signal.Signals(-end.code).name
        except ValueError:
            name = f"signal {-end.code}"
        help = "the system may have run out of memory" if name == "SIGKILL" else ""
        return Failure(f"it was killed by {name}", help=help)
    if end.code > 128 and end.code - 128 in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT):
        name = signal.Signals(end.code - 128).name
        help = "the system may have run out of memory" if name == "SIGKILL" else ""
        return Failure(f"its command was killed by {name} (exit code {end.code})", help=help)
    if end.code == PREEMPTED:
        return Failure(f"it was preempted (exit code {PREEMPTED})")
    if end.code == 128 + signal.SIGPIPE:
        return Failure(
            f"exit code {end.code}: what reads a pipe in its command stopped reading (SIGPIPE)",
            help="under `pipefail` that is a failure, as in `yes | head`; let the reader read to the end",
        )
    if end.code == 127:
        return Failure("exit code 127: a command was not found", help="is it in the stage's `env`?")
    return Failure(f"exit code {end.code}") if end.code else None


def disk(e: OSError) -> Failure:
    """A result could not be stored."""
    what = e.strerror or str(e)
    where = f" (`{os.path.relpath(e.filename)}`)" if isinstance(e.filename, str) else ""
    return Failure(
        f"its result could not be stored: {what}{where}",
        help="the project's `.mlpipe` must be writable and have space; earlier outputs are as they were",
    )
