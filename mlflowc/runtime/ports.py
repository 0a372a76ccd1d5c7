"""The doors to the outside world, so that tests can put another world behind them.

`FileSystem` holds the operations that change files; reading is done in place. `Clock` tells the time and
waits. `CommandRunner` runs one command of a stage; the real one is `mlflowc.runtime.process`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mlflowc.frozen import dataclass

_FICLONE = 0x40049409
_NO_CLONE = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM}


class FileSystem(Protocol):
    """Changes to files. All raise `OSError`; paths are absolute."""

    def make_folder(self, path: Path) -> None: ...
    def write(self, path: Path, data: bytes | memoryview, *, sync: bool = False) -> None: ...
    def create(self, path: str, data: bytes | memoryview, mode: int) -> os.stat_result: ...
    def rename(self, source: Path, target: Path) -> None: ...
    def link(self, source: Path, target: Path) -> None: ...
    def clone(self, source: Path, target: Path) -> bool: ...
    def copy(self, source: Path, target: Path) -> None: ...
    def chmod(self, path: Path, mode: int) -> None: ...
    def symlink(self, target: str, path: Path) -> None: ...
    def remove(self, path: Path) -> None: ...
    def sync(self, path: Path) -> None: ...


class LocalFileSystem:
    """The real thing."""

    def __init__(self) -> None:
        self._can_clone = sys.platform.startswith("linux")

    def make_folder(self, path: Path) -> None:
        """Makes the folder and those above it; fine when it exists."""
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 - pathlib's is several times slower

    def write(self, path: Path, data: bytes | memoryview, *, sync: bool = False) -> None:
        """Replaces `path` by `data`, all or nothing: temporary file beside it, then rename."""
        temporary = f"{path}.{os.urandom(8).hex()}.tmp"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise

    def create(self, path: str, data: bytes | memoryview, mode: int) -> os.stat_result:
        """A new file with that content, and what it looks like. Not all or nothing: whoever is killed here
        leaves a part. Quicker than `write`, for many small files whose readers check what they find.

        Raises `FileExistsError` when something is there.
        """
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            return os.fstat(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108
            raise
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Atomic; replaces a file at `target`."""
        os.replace(source, target)  # noqa: PTH105

    def link(self, source: Path, target: Path) -> None:
        """A second name for the same file."""
        os.link(source, target)

    def clone(self, source: Path, target: Path) -> bool:
        """Copies by sharing blocks. False, leaving nothing, where the file system cannot."""
        if not self._can_clone:
            return False
        import fcntl

        try:
            with open(source, "rb") as a, open(target, "xb") as b:
                fcntl.ioctl(b.fileno(), _FICLONE, a.fileno())
        except OSError as e:
            if e.errno == errno.EEXIST:
                raise
            with contextlib.suppress(OSError):
                os.unlink(target)  # noqa: PTH108
            if e.errno not in _NO_CLONE:
                raise
            self._can_clone = False
            return False
        return True

    def copy(self, source: Path, target: Path) -> None:
        """Copies the content; a half-written copy is removed."""
        try:
            shutil.copyfile(source, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(target)  # noqa: PTH108
            raise

    def chmod(self, path: Path, mode: int) -> None:
        """Sets the permission bits."""
        os.chmod(path, mode)  # noqa: PTH101

    def symlink(self, target: str, path: Path) -> None:
        """A symbolic link at `path` that says `target`."""
        os.symlink(target, path)  # noqa: PTH211

    def remove(self, path: Path) -> None:
        """Removes a file, a link or a whole folder; fine when there is none."""
        try:
            os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            if not path.is_dir() or path.is_symlink():
                raise
            try:
                shutil.rmtree(path)
            except PermissionError:
                _open_up(path)
                shutil.rmtree(path)

    def sync(self, path: Path) -> None:
        """Makes a file's content, or a folder's names, survive a power cut."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def flush_disk(folder: Path) -> bool:
    """Flushes the whole file system that a folder is on in one call; False where there is none for it."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # only where there is something to flush

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        return False
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return bool(syncfs(fd) == 0)
    finally:
        os.close(fd)


def _open_up(folder: Path) -> None:
    """Lets whoever owns a folder and those in it change them: a command may have forbidden that."""
    folder.chmod(0o700)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _open_up(Path(entry.path))


class Clock(Protocol):
    """Time, and waiting."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def wait(self, seconds: float, until: threading.Event) -> bool: ...


class SystemClock:
    """The real thing."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def wait(self, seconds: float, until: threading.Event) -> bool:
        """Waits, at most until `until` is set; says whether it was."""
        return until.wait(seconds)


@dataclass(frozen=True, slots=True)
class Container:
    """What a command runs in: `image` by digest, `mounts` folders of the host at the same paths, `options`
    of `tool run`, where `tool` is the path of podman or of docker.
    """

    tool: str
    podman: bool
    image: str
    mounts: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A script for `bash -euo pipefail` in the folder `cwd`, with exactly the variables of `env` (in a
    `container`: and those of the image).

    `timeout` is in seconds. `inherit` are descriptors that the command keeps open (its locks). `wrap` is a
    program with arguments that starts bash (a tracer). `confine` is called in a thread of its own that then
    starts the command: what that thread gives up, the command does not have. Once it is being ended, `hurry`
    ends it at once.
    """

    script: str
    cwd: Path
    env: Mapping[str, str]
    timeout: float | None = None
    inherit: tuple[int, ...] = ()
    wrap: tuple[str, ...] = ()
    confine: Callable[[], None] | None = None
    hurry: threading.Event | None = None
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended: `code` is its exit code, or minus the number of the signal that killed it."""

    code: int
    timed_out: bool = False
    cancelled: bool = False


class CommandRunner(Protocol):
    """Runs a command, hands its output (stdout and stderr, as they come) to `sink`, ends it on `cancel`."""

    def run(self, command: Command, sink: Callable[[bytes], None], cancel: threading.Event) -> Exit: ...
