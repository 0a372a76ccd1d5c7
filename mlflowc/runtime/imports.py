"""Follows a Python program's imports through the project's files."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import TypeAlias, cast

from mlflowc.runtime.folders import Tree, clean, inside

Facts: TypeAlias = list[list[object]]
# "<what was read>:<content hash>" -> facts. Plain JSON values, to be kept between runs.
FactCache: TypeAlias = MutableMapping[str, Facts]

NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_NOT_CODE = frozenset(
    [
        ".git",
        ".hg",
        ".mlpipe",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        "node_modules",
        "__pycache__",
        "site-packages",
    ]
)


class Program:
    """The modules of one Python process, which share one search path."""

    def __init__(
        self,
        tree: Tree,
        *,
        paths: tuple[str, ...],
        places: tuple[str, ...],
        folder: str,
        may_count: Callable[[str], bool],
        facts: Callable[[str, str], Facts],
    ) -> None:
        """`paths` start the search path, `places` end it; `folder` is the working folder. `facts` gives
        what a file (path, kind) brings in."""
        self.tree, self.paths, self.places, self.folder = tree, paths, places, folder
        self._may_count, self._facts = may_count, facts
        self.before: list[str] = []
        self.after: list[str] = []
        self.files: set[str] = set()
        self.commands: set[str] = set()  # what its modules start through a shell
        self.scripts: set[str] = set()  # and by path
        self._todo: list[str] = []

    def start(self, kind: str, what: str) -> None:
        """Follows imports until the files and the search path stay as they are."""
        while True:
            path = (tuple(self.before), tuple(self.after))
            self.files, self.commands, self.scripts = set(), set(), set()
            if kind == "script":
                self._add(what)
            elif kind == "text":
                from mlflowc.runtime import pyimports

                self._apply(pyimports.facts(what.encode("utf-8", "replace")), None)
            else:
                self._apply([[kind, what]], None)
            while self._todo:
                name = self._todo.pop()
                # A script may be called anything; beside it only modules are Python, not `.so` files.
                if name.endswith((".py", ".pyw", ".ipynb")) or (kind == "script" and name == what):
                    notebook = name.endswith(".ipynb")
                    self._apply(self._facts(name, "notebook" if notebook else "python"), name)
            if path == (tuple(self.before), tuple(self.after)):
                return

    def _search(self) -> list[str]:
        return [*self.before, *self.paths, *self.after, *self.places]

    def _add(self, path: str) -> None:
        if path not in self.files and self._may_count(path):
            self.files.add(path)
            self._todo.append(path)

    def _apply(self, found: Facts, file: str | None) -> None:
        here = posixpath.dirname(file) if file is not None else self.folder
        for fact in found:
            kind, rest = fact[0], fact[1:]
            if kind == "import":
                self._resolve(str(rest[0]), self._search())
            elif kind == "main":
                self._submodules(["__main__"], self._resolve(str(rest[0]), self._search()))
            elif kind == "from":
                self._from(cast(int, rest[0]), str(rest[1]), cast(list[str], rest[2]), here)
            elif kind == "under":
                for folder in self._resolve(str(rest[1]), self._start(cast(int, rest[0]), here)):
                    self._everything(folder)
            elif kind == "path":
                self._path(str(rest[0]), str(rest[1]), bool(rest[2]), file)
            elif kind == "file":
                self._named(str(rest[0]), here)
            elif kind == "shell":
                self.commands.add(str(rest[0]))

    def _start(self, level: int, here: str) -> list[str]:
        if not level:
            return self._search()
        folder = here
        for _ in range(level - 1):
            if not folder:
                return []
            folder = posixpath.dirname(folder)
        self._add(posixpath.join(folder, "__init__.py"))
        return [folder]

    def _from(self, level: int, module: str, names: list[str], here: str) -> None:
        folders = self._start(level, here)
        if module:
            folders = self._resolve(module, folders)
        elif not level:
            return
        wanted = [n for n in names if n != "*"]
        if "*" in names:
            for folder in folders:
                init = posixpath.join(folder, "__init__.py")
                for fact in self._facts(init, "python") if self._may_count(init) else []:
                    if fact[0] == "all":
                        wanted += cast(list[str], fact[1])
        self._submodules(wanted, folders)

    def _submodules(self, names: Iterable[str], folders: list[str]) -> None:
        for name in names:
            if folders and NAME.fullmatch(name):
                self._resolve(name, folders)

    def _resolve(self, module: str, folders: list[str]) -> list[str]:
        """Adds the files of `module` and the packages above it; returns the folders of its submodules."""
        for part in module.split(".") if module else ():
            folders = self._one(part, folders)
            if not folders:
                return []
        return folders

    def _one(self, name: str, folders: list[str]) -> list[str]:
        portions = []
        for folder in folders:
            entries = self.tree.entries(folder)
            package = posixpath.join(folder, name)
            if entries.get(name) and "__init__.py" in self.tree.entries(package):
                self._add(posixpath.join(package, "__init__.py"))
                return [package]
            modules = [*self.tree.extensions(folder).get(name, ())]
            if entries.get(name + ".py") is False:
                modules.append(name + ".py")
            if modules:
                for found in modules:
                    self._add(posixpath.join(folder, found))
                return []
            if entries.get(name) and name not in _NOT_CODE:
                portions.append(package)
        return portions

    def _everything(self, folder: str, above: frozenset[str] = frozenset()) -> None:
        # A link to a folder that it is in itself must not be followed for ever.
        real = os.path.realpath(self.tree.root / folder)
        if real in above or not (above or folder):
            return
        above = above | {real} if above else frozenset([real, *map(str, Path(real).parents)])
        for name, is_folder in self.tree.entries(folder).items():
            if is_folder and name not in _NOT_CODE:
                self._everything(posixpath.join(folder, name), above)
            elif name.endswith(".py"):
                self._add(posixpath.join(folder, name))

    def _path(self, base: str, rest: str, first: bool, file: str | None) -> None:
        if base == "file":
            if file is None:
                return
            path = posixpath.normpath(posixpath.join(file, rest))
        else:
            path = posixpath.join(self.folder, rest)
        path = self.tree.relative(path)
        if not inside(path) or path in self.before or path in self.after:
            return
        if first:
            self.before.insert(0, path)
        else:
            self.after.append(path)

    def _named(self, literal: str, here: str) -> None:
        """A literal `tools/x.py`: run or loaded by path, from the working folder or beside the file."""
        for folder in dict.fromkeys((self.folder, here)):
            path = clean(posixpath.join(folder, literal))
            if inside(path) and self._may_count(path):
                self.scripts.add(path)
                if not path.endswith((".sh", ".bash")):
                    self._add(path)  # loaded by path, it shares the search path
