"""A project in memory, for compiling without a disk."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mlflowc import resources
from mlflowc.resolve.loader import Unreadable


class MemoryLoader:
    """Files by path; folders are where files are. Answers what `mlflowc.resolve.loader.Loader` asks."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = dict(files)
        self._folders = {
            "/".join(path.split("/")[:n]) for path in files for n in range(1, path.count("/") + 1)
        } | {"", "."}

    def read(self, path: str) -> str | Unreadable:
        """The text of a file."""
        text = self._files.get(path)
        return Unreadable("there is no such file") if text is None else text

    def kind(self, path: str) -> str:
        """`file`, `dir` or `missing`."""
        path = path.rstrip("/")
        return "file" if path in self._files else "dir" if path in self._folders else "missing"

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The files that match; `**` crosses folders."""
        wanted = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
        wanted = wanted.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        return tuple(sorted(path for path in self._files if re.fullmatch(wanted, path)))

    def stdlib(self, name: str) -> str | None:
        """The standard library that ships."""
        return resources.stdlib(name)

    def stdlib_asset(self, name: str) -> bytes | None:
        """A file beside it."""
        return resources.stdlib_asset(name)

    def stdlib_names(self) -> tuple[str, ...]:
        """All files of the standard library, as `use` writes them."""
        return resources.stdlib_names()
