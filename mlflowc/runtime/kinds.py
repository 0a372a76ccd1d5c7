"""What stands at a path, in one letter. A module of its own: the quick way of a run imports little else."""

from __future__ import annotations

import os
import stat


def kind(path: str) -> str:
    """`d` a folder, `x` a file that may be started, `f` another file, `-` nothing or something else."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return "-"
    if stat.S_ISDIR(mode):
        return "d"
    if not stat.S_ISREG(mode):
        return "-"
    return "x" if mode & 0o111 else "f"
