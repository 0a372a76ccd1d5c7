"""A folder: on this machine, or mounted from another (NFS, SMB)."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime.remotes.transport import CHUNK, AbsentError, Found, RemoteError

_LEFT = ".part-"  # begins the names of files that are being written
_counter = itertools.count()
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
# Errors that a network file system gives while it is away.
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR}


def connect(address: str, root: Path, options: Mapping[str, Value]) -> Folder:
    """`file:///srv/cache`, `/srv/cache`, `../cache` (from the project's folder) or `~/cache`."""
    if options:
        names = ", ".join(f"`{o}`" for o in options)
        raise Failure(f"a remote in a folder has no options, and there is {names}", code=2)
    path = address
    if address.startswith("file://"):
        parts = urlsplit(address)
        if parts.netloc not in ("", "localhost"):
            raise Failure(
                f"`{address}` names the machine `{parts.netloc}`",
                help="mount its folder and give the path, or use `ssh://`",
                code=2,
            )
        path = unquote(parts.path)
    return Folder(root / Path(path).expanduser(), address)


class Folder:
    """See `Transport`. Files are written beside their place and renamed."""

    width = 8
    writable = True

    def __init__(self, root: Path, shown: str) -> None:
        self.shown = shown
        self._root = root
        self._made: set[Path] = set()

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Transport`."""
        try:
            with os.fdopen(plainfile.opened(self._root / name), "rb") as file:
                file.seek(start)
                left = length
                while left is None or left > 0:
                    chunk = file.read(CHUNK if left is None else min(CHUNK, left))
                    if not chunk:
                        return
                    if left is not None:
                        left -= len(chunk)
                    yield chunk
        except FileNotFoundError:
            raise AbsentError(name) from None
        except OSError as e:
            raise self._error("read", e) from e

    def size(self, name: str) -> int | None:
        """See `Transport`."""
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as e:
            raise self._error("read", e) from e

    def write(self, name: str, content: bytes | Path, *, fresh: bool = False) -> bool:
        """See `Transport`."""
        path = self._root / name
        if fresh and path.exists():
            return False
        temporary = path.with_name(f"{_LEFT}{os.getpid()}-{threading.get_ident()}-{next(_counter)}")
        try:
            if path.parent not in self._made:
                self._reachable()
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(path.parent)
            try:
                if isinstance(content, bytes):
                    temporary.write_bytes(content)
                else:
                    shutil.copyfile(content, temporary)
                return self._finish(temporary, path, fresh)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
        except OSError as e:
            self._made.discard(path.parent)
            raise self._error("write", e) from e

    def names(self, prefix: str) -> Iterator[Found]:
        """See `Transport`."""
        try:
            yield from self._walk(self._root / prefix)
        except OSError as e:
            raise self._error("read", e) from e

    def remove(self, name: str) -> None:
        """See `Transport`."""
        try:
            (self._root / name).unlink(missing_ok=True)
        except OSError as e:
            raise self._error("remove from", e) from e

    def close(self) -> None:
        """Nothing is open."""

    def _finish(self, temporary: Path, path: Path, fresh: bool) -> bool:
        if not fresh:
            temporary.replace(path)
            return True
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as e:
            if e.errno not in _NO_LINKS:
                raise
            # No links here: two writers at the same moment would both think that they were first.
            temporary.replace(path)
        return True

    def _walk(self, folder: Path) -> Iterator[Found]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(_LEFT):
                with contextlib.suppress(FileNotFoundError):
                    st = entry.stat(follow_symlinks=False)
                    name = Path(entry.path).relative_to(self._root).as_posix()
                    yield Found(name, st.st_size, st.st_mtime)

    def _reachable(self) -> None:
        """A folder that is to be made lies in one that is there: a mount that is gone is not filled up."""
        if not self._root.exists() and not self._root.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root.parent))

    def _error(self, what: str, e: OSError) -> RemoteError:
        help = "check that it is mounted, its permissions and its free space"
        text = f"cannot {what} the remote `{self.shown}`: {e.strerror or e}"
        return RemoteError(text, transient=e.errno in _PASSING, help=help)
