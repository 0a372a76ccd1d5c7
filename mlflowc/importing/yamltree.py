"""YAML as nodes that know their line: for messages, and for the coverage report.

Plain scalars are read by the rules of YAML 1.2, as in parameter files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mlflowc.errors import Failure
from mlflowc.importing.coverage import Place
from mlflowc.resolve.paramfile import plain

Scalar: TypeAlias = str | int | float | bool | None

# What nested aliases may grow to: far above any real file.
_MOST = 500_000


@dataclass(frozen=True, slots=True)
class Node:
    """A mapping, a list or a scalar. `key` is the dotted name under which its file has it; `[]` in it
    stands for
    an element of a list, which no name leads to. `key_lines` are the lines of a mapping's keys."""

    value: dict[str, Node] | list[Node] | Scalar
    file: str
    line: int
    key: str | None = None
    key_lines: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.file, self.line)

    @property
    def mapping(self) -> dict[str, Node]:
        """Its pairs; empty where it is no mapping."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """Its elements; empty where it is no list."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str | None:
        """Its value where that is a string."""
        return self.value if isinstance(self.value, str) else None

    @property
    def is_scalar(self) -> bool:
        """Whether it is neither a mapping nor a list."""
        return not isinstance(self.value, dict | list)

    def get(self, name: str) -> Node | None:
        """The value of a key; None where there is none, or null."""
        found = self.mapping.get(name)
        return None if found is None or found.value is None else found

    def place_of(self, name: str) -> Place:
        """Where the key `name` stands."""
        return Place(self.file, self.key_lines.get(name, self.line))

    def pairs(self) -> Iterator[tuple[str, Node, Place]]:
        """The pairs of a mapping, with the place of each key."""
        for name, node in self.mapping.items():
            yield name, node, self.place_of(name)

    def plain(self) -> Any:
        """The value as Python has it."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        return [v.plain() for v in self.value] if isinstance(self.value, list) else self.value


def wrong(place: Place, message: str, help: str = "") -> Failure:
    """A mistake in the file that is imported."""
    return Failure(f"{place}: {message}", help=help)


def load(file: str, text: str, *, named: bool = True) -> Node | None:
    """The only document of a YAML file; None for an empty one. Without `named`, nodes have no `key`.

    Raises Failure with the place of a mistake.
    """
    import yaml  # only where a YAML file is imported: start-up time

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        reader = loader(text)
        try:
            root = reader.get_single_node()
        finally:
            reader.dispose()
        return None if root is None else _Reader(file, yaml).node(root, "" if named else None)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = mark.line + 1 if mark else 1
        raise wrong(Place(file, line), f"this is not YAML: {e.problem or e.context}") from None
    except yaml.YAMLError as e:
        raise wrong(Place(file, 1), f"this is not YAML: {str(e).splitlines()[0]}") from None
    except RecursionError:
        raise wrong(Place(file, 1), "this is nested too deep") from None


class _Reader:
    def __init__(self, file: str, yaml: Any) -> None:
        self._file, self._yaml = file, yaml
        self._open: set[int] = set()
        self._count = 0

    def node(self, node: Any, key: str | None) -> Node:
        line = node.start_mark.line + 1
        if id(node) in self._open:
            raise wrong(Place(self._file, line), "an alias stands inside of what it names")
        self._count += 1
        if self._count > _MOST:
            raise wrong(Place(self._file, line), f"this file holds more than {_MOST:,} values")
        self._open.add(id(node))
        made = self._made(node, key, line)
        self._open.discard(id(node))
        return made

    def _made(self, node: Any, key: str | None, line: int) -> Node:
        if isinstance(node, self._yaml.SequenceNode):
            inner = None if key is None else f"{key}[]"
            return Node([self.node(n, inner) for n in node.value], self._file, line, key or None)
        if isinstance(node, self._yaml.MappingNode):
            return self._mapping(node, key, line)
        return Node(self._scalar(node), self._file, line, key or None)

    def _mapping(self, node: Any, key: str | None, line: int) -> Node:
        found: dict[str, Node] = {}
        lines: dict[str, int] = {}
        merged: list[Node] = []
        for k, v in node.value:
            at = k.start_mark.line + 1
            if k.tag == "tag:yaml.org,2002:merge":
                value = self.node(v, key)
                merged += value.items if isinstance(value.value, list) else [value]
                continue
            if not isinstance(k, self._yaml.ScalarNode):
                raise wrong(Place(self._file, at), "a key is a plain word here")
            if k.value in found:
                raise wrong(Place(self._file, at), f"`{k.value}` stands twice")
            inner = None if key is None else f"{key}.{k.value}" if key else k.value
            found[k.value] = self.node(v, inner)
            lines[k.value] = at
        for source in merged:
            for name, value in source.mapping.items():
                if name not in found:
                    found[name], lines[name] = value, source.key_lines.get(name, source.line)
        return Node(found, self._file, line, key or None, lines)

    def _scalar(self, node: Any) -> Scalar:
        text: str = node.value
        if node.style in ("'", '"', "|", ">") or node.tag.endswith("!str"):
            return text
        value = plain(text)
        return value if isinstance(value, str | int | float | bool) else None
