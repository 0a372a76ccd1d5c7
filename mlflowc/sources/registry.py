"""`registry(url, path, rev)`: data that another repository has in DVC, or in git itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlflowc.ir.model import Value
from mlflowc.sources.dvctracked import registry
from mlflowc.sources.mirror import Mirror
from mlflowc.sources.port import Found, Progress, Source, Version


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
    """See `mlflowc.sources.port.Opener`."""
    rev = args.get("rev")
    mirror = Mirror(str(args["url"]), root, env)
    return RegistrySource(mirror, root, env, str(args["path"]), None if rev is None else str(rev))


class RegistrySource:
    """See `Source`. The version is the commit, and the MD5 where DVC has one for the whole."""

    def __init__(
        self, mirror: Mirror, root: Path, env: Mapping[str, str], path: str, rev: str | None
    ) -> None:
        self.shown = f"{path} in {mirror.shown}"
        self._mirror, self._root, self._env = mirror, root, env
        self._path, self._rev = path.strip("/") or ".", rev

    def look(self, pinned: Version | None) -> Found:
        """See `Source`. Asks for the refs, and reads nothing."""
        commit = self._mirror.resolve(self._rev)
        return Found(dict(pinned) if pinned and pinned.get("commit") == commit else {"commit": commit})

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        there = registry(self._mirror, version["commit"], self._root, self._env)
        md5 = there.write_path(self._path, into, progress)
        return {**version, **({"md5": md5} if md5 else {})}
