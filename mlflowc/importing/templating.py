"""DVC's `${…}`: variables from parameter files and `vars`, and what a text becomes with them.

A resolved text keeps where each of its pieces came from, so that a value of a parameter file can become a
placeholder instead of a copy.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from mlflowc.errors import Failure
from mlflowc.importing.coverage import Place
from mlflowc.importing.yamltree import Node, Scalar, wrong
from mlflowc.spell import nearest

_EXPRESSION = re.compile(r"(?<!\\)\$\{(.*?)\}")
_WORDS = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[^.\[\]]+\])*")


class Origin(NamedTuple):
    """Where a value came from: `file` and the dotted `key` in it; or an `each` variable's name as `key`, with
    `file` None. A `key` with `[` or `?` in it leads to something that the value is only made of."""

    file: str | None
    key: str
    place: Place


class Piece(NamedTuple):
    """A part of a text. `origin` is None for what the imported file itself says; `value` is that of
    `text`.
    """

    text: str
    origin: Origin | None = None
    value: Scalar = None


Text = tuple[Piece, ...]


def joined(text: Text) -> str:
    """The text as it reads."""
    return "".join(p.text for p in text)


class Variables:
    """What `${…}` may name. `each` are the names that stand for the value of an iteration."""

    def __init__(self, values: Mapping[str, Node], each: Mapping[str, Origin] | None = None) -> None:
        self._values = dict(values)
        self._each = dict(each or {})

    def merged(self, added: Mapping[str, Node]) -> Variables:
        """With more variables. Raises Failure where one would be redefined."""
        return Variables(_merged(self._values, added, ""), self._each)

    def iterating(self, values: Mapping[str, Node], each: Mapping[str, Origin]) -> Variables:
        """With the variables of an iteration, which go before others of the same name."""
        return Variables({**self._values, **values}, {**self._each, **each})

    def select(self, expression: str, place: Place) -> tuple[Node, Origin | None]:
        """The value that an expression names. Raises Failure for none."""
        if not _WORDS.fullmatch(expression):
            raise wrong(place, f"`${{{expression}}}` is no name", "as in `${train.lr}` or `${files[0]}`")
        words = expression.replace("[", ".").replace("]", "").split(".")
        if words[0] not in self._values:
            raise self._unknown(expression, words[0], self._values, place)
        node = self._values[words[0]]
        for n, word in enumerate(words[1:], 1):
            if isinstance(node.value, list) and re.fullmatch(r"-?\d{1,9}", word):
                if not -len(node.value) <= int(word) < len(node.value):
                    raise wrong(place, f"`${{{expression}}}`: the list has {len(node.value)} elements")
                node = node.value[int(word)]
            elif word in node.mapping:
                node = node.mapping[word]
            else:
                known = {".".join([*words[:n], name]): None for name in node.mapping}
                raise self._unknown(expression, ".".join(words[: n + 1]), known, place)
        return node, self._origin(words, node)

    def _origin(self, words: list[str], node: Node) -> Origin | None:
        name = ".".join(words)
        if name in self._each:
            return self._each[name]
        return Origin(node.file, node.key, node.place) if node.key else None

    def _unknown(self, expression: str, part: str, known: Iterable[str], place: Place) -> Failure:
        guess = nearest(part, known)
        help = f"there is `{guess}`" if guess else "it comes from `vars`, or from params.yaml"
        return wrong(place, f"`${{{expression}}}` cannot be resolved: there is no `{part}`", help)


def _merged(into: Mapping[str, Node], added: Mapping[str, Node], prefix: str) -> dict[str, Node]:
    result = dict(into)
    for name, node in added.items():
        old = result.get(name)
        if old is None:
            result[name] = node
        elif isinstance(old.value, dict) and isinstance(node.value, dict):
            inner = _merged(old.value, node.value, f"{prefix}{name}.")
            result[name] = Node(inner, old.file, old.line, old.key, {**old.key_lines, **node.key_lines})
        else:
            raise wrong(
                node.place, f"the variable `{prefix}{name}` is given twice", f"{old.place} gives it, too"
            )
    return result


def whole(node: Node, variables: Variables) -> Node:
    """What a text that is one `${…}` and nothing else stands for; any other node as it is."""
    match = _EXPRESSION.fullmatch(node.value) if isinstance(node.value, str) else None
    return variables.select(match[1], node.place)[0] if match else node


def resolve(node: Node, variables: Variables, *, command: bool = False) -> Text:
    """A scalar with its expressions filled in. In a command a mapping becomes options, as DVC has it.

    Raises Failure for a name that is not there, or a value that is no text.
    """
    if not isinstance(node.value, str):
        return (Piece(shown(node.value)),) if node.is_scalar else _bad(node)
    pieces: list[Piece] = []
    at = 0
    for match in _EXPRESSION.finditer(node.value):
        _add(pieces, Piece(node.value[at : match.start()].replace("\\${", "${")))
        value, origin = variables.select(match[1], node.place)
        pieces.extend(_filled(match[0], value, origin, node.place, command))
        at = match.end()
    _add(pieces, Piece(node.value[at:].replace("\\${", "${")))
    return tuple(pieces) or (Piece(""),)


def _bad(node: Node) -> Text:
    raise wrong(node.place, "a plain value is wanted here")


def _add(pieces: list[Piece], piece: Piece) -> None:
    if piece.text:
        pieces.append(piece)


def _filled(written: str, node: Node, origin: Origin | None, place: Place, command: bool) -> Iterator[Piece]:
    value = node.value
    if isinstance(value, dict) and command:
        yield from _options(node, origin)
    elif isinstance(value, dict | list):
        what = "a mapping" if isinstance(value, dict) else "a list"
        raise wrong(place, f"`{written}` is {what} ({node.place}), and a plain value is wanted here")
    else:
        yield Piece(shown(value), origin, value)


def _options(node: Node, origin: Origin | None) -> Iterator[Piece]:
    """`{lr: 0.1, bag: true}` as `--lr 0.1 --bag`."""
    first = True
    for name, value in _flat(node, ""):
        known = Origin(value.file, value.key, value.place) if value.key else origin
        gap = "" if first else " "
        if isinstance(value.value, bool):
            if value.value:
                # Whether it stands there depends on the value: a copy, which keeps its origin for the note.
                yield Piece(f"{gap}--{name}", known and known._replace(key=known.key + "?"), True)
                first = False
            continue
        yield Piece(f"{gap}--{name}")
        first = False
        for element in value.value if isinstance(value.value, list) else [value]:
            if isinstance(element.value, dict | list):
                raise wrong(element.place, "a list in a list cannot become options of a command")
            yield Piece(" ")
            text = shown(element.value)
            quoted = shlex.quote(text) if isinstance(element.value, str) else text
            at = known if element is value else known and known._replace(key=known.key + "[]")
            yield Piece(quoted, at, element.value)


def _flat(node: Node, prefix: str) -> Iterator[tuple[str, Node]]:
    for name, inner in node.mapping.items():
        if isinstance(inner.value, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def shown(value: object) -> str:
    """A value as DVC writes it into a text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- loading -----------------------------------------------------------------------------------

