"""The IR as JSON, for others; and packed, for the next run.

JSON is exact and canonical: every field is there, keys are sorted, tuples are arrays. A value that could be
of several kinds (a source of an input, an expression, a placeholder) says which in `node`. The packed
form is `marshal` of nested tuples: it holds no code, and reads ten times as fast; it is only ever read by
the version that wrote it.
"""

from __future__ import annotations

import json
import marshal
import types
import typing
from collections.abc import Callable, Iterable
from functools import cache
from operator import attrgetter
from typing import Any, cast

from mlflowc.frozen import late
from mlflowc.garbage import no_collecting
from mlflowc.ir import model as ir

# Values of these may stand where others may, too: their JSON says what they are.
TAGGED: dict[str, type] = {
    c.__name__: c
    for c in (
        ir.StageOutput, ir.DataRef, ir.PathRef, ir.GlobRef, ir.AssetRef, ir.Slot,
        ir.Number, ir.Metric, ir.ParamRef, ir.Rows, ir.Unary, ir.Binary, ir.Call,
    )
}  # fmt: skip


class UndecodableError(ValueError):
    """The text or the bytes are not an IR of this version; says where."""


# --- JSON --------------------------------------------------------------------------------------


def dumps(pipeline: ir.Pipeline) -> str:
    """The pipeline as JSON text: two spaces, sorted keys, a line break at the end."""
    return json.dumps(to_json(pipeline), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def loads(text: str) -> ir.Pipeline:
    """The pipeline of JSON text. Raises UndecodableError."""
    try:
        data = json.loads(text)
    except ValueError as e:
        raise UndecodableError(f"not JSON: {e}") from None
    return from_json(data)


def to_json(value: Any) -> Any:
    """A value of the IR as dictionaries, lists and scalars."""
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {k: to_json(v) for k, v in value.items()}
    if type(value) not in _NUMBERS:
        return value
    fields = {n: to_json(getattr(value, n)) for n in _names(type(value))}
    name = type(value).__name__
    return {"node": name, **fields} if name in TAGGED else fields


def from_json(data: Any) -> ir.Pipeline:
    """The pipeline that `to_json` made. Raises UndecodableError for anything else."""
    return cast(ir.Pipeline, _decode(data, ir.Pipeline, "pipeline"))


def _names(cls: Any) -> tuple[str, ...]:
    """The fields of a class of the model, without asking `dataclasses`, which is slow for the first time."""
    return cast(tuple[str, ...], cls.__match_args__)


@cache
def hints(cls: type) -> dict[str, Any]:
    """The types of a class's fields, as written in the model."""
    return typing.get_type_hints(cls)


def is_value(wanted: Any) -> bool:
    """Whether a field's type is `Value`: the only union with a dictionary in it."""
    union = typing.get_origin(wanted) in (typing.Union, types.UnionType)
    return union and any(typing.get_origin(a) is dict for a in typing.get_args(wanted))


def _decode(data: Any, wanted: Any, where: str) -> Any:
    if is_value(wanted):
        return _value(data)
    if wanted in _NUMBERS:
        return _record(data, cast(type, wanted), where)
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is tuple:
        return _tuple(data, args, where)
    if origin in (typing.Union, types.UnionType):
        return _union(data, args, where)
    if wanted is float and isinstance(data, int | float) and not isinstance(data, bool):
        return data
    if isinstance(wanted, type) and isinstance(data, wanted) and isinstance(data, bool) == (wanted is bool):
        return data
    raise UndecodableError(f"{where}: {wanted} is wanted")


def _value(data: Any) -> ir.Value:
    if isinstance(data, list):
        return tuple(_value(v) for v in data)
    if isinstance(data, dict):
        return {k: _value(v) for k, v in data.items()}
    return cast(ir.Value, data)


def _record(data: Any, cls: type, where: str) -> Any:
    if not isinstance(data, dict):
        raise UndecodableError(f"{where}: an object is wanted")
    fields = {k: v for k, v in data.items() if not (k == "node" and cls.__name__ in TAGGED)}
    known = hints(cls)
    if extra := sorted(fields.keys() - known.keys()):
        raise UndecodableError(f"{where}: there is no field `{extra[0]}`")
    made = {n: _decode(v, known[n], f"{where}.{n}") for n, v in fields.items()}
    try:
        return cls(**made)
    except TypeError as e:
        raise UndecodableError(f"{where}: {e}") from None


def _tuple(data: Any, args: tuple[Any, ...], where: str) -> Any:
    if not isinstance(data, list):
        raise UndecodableError(f"{where}: an array is wanted")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_decode(v, args[0], f"{where}[{n}]") for n, v in enumerate(data))
    if len(args) != len(data):
        raise UndecodableError(f"{where}: {len(args)} elements are wanted")
    return tuple(_decode(v, a, f"{where}[{n}]") for n, (v, a) in enumerate(zip(data, args, strict=True)))


