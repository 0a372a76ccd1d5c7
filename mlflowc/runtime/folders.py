"""The project's folders as the code search sees them: each listed once, files that stages write left out."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path

from mlflowc import plainfile
from mlflowc.runtime.kinds import kind
from mlflowc.runtime.walking import DROPPINGS


class Tree:
    """The project's folders, each listed once. Paths are POSIX, relative to the root; "" is the root."""

    def __init__(self, root: Path, produced: Iterable[str]) -> None:
        self.root = root.absolute()
        self._prefix = f"{self.root}/"  # joining `Path`s is slow, and done for each word of each command
        self._produced = frozenset(clean(p) for p in produced)
        self._listed: dict[str, dict[str, bool]] = {}
        self._extensions: dict[str, dict[str, list[str]]] = {}
        self._kinds: dict[str, str] = {}

    def entries(self, folder: str) -> dict[str, bool]:
        """Names in `folder` and whether each is a folder; empty where there is no such folder."""
        known = self._listed.get(folder)
        if known is None:
            known = {}
            if inside(folder):
                try:
                    with os.scandir(self.root / folder) as found:
                        known = {e.name: e.is_dir() for e in found}
                except OSError:
                    known = {}
            self._listed[folder] = known
        return known

    def listed(self) -> list[tuple[str, frozenset[str]]]:
        """Every folder that was looked into, with the names that were in it."""
        return [(folder, frozenset(names)) for folder, names in self._listed.items()]

    def extensions(self, folder: str) -> dict[str, list[str]]:
        """The compiled modules in `folder`: module name -> files."""
        known = self._extensions.get(folder)
        if known is None:
            known = {}
            for name, is_folder in self.entries(folder).items():
                if name.endswith((".so", ".pyd")) and not is_folder:
                    known.setdefault(name.partition(".")[0], []).append(name)
            self._extensions[folder] = known
        return known

    def is_file(self, path: str) -> bool:
        """Whether `path` is a file of the project that no stage writes."""
        if self.is_produced(path):
            return False
        folder, _, name = path.rpartition("/")
        if folder in self._listed:
            return self._listed[folder].get(name) is False
        # A word of a command may lie in a folder of many thousand files: do not list that for one of them.
        return self._kind(path) in "fx"

    def is_program(self, path: str) -> bool:
        """Whether `path` is a file that may be started."""
        return self._kind(path) == "x"

    def is_folder(self, path: str) -> bool:
        if not path:
            return True
        return self._kind(path) == "d"

    def asked(self) -> list[tuple[str, str]]:
        """Every path that was asked for by its name alone, with its kind (see `mlflowc.runtime.kinds`)."""
        return list(self._kinds.items())

    def _kind(self, path: str) -> str:
        known = self._kinds.get(path)
        if known is None:
            known = self._kinds[path] = kind(self._prefix + path) if inside(path) else "-"
        return known

    def below(self, folder: str) -> list[str]:
        """The files in `folder` and in the folders in it, hidden ones and what stages write left out."""
        found: list[str] = []
        for name, is_folder in sorted(self.entries(folder).items()):
            path = f"{folder}/{name}" if folder else name
            if name.startswith(".") or name in DROPPINGS or self.is_produced(path):
                continue
            found += self.below(path) if is_folder else [path]
        return found

    def is_produced(self, path: str) -> bool:
        return bool(self._produced) and below(path, self._produced)

    def relative(self, path: str) -> str:
        """A path, absolute perhaps, as seen from the root; one outside stays absolute or starts with `..`."""
        root = str(self.root)
        if path == root or path.startswith(root.rstrip("/") + "/"):
            path = path[len(root) :].lstrip("/")
        return clean(path)

    def read(self, path: str) -> bytes:
        """The file's bytes; an unreadable file has none (hashing it will say what is wrong)."""
        try:
            return plainfile.read(self.root / path)
        except OSError:
            return b""


def below(path: str, places: Iterable[str]) -> bool:
    """Whether `path` is one of `places` or in one of them."""
    known = places if isinstance(places, frozenset) else frozenset(places)
    while path:
        if path in known:
            return True
        path = path.rpartition("/")[0]
    return False


def clean(path: str) -> str:
    """The path without `.` and `..` where that can be; "" is the root."""
    path = posixpath.normpath(path) if path else ""
    return "" if path == "." else path


def inside(path: str) -> bool:
    """Whether a clean path is in the project."""
    return not (path == ".." or path.startswith(("../", "/")))
