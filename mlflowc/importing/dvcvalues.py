"""Files of variables for `${…}`: YAML, JSON and TOML as nodes with dotted names."""

from __future__ import annotations

import posixpath
from pathlib import Path

from mlflowc.diagnostic import Diagnostic
from mlflowc.errors import Failure
from mlflowc.importing import yamltree
from mlflowc.importing.coverage import Place
from mlflowc.importing.yamltree import Node, wrong
from mlflowc.project import kind_of, read_text
from mlflowc.resolve import paramfile
from mlflowc.span import Source


class Values:
    """Reads each file once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Node | None] = {}

    def read(self, path: str) -> Node | None:
        """The file at `path`, relative to the project; None where there is none. Raises Failure for a
        damaged one.
        """
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def _read(self, path: str) -> Node | None:
        if kind_of(str(self._root / path)) != "file":
            return None
        text = read_text(self._root / path)
        if not isinstance(text, str):
            raise Failure(f"`{path}` cannot be read: {text.reason}")
        if posixpath.splitext(path)[1].lower() == ".toml":
            return _toml(path, text)
        root = yamltree.load(path, text)
        if root is None:
            return Node({}, path, 1, "")
        if not isinstance(root.value, dict):
            raise wrong(root.place, "variables are a mapping of names to values")
        return root


def _toml(path: str, text: str) -> Node:
    raws = paramfile.read(path, text)
    source = Source(path, text)
    if isinstance(raws, Diagnostic):
        raise wrong(Place(path, source.position(raws.span.start).line), raws.message)
    root = Node({}, path, 1, "")
    for raw in raws:
        at = root.mapping
        line = source.position(raw.span.start).line
        *sections, last = raw.name.split(".")
        for n, section in enumerate(sections, 1):
            inner = at.get(section)
            if inner is None or not isinstance(inner.value, dict):
                inner = at[section] = Node({}, path, line, ".".join(sections[:n]))
            at = inner.mapping
        at[last] = _value(raw.value, path, line, raw.name)
    return root


def _value(value: object, path: str, line: int, key: str) -> Node:
    if isinstance(value, tuple):
        return Node([_value(v, path, line, f"{key}[]") for v in value], path, line, key)
    if isinstance(value, dict):
        return Node({k: _value(v, path, line, f"{key}[].{k}") for k, v in value.items()}, path, line, key)
    return Node(value if isinstance(value, str | int | float | bool) else None, path, line, key)
