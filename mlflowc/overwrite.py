"""Puts a file in place at once: whoever reads meanwhile has the old one or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path

from mlflowc.errors import Failure


def overwrite(path: Path, data: bytes) -> None:
    """Makes `path` hold `data`, with its folder if need be; a link stays a link, the mode stays.

    Raises `Failure` where that cannot be; then the file is as it was.
    """
    try:
        real = path.resolve()
        real.parent.mkdir(parents=True, exist_ok=True)
        temporary = real.with_name(f".mlpipec-{os.urandom(6).hex()}.tmp")
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if real.exists():
                temporary.chmod(real.stat().st_mode & 0o7777)
            temporary.replace(real)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as e:  # RuntimeError: links in a circle, up to Python 3.12
        reason = (e.strerror if isinstance(e, OSError) else None) or e
        raise Failure(f"cannot write `{path}`: {reason}", help="check permissions and free space") from e
