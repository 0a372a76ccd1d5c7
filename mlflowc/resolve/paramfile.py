"""Parameter files: YAML, TOML or JSON text to dotted names, values and places.

YAML is read as version 1.2 says: `yes` is a string, `1e-3` a number, `2024-01-01` a string.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

from mlflowc.diagnostic import Check, Diagnostic, Label, Severity
from mlflowc.ir.model import Value
from mlflowc.span import Span

UNREADABLE = Check(
    "MLP220",
    Severity.ERROR,
    "a parameter file cannot be read",
    """
`params "params.yaml"` reads the file when the pipeline is compiled. It must exist, be UTF-8, and end in
`.yaml`, `.yml`, `.toml` or `.json`.

```mlpipe fails
mlpipe 1
pipeline example
params "settings.yaml"
```

```mlpipe
mlpipe 1
pipeline example
params "params.yaml"
```
""",
)
MALFORMED = Check(
    "MLP221",
    Severity.ERROR,
    "a parameter file with a mistake in it",
    """
The file does not parse, has a key twice, or holds something that is no parameter: at the top it must be a
mapping, and its values are numbers, strings, booleans, null and lists. The message points into the file.

In `broken.yaml`, `lr` stands twice:

```mlpipe fails
mlpipe 1
pipeline example
params "broken.yaml"
```

