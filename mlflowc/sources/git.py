"""`git(url, path, rev)`: a file or folder of another repository, at a commit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlflowc.ir.model import Value
from mlflowc.sources.mirror import Mirror
from mlflowc.sources.port import Found, Progress, Source, Version


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
    """See `mlflowc.sources.port.Opener`."""
    rev = args.get("rev")
    return GitSource(
        Mirror(str(args["url"]), root, env), str(args["path"]), None if rev is None else str(rev)
    )


class GitSource:
    """See `Source`. The version is the commit."""

    def __init__(self, mirror: Mirror, path: str, rev: str | None) -> None:
        self.shown = f"{path} in {mirror.shown}"
        self._mirror, self._path, self._rev = mirror, path.strip("/") or ".", rev

    def look(self, pinned: Version | None) -> Found:
        """See `Source`. Asks for the refs, and reads nothing."""
        return Found({"commit": self._mirror.resolve(self._rev)})

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        self._mirror.tree(version["commit"]).export(self._path, into, progress)
        return dict(version)
