"""Files and folders of this machine, outside of the project or mounted from another (`file:`).

The version is the size and the time of the last change; of a folder, a digest of these over all in it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.walking import walk
from mlflowc.sources.port import Found, GoneError, Progress, Version

# Faults of the place that is written.
_HERE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Local:
    """`file:///srv/data.csv`, or `file:../data.csv`, from the project folder."""
    url = str(args["url"])
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise Failure(
            f"`{url}` names the machine `{parts.netloc}`",
            help="mount its folder and give the path, or use `ssh:`",
            code=2,
        )
    if not parts.path.strip("/"):
        raise Failure(f"`{url}` names no file", code=2)
    return Local(root / unquote(parts.path), url)


class Local:
    """See `Source`."""

    def __init__(self, path: Path, shown: str) -> None:
        self.shown = shown
        self._path = path

    def look(self, pinned: Version | None) -> Found:
        """See `Source`."""
        try:
            return self._look()
        except FileNotFoundError:
            raise GoneError(f"{self.shown}: nothing is there", help="is it mounted? has it moved?") from None
        except OSError as e:
            raise Failure(f"{self.shown} cannot be read: {e.strerror}", help="check its permissions") from e

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        found = self.look(version)
        self._demand(version, found.version)
        temporary = into.with_name(into.name + ".part")
        if temporary.is_dir():
            shutil.rmtree(temporary)
        try:
            if self._path.is_dir():
                shutil.copytree(self._path, temporary, symlinks=False)
            elif not LocalFileSystem().clone(self._path, _gone(temporary)):
                self._copy(temporary, found.size or 0, progress)
        except OSError as e:
            # It is begun anew the next time, and what came so far may have filled the disk.
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)
            said = _first(e) if isinstance(e, shutil.Error) else e.strerror
            if e.errno in _HERE or any(os.strerror(n) in str(said) for n in _HERE):
                raise Failure(
                    f"{self.shown} cannot be kept: {said}", help="the project's `.mlpipe` needs space for it"
                ) from e
            raise Failure(f"{self.shown} cannot be read: {said}", help="check its permissions") from e
        # What is written while it is copied is no version at all.
        self._demand(version, self.look(version).version)
        temporary.replace(into)
        return version or found.version

    def _look(self) -> Found:
        st = self._path.stat()
        if not self._path.is_dir():
            if not self._path.is_file():
                raise Failure(f"{self.shown} is neither a file nor a folder")
            return Found({"size": str(st.st_size), "modified": str(st.st_mtime_ns)}, st.st_size)
        found = walk(os.fspath(self._path))
        text = "\n".join(f"{f.kind} {f.size} {f.mtime_ns} {f.target} {f.path}" for f in found)
        digest = blake3(text.encode("utf-8", "surrogateescape")).hexdigest()
        return Found({"listing": digest[:32]}, sum(f.size for f in found if f.kind in "fx"))

    def _demand(self, version: Version, now: Version) -> None:
        if version and dict(version) != dict(now):
            raise GoneError(f"{self.shown} has another version now: it was written since")

    def _copy(self, into: Path, size: int, progress: Progress) -> None:
        done = 0
        with self._path.open("rb") as source, into.open("wb") as target:
            while chunk := source.read(1024 * 1024):
                target.write(chunk)
                done += len(chunk)
                progress(done, size)


def _gone(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


def _first(e: shutil.Error) -> str:
    found = e.args[0]
    return str(found[0][-1]) if isinstance(found, list) and found else str(e)
