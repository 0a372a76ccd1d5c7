"""`url("https:|http:|s3:|gs:|az:|ssh:|file:…")`: one file (or, of `file:`, a folder) by its address."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.ir.model import Value
from mlflowc.sources.port import Found, Opener, Progress, Source, Version

# Scheme -> the module with a function `open`. Each needs a client of its own.
_SCHEMES: Mapping[str, str] = {
    "https": "http",
    "http": "http",
    "s3": "bucket",
    "gs": "bucket",
    "az": "bucket",
    "ssh": "ssh",
    "file": "folder",
}


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
    """See `mlflowc.sources.port.Opener`."""
    url = str(args["url"])
    scheme = url.partition(":")[0].lower()
    if scheme not in _SCHEMES or ":" not in url:
        raise Failure(f"nothing here fetches from `{url.partition('?')[0]}`", help=feeds.BEGINNINGS, code=2)
    opener: Opener = importlib.import_module(f"mlflowc.sources.{_SCHEMES[scheme]}").open
    source = opener(args, root, env)
    wanted = args.get("sha256")
    if wanted is None:
        return source
    if not re.fullmatch(r"[0-9a-fA-F]{64}", str(wanted)):
        raise Failure("`sha256` is 64 hexadecimal digits", code=2)
    return Known(source, str(wanted).lower())


class Known:
    """A source whose content is known by its SHA-256 hash."""

    def __init__(self, source: Source, sha256: str) -> None:
        self.shown = source.shown
        self._source = source
        self._sha256 = sha256

    def look(self, pinned: Version | None) -> Found:
        """See `Source`."""
        return self._source.look(pinned)

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        known = self._source.fetch(version, into, progress)
        if not into.is_file():
            raise Failure(f"{self.shown} is a folder, and `sha256` is that of a file")
        with into.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self._sha256:
            raise Failure(
                f"{self.shown} is not what `sha256` says: its hash is {found}",
                help="somebody changed the file, or what came between; correct `sha256` only if you know why",
            )
        return known
