"""Files on machines that are reached by SSH (`ssh://user@host/path`), through SFTP.

The version is the size and the time of the last change: no more than that is told.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime.remotes import ssh
from mlflowc.runtime.remotes.transport import AbsentError, RemoteError
from mlflowc.sources.port import Found, GoneError, Progress, Version
from mlflowc.sources.retry import again

_OPTIONS = ("key", "known_hosts")


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Ssh:
    """`ssh://user@host:port/srv/data.csv`; `/~/data.csv` is in the user's home."""
    url = str(args["url"])
    folder, name = posixpath.split(url.rstrip("/"))
    if not url.startswith("ssh://") or folder.count("/") < 2 or not name:
        raise Failure(f"`{url}` is not of the form ssh://user@host/folder/file", code=2)
    # A folder may be the root, or a home.
    return Ssh(ssh.connect(f"{folder}/.", root, _options(args)), name, url)


def _options(args: Mapping[str, Value]) -> dict[str, Value]:
    return {name: args[name] for name in _OPTIONS if name in args}


class Ssh:
    """See `Source`."""

    def __init__(self, transport: ssh.Ssh, name: str, shown: str) -> None:
        self.shown = shown
        self._transport = transport
        self._name = name

    def look(self, pinned: Version | None) -> Found:
        """See `Source`."""
        found = again(self.shown, self._looked)
        return Found({"size": str(found[0]), "modified": str(found[1])}, found[0])

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        part = into.with_name(into.name + ".part")
        if not version:
            part.unlink(missing_ok=True)

        def rest() -> Version:
            found = self.look(version)
            if version and dict(version) != dict(found.version):
                raise GoneError(f"{self.shown} has another version now: it was written since")
            at = part.stat().st_size if part.exists() else 0
            with part.open("ab") as file:
                for chunk in self._transport.read(self._name, at):
                    file.write(chunk)
                    at += len(chunk)
                    progress(at, found.size)
                file.flush()
                os.fsync(file.fileno())
            if at != found.size:
                raise RemoteError(f"only {at} of {found.size} bytes came", transient=True)
            return found.version

        try:
            known = again(self.shown, rest, lambda: part.stat().st_size if part.exists() else 0)
            if dict(self.look(None).version) != dict(known):
                part.unlink(missing_ok=True)
                raise GoneError(f"{self.shown} was written while it was read")
        finally:
            self._transport.close()
        part.replace(into)
        return known

    def _looked(self) -> tuple[int, int]:
        try:
            return self._transport.stat(self._name)
        except AbsentError:
            raise GoneError(
                f"{self.shown}: nothing is there", help="has it moved? what was fetched before stays pinned"
            ) from None