```mlpipe
mlpipe 1
pipeline example
params "params.yaml"
```
""",
)
CHECKS = (UNREADABLE, MALFORMED)

# More than this from one file is a slip (a table of data), or an attack by nested aliases.
MOST = 100_000


class Raw(NamedTuple):
    """A value as the file has it: `name` is dotted, lists are tuples, `span` is its key in the file."""

    name: str
    value: Value
    span: Span


class MalformedError(Exception):
    """The file is wrong; carries what to say."""

    def __init__(self, message: str, span: Span, help: str = "", related: tuple[Label, ...] = ()) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic.of(MALFORMED, message, span, help=help, related=related)


def read(name: str, text: str) -> tuple[Raw, ...] | Diagnostic:
    """The parameters of the file `name` in the order written, or what is wrong with it."""
    ending = posixpath.splitext(name)[1].lower()
    try:
        if ending in (".yaml", ".yml"):
            return tuple(_limited(_yaml(name, text), name))
        if ending == ".toml":
            return tuple(_limited(_toml(name, text), name))
        if ending == ".json":
            return tuple(_limited(_json(name, text), name))
    except MalformedError as e:
        return e.diagnostic
    except RecursionError:
        return Diagnostic.of(MALFORMED, f"`{name}` is nested too deep", Span(name, 0, 0))
    return Diagnostic.of(
        UNREADABLE,
        f"`{name}` is no parameter file",
        Span(name, 0, 0),
        help="it ends in .yaml, .yml, .toml or .json",
    )


def _limited(found: Iterator[Raw], name: str) -> Iterator[Raw]:
    for n, raw in enumerate(found):
        if n >= MOST:
            raise MalformedError(f"`{name}` holds more than {MOST:,} parameters", raw.span)
        yield raw


# --- YAML --------------------------------------------------------------------------------------


def _yaml(name: str, text: str) -> Iterator[Raw]:
    import yaml  # only where there is a YAML file: start-up time

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        at = min(mark.index if mark else 0, len(text))
        raise MalformedError(f"this is not YAML: {e.problem or e.context}", Span(name, at, at + 1)) from None
    except yaml.YAMLError as e:
        raise MalformedError(f"this is not YAML: {str(e).splitlines()[0]}", Span(name, 0, 0)) from None
    finally:
        loader.dispose()
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise MalformedError(
            "a parameter file is a mapping at its top", _node(name, root), "as in `train: {lr: 0.1}`"
        )
    yield from _Nodes(name, yaml).mapping(root, "")


def _node(name: str, node: Any) -> Span:
    return Span(name, node.start_mark.index, max(node.end_mark.index, node.start_mark.index))


_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")
_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Nodes:
    """Walks YAML nodes; resolves plain scalars by the rules of YAML 1.2 (the library's are those of 1.1)."""

    def __init__(self, file: str, yaml: Any) -> None:
        self.file = file
        self.yaml = yaml
        self.count = 0

    def mapping(self, node: Any, prefix: str) -> Iterator[Raw]:
        seen: dict[str, Span] = {}
        for key, value in self._pairs(node):
            if not isinstance(key, self.yaml.ScalarNode):
                raise MalformedError("a key is a plain word here", _node(self.file, key))
            name, span = prefix + key.value, _node(self.file, key)
            if name in seen:
                raise MalformedError(
                    f"`{key.value}` stands twice", span, related=(Label(seen[name], "first here"),)
                )
            seen[name] = span
            if isinstance(value, self.yaml.MappingNode):
                yield from self.mapping(value, name + ".")
            else:
                yield Raw(name, self._value(value), span)

    def _pairs(self, node: Any) -> list[tuple[Any, Any]]:
        """The pairs of a mapping, with what `<<` merges in where it is not overridden."""
        own = [(k, v) for k, v in node.value if k.tag != "tag:yaml.org,2002:merge"]
        merged = [v for k, v in node.value if k.tag == "tag:yaml.org,2002:merge"]
        known = {k.value for k, _ in own if isinstance(k, self.yaml.ScalarNode)}
        for value in merged:
            for source in value.value if isinstance(value, self.yaml.SequenceNode) else [value]:
                if not isinstance(source, self.yaml.MappingNode):
                    raise MalformedError("`<<` merges mappings only", _node(self.file, value))
                for k, v in self._pairs(source):
                    if isinstance(k.value, str) and k.value not in known:
                        known.add(k.value)
                        own.append((k, v))
        return own

    def _value(self, node: Any) -> Value:
        self.count += 1
        if self.count > MOST:
            raise MalformedError(f"`{self.file}` holds more than {MOST:,} values", _node(self.file, node))
        if isinstance(node, self.yaml.SequenceNode):
            return tuple(self._value(n) for n in node.value)
        if isinstance(node, self.yaml.MappingNode):
            return {str(k.value): self._value(v) for k, v in self._pairs(node)}
        return self._scalar(node)

    def _scalar(self, node: Any) -> Value:
        text: str = node.value
        tag = node.tag.rpartition(":")[2]
        if node.style in ("'", '"', "|", ">") or (tag == "str" and plain(text) is text):
            return text
        if _SPECIAL.fullmatch(text):
            raise MalformedError(
                f"`{text}` cannot be a parameter", _node(self.file, node), "write it as a string"
            )
        return plain(text)


def plain(text: str) -> Value:
    """The value of a plain scalar by the rules of YAML 1.2."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text) and len(text) < 400:
        return int(text)
    if _OTHER_INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


# --- TOML and JSON -----------------------------------------------------------------------------


def _toml(name: str, text: str) -> Iterator[Raw]:
    try:
        root = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        message = str(e)
        at = len(text)
        if match := re.search(r" \(at line (\d+), column (\d+)\)$", message):
            lines = text.splitlines(keepends=True)
            at = sum(map(len, lines[: int(match[1]) - 1])) + int(match[2]) - 1
            message = message[: match.start()]
        raise MalformedError(f"this is not TOML: {message}", Span(name, at, at + 1)) from None
    yield from _tree(name, text, root, "")


def _json(name: str, text: str) -> Iterator[Raw]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise MalformedError(f"`{key}` stands twice in one object", _key(name, text, key))
            found[key] = value
        return found

    if not text.strip():
        return
    try:
        root = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as e:
        raise MalformedError(f"this is not JSON: {e.msg}", Span(name, e.pos, e.pos + 1)) from None
    except ValueError as e:
        raise MalformedError(f"this is not JSON: {e}", Span(name, 0, 0)) from None
    if not isinstance(root, dict):
        raise MalformedError(
            "a parameter file is an object at its top", Span(name, 0, 0), 'as in {"train": {"lr": 0.1}}'
        )
    yield from _tree(name, text, root, "")


def _tree(name: str, text: str, node: dict[str, Any], prefix: str) -> Iterator[Raw]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _tree(name, text, value, f"{prefix}{key}.")
        else:
            span = _key(name, text, key)
            yield Raw(prefix + key, _frozen(value, span), span)


def _frozen(value: Any, span: Span) -> Value:
    if isinstance(value, list):
        return tuple(_frozen(v, span) for v in value)
    if isinstance(value, dict):
        return {k: _frozen(v, span) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise MalformedError(f"`{value}` cannot be a parameter", span, "write it as a string")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)  # a TOML date or time


def _key(name: str, text: str, key: str) -> Span:
    """Where `key` seems to stand: the parsers for TOML and JSON tell no places."""
    match = re.search(rf'(?m)(?:^|[\s{{,."])({re.escape(key)})"?\s*[=:]', text)
    return Span(name, match.start(1), match.end(1)) if match else Span(name, 0, 0)