ReadValues = Callable[[str, Place], Node | None]


def load_vars(node: Node | None, base: Variables, read: ReadValues, default: str | None = None) -> Variables:
    """`base` with what a `vars` section brings in; files are read by `read` from their path as written.

    Raises Failure for a file that is not there, and for what is given twice.
    """
    variables = base
    loaded: set[str] = set()
    if default is not None:
        found = read(default, Place("dvc.yaml", 1))
        if found is not None:
            loaded.add(default)
            variables = variables.merged(found.mapping)
    if node is not None and not isinstance(node.value, list):
        raise wrong(node.place, "`vars` is a list of files and mappings")
    for item in node.items if node is not None else []:
        if isinstance(item.value, dict):
            variables = variables.merged(item.mapping)
        elif isinstance(item.value, str):
            variables = _from_file(item, item.value, variables, read, loaded)
        else:
            raise wrong(item.place, "a file or a mapping is wanted here")
    return variables


def _from_file(
    item: Node, written: str, variables: Variables, read: ReadValues, loaded: set[str]
) -> Variables:
    path, _, keys = written.partition(":")
    if path in loaded and not keys:
        return variables
    loaded.add(path)
    found = read(path, item.place)
    if found is None:
        raise wrong(item.place, f"there is no file `{path}`", "`vars` reads it")
    values = found.mapping
    if keys:
        names = [k for k in keys.split(",") if k]
        missing = next((n for n in names if n not in values), None)
        if missing is not None:
            raise wrong(item.place, f"`{path}` has no `{missing}`")
        values = {n: values[n] for n in names}
    return variables.merged(values)
