"""The JSON Schema of the IR, made from the model. `schema.json` beside this is what it gives, published."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from importlib.resources import files
from typing import Any

from mlflowc.ir import codec
from mlflowc.ir import model as ir

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
}
_VALUE = {
    "description": "A literal of the language or of a parameter file.",
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "items": {"$ref": "#/$defs/Value"}},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/Value"}},
    ],
}


def published() -> str:
    """The text of the schema that ships."""
    return (files("mlflowc.ir") / "schema.json").read_text("utf-8")


def render() -> str:
    """The schema as JSON text, as `schema.json` has it."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def schema() -> dict[str, Any]:
    """The schema of what `codec.dumps` writes, draft 2020-12."""
    found: dict[str, Any] = {"Value": _VALUE}
    _reference(ir.Pipeline, found)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mlpipe pipeline, edition 1",
        "$ref": "#/$defs/Pipeline",
        "$defs": found,
    }


def _reference(cls: type, found: dict[str, Any]) -> dict[str, Any]:
    name = cls.__name__
    if name not in found:
        found[name] = {}  # before its fields: a class may hold itself
        found[name] = _class(cls, found)
    return {"$ref": f"#/$defs/{name}"}


def _class(cls: type, found: dict[str, Any]) -> dict[str, Any]:
    properties = {n: _type(t, found) for n, t in codec.hints(cls).items()}
    if cls.__name__ in codec.TAGGED:
        properties["node"] = {"const": cls.__name__}
    return {
        "type": "object",
        "description": inspect.getdoc(cls),
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _type(wanted: Any, found: dict[str, Any]) -> dict[str, Any]:
    if codec.is_value(wanted):
        return {"$ref": "#/$defs/Value"}
    if wanted in _SCALARS:
        return dict(_SCALARS[wanted])
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return _reference(wanted, found)
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _type(args[0], found)}
    if origin is tuple:
        pieces = [_type(a, found) for a in args]
        return {"type": "array", "prefixItems": pieces, "minItems": len(pieces), "maxItems": len(pieces)}
    assert origin in (typing.Union, types.UnionType), wanted
    return {"anyOf": [_type(a, found) for a in args]}


if __name__ == "__main__":
    print(render(), end="")