def _union(data: Any, args: tuple[Any, ...], where: str) -> Any:
    if isinstance(data, dict) and "node" in data:
        cls = TAGGED.get(str(data["node"]))
        if cls is not None and cls in args:
            return _record(data, cls, where)
        raise UndecodableError(f"{where}: `{data['node']}` cannot stand here")
    if data is None and type(None) in args:
        return None
    for option in args:
        if option is type(None):
            continue
        try:
            return _decode(data, option, where)
        except UndecodableError:
            if len([a for a in args if a is not type(None)]) == 1:
                raise
    raise UndecodableError(f"{where}: this value cannot stand here")


# --- packed ------------------------------------------------------------------------------------

# By number: the order is part of the packed form, which no other version reads.
_CLASSES: tuple[type, ...] = tuple(
    c
    for c in vars(ir).values()
    if isinstance(c, type) and hasattr(c, "__match_args__") and c.__module__ == ir.__name__
)
_NUMBERS = {c: n for n, c in enumerate(_CLASSES)}
# Many stages have equal ones: each is written and made once.
_SHARED = frozenset(_NUMBERS[c] for c in (ir.FileType, ir.Code, ir.ScalarType, ir.Slot))
_STAGE, _SLOT = _NUMBERS[ir.Stage], _NUMBERS[ir.Slot]
_STAGE_FIELDS = {name: n for n, name in enumerate(_names(ir.Stage), 1)}
_ATOMS = frozenset((str, int, float, bool, type(None)))


def pack(pipeline: ir.Pipeline) -> bytes:
    """The pipeline as bytes for `unpack` of the same version."""
    with no_collecting():
        return marshal.dumps(_packed(pipeline, {}))


def _packed(value: Any, shared: dict[Any, Any]) -> Any:
    """`value` as lists, tuples and atoms. Atoms and what is empty (nothing in it tells a class) stay."""
    kind = type(value)
    if kind is tuple:
        return [v if type(v) in _ATOMS or not v else _packed(v, shared) for v in value]
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {k: v if not v else _packed(v, shared) for k, v in value.items()}
    number = _NUMBERS[kind]
    alike = number in _SHARED
    if alike and id(value) in shared:
        return shared[id(value)]
    fields = _FIELDS[number](value)
    made = (number, *[v if type(v) in _ATOMS or not v else _packed(v, shared) for v in fields])
    if alike:
        # `1` and `1.0` are equal, and must not become one: the text tells them apart. A slot is all text.
        made = shared[id(value)] = shared.setdefault(made if number == _SLOT else repr(made), made)
    return made


def _fields_of(cls: type) -> Callable[[Any], tuple[Any, ...]]:
    names = _names(cls)
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda value: (get(value),)


_FIELDS = tuple(_fields_of(c) for c in _CLASSES)


def unpack(data: bytes) -> ir.Pipeline:
    """The pipeline of packed bytes. Raises UndecodableError for bytes that are none."""
    try:
        with no_collecting():
            shared: dict[int, Any] = {}
            # No object's number is so small.
            shared[_STAGE] = _stage_maker(shared)
            made = _unpacked(marshal.loads(data), shared)
    except (ValueError, EOFError, TypeError, IndexError, KeyError, RecursionError) as e:
        raise UndecodableError(str(e)) from None
    if not isinstance(made, ir.Pipeline):
        raise UndecodableError("not a pipeline")
    return made


def _stage_maker(shared: dict[int, Any]) -> Callable[[Any, str], Iterable[tuple[str, Any]]]:
    """Makes the parts of stages when they are asked for: most commands are about few of many stages."""

    def make(packed: tuple[Any, ...], name: str) -> Iterable[tuple[str, Any]]:
        asked = packed[_STAGE_FIELDS[name]]
        if not asked or type(asked) in _ATOMS:
            # Nothing has to be made.
            return [
                (n, v) for n, v in zip(_STAGE_FIELDS, packed[1:], strict=True) if not v or type(v) in _ATOMS
            ]
        # Many commands want the outputs of all stages. Whoever wants more of one, wants it all.
        if name == "outputs":
            return [(name, _unpacked(asked, shared))]
        _, *fields = packed
        return zip(
            _STAGE_FIELDS,
            [v if not v or type(v) in _ATOMS else _unpacked(v, shared) for v in fields],
            strict=True,
        )

    return make


def _unpacked(value: Any, shared: dict[int, Any]) -> Any:
    kind = type(value)
    if kind is list:
        return tuple([v if not v or type(v) in _ATOMS else _unpacked(v, shared) for v in value])
    if kind is tuple:
        number = value[0]
        if number in _SHARED:
            key = id(value)
            made = shared.get(key)
            if made is not None:
                return made
        if number == _STAGE:
            if len(value) != len(_STAGE_FIELDS) + 1:
                raise IndexError("not a stage")
            return late(ir.Stage, value[1:3], shared[_STAGE], value)
        _, *fields = value
        made = _CLASSES[number](*[v if not v or type(v) in _ATOMS else _unpacked(v, shared) for v in fields])
        if number in _SHARED:
            shared[id(value)] = made
        return made
    if kind is dict:
        return {k: v if not v else _unpacked(v, shared) for k, v in value.items()}
    return value
