"""The listings of folders in the cache (`mlflowc.runtime.tree`), under `trees/ab/cdef…`.

A listing carries its own hash in its name: one that is damaged, or that makes no sense, is dropped.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mlflowc import plainfile
from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes, is_name
from mlflowc.runtime.ports import FileSystem

T = TypeVar("T")


class Listings:
    """Those of the cache in the folder `root`. Safe to use from several threads."""

    def __init__(self, root: Path, fs: FileSystem) -> None:
        self._root = root
        self._fs = fs
        self._summaries: dict[str, tree.Summary] = {}

    def text(self, digest: str) -> bytes | None:
        """A listing as it is written; None when it is not there or damaged (and then dropped)."""
        if not is_name(digest):
            return None
        try:
            data = plainfile.read(self._path(digest))
        except OSError as e:
            # What is no file would be in the way of what belongs there.
            if e.errno in (errno.EISDIR, errno.EINVAL):
                self._drop(digest)
            return None
        if hash_bytes(data) == digest:
            return data
        self._drop(digest)
        return None

    def entries(self, digest: str) -> list[tree.Entry] | None:
        """The entries of a listing; None when it is not there or no good (and then dropped)."""
        return self._parsed(digest, tree.decode)

    def summary(self, digest: str) -> tree.Summary | None:
        """As `entries`, but only what it says of contents: several times as quick where files are many."""
        known = self._summaries.get(digest)
        if known is not None and self.text(digest) is not None:
            return known
        found = self._parsed(digest, tree.summary)
        if found is not None:
            # The same one is asked for several times in a row; more than one are not kept.
            self._summaries = {digest: found}
        return found

    def put(self, data: bytes) -> str:
        """Adds a listing; returns its hash. The objects it names must be there already. Raises `OSError`."""
        digest = hash_bytes(data)
        if self.text(digest) is None:
            self._fs.make_folder(self._path(digest).parent)
            self._fs.write(self._path(digest), data)
        return digest

    def _parsed(self, digest: str, parse: Callable[[bytes], T]) -> T | None:
        data = self.text(digest)
        if data is None:
            return None
        try:
            return parse(data)
        except ValueError:
            self._drop(digest)
            return None

    def _drop(self, digest: str) -> None:
        with contextlib.suppress(OSError):
            self._fs.remove(self._path(digest))

    def _path(self, digest: str) -> Path:
        return Path(f"{self._root}/trees/{digest[:2]}/{digest[2:]}")
