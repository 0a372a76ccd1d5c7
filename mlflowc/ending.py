"""How a call of the program ends: what goes wrong becomes a message and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from mlflowc import __version__, terminal
from mlflowc.errors import Failure

_OF_THE_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG))

_Code = TypeVar("_Code", int, int | None)


def code_of(call: Callable[[], _Code]) -> _Code | int:
    """What `call` gives, once all that it wrote is out; or 1 a failure, 2 usage, 3 a bug, 130 interrupted."""
    try:
        code = call()
        sys.stdout.flush()
        return code
    except Failure as e:
        terminal.error(e.message, e.help)
        return e.code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away (`mlpipec graph | head`): nothing to say, and nobody to say it to.
        _drop_output()
        return 0
    except OSError as e:
        if e.errno in _OF_THE_DISK:
            return _disk_error(e)
        return _nowhere() or _internal_error()
    except Exception:
        return _internal_error()


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _disk_error(e: OSError) -> int:
    # What is in the buffer cannot be written at the end, either.
    _drop_output()
    where = f"`{e.filename}`" if e.filename else "the output"
    terminal.error(f"cannot write {where}: {e.strerror}")
    return 1


def _nowhere() -> int | None:
    """1 where the working folder is gone, and told about."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        terminal.error(
            "the folder that this was called in is gone",
            "`cd` to it again, where another one is at its place now",
        )
        return 1
    return None


def _internal_error() -> int:
    import tempfile  # for bugs alone
    import traceback

    text = f"mlpipec {__version__}\n{sys.argv!r}\n\n{traceback.format_exc()}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mlpipec-", suffix=".log", delete=False) as log:
            log.write(text)
        where = log.name
    except OSError:
        # Nowhere to write: then here.
        where = f"this:\n{text}"
    terminal.error(
        f"this is a bug in mlpipec: {sys.exc_info()[1]!r}",
        f"nothing you wrote should do this; please report it with {where}",
    )
    return 3
