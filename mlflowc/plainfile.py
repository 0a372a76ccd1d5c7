"""Reading what should be a file, and may have become anything.

Whoever opens a named pipe waits for a writer, for ever if none comes. Here only files are opened; anything
else is an error, at once. Imports little: quick answers need it.
"""

from __future__ import annotations

import errno
import os
import stat

_CHUNK = 1024 * 1024


def opened(path: str | os.PathLike[str]) -> int:
    """A descriptor to read a file by. Raises `OSError` where there is none, or something else."""
    try:
        # Without waiting for whoever might write into a pipe; of a file it says nothing.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        if e.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, "it is a socket, not a file", os.fspath(path)) from None
        raise
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, f"it is {kind(mode)}, not a file", os.fspath(path))


def read(path: str | os.PathLike[str]) -> bytes:
    """The content of a file. Raises `OSError` as `opened` does."""
    fd = opened(path)
    try:
        size = os.fstat(fd).st_size
        # One byte more than there should be: then there need not be another read to see the end. And not
        # much more: that has to be made room for, which takes longer than reading a small file.
        data = os.read(fd, size + 1 if size else _CHUNK)
        if len(data) == size:
            return data
        parts = [data]
        while part := os.read(fd, _CHUNK):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def kind(mode: int) -> str:
    """What something is that is neither a file nor a folder, by its `st_mode`."""
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"
