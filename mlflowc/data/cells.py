"""Whether one cell satisfies its column: the meaning of types and constraints, value by value.

This is the definition. DuckDB, which reads large files, is asked for the same things in SQL, and tests
compare the two.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from mlflowc.check import lattice
from mlflowc.data import grammar
from mlflowc.data.findings import Rule
from mlflowc.ir.model import Column, Constraint, FileType, ScalarType

Value: TypeAlias = int | float | str | bool
Reader: TypeAlias = Callable[[Any], Any]


class _Wrong:
    """Stands for a cell that holds no value of its column's type."""


WRONG = _Wrong()

_INT = re.compile(grammar.INT)
_FLOAT = re.compile(grammar.FLOAT)
_TRUE = re.compile(grammar.TRUE)
_FALSE = re.compile(grammar.FALSE)
_MISSING = re.compile(grammar.MISSING)
_DURATION = re.compile(grammar.DURATION)
_SIZE = re.compile(grammar.SIZE)
# Longer numbers are not turned into integers: Python refuses, and nobody compares them exactly.
_LONGEST = 1000


def cell_rules(column: Column) -> tuple[Rule, ...]:
    """The rules for the column's cells, in the order in which they are told."""
    rules = [Rule(column.name, "type", f"is {lattice.spell_scalar(column.type)}")]
    if not (column.type.optional or any(c.op == "null" for c in column.constraints)):
        rules.append(Rule(column.name, "missing", "is not optional"))
    rules += (Rule(column.name, c.op, lattice.spell_constraint(c)) for c in column.constraints)
    return tuple(rules)


def table_rules(type: FileType) -> tuple[tuple[Rule, Constraint], ...]:
    """The rules for the whole table."""
    return tuple((Rule(None, c.op, lattice.spell_constraint(c)), c) for c in type.constraints)


def text_reader(type: ScalarType) -> Reader:
    """What a cell of a csv or tsv file says: its value, None where it is missing, else WRONG."""
    if type.name in ("str", "any"):
        return lambda cell: cell or None
    if type.name == "enum":
        values = frozenset(type.values)
        return lambda cell: (cell if cell in values else WRONG) if cell else None
    if type.name == "list":
        return _list_text(json_reader(type))
    value = {
        "int": _int, "float": _float, "bool": _bool, "duration": _duration, "size": _size,
    }[type.name]  # fmt: skip

    def read(cell: str) -> Any:
        found = value(cell)
        return None if found is WRONG and _MISSING.fullmatch(cell) else found

    return read


def _int(cell: str) -> Any:
    if not _INT.fullmatch(cell):
        return WRONG
    return int(cell) if len(cell) < _LONGEST else float(cell)


def _float(cell: str) -> Any:
    return float(cell) if _FLOAT.fullmatch(cell) else WRONG


def _bool(cell: str) -> Any:
    if _TRUE.fullmatch(cell):
        return True
    return False if _FALSE.fullmatch(cell) else WRONG


def _duration(cell: str) -> Any:
    match = _DURATION.fullmatch(cell)
    return float(match[1]) * grammar.DURATIONS[match[2]] if match else _float(cell)


def _size(cell: str) -> Any:
    match = _SIZE.fullmatch(cell)
    return float(match[1]) * grammar.SIZES[match[2]] if match else _int(cell)


def _list_text(read: Reader) -> Reader:
    def value(cell: str) -> Any:
        if _MISSING.fullmatch(cell):
            return None
        try:
            return read(json.loads(cell))
        except (ValueError, RecursionError):
            return WRONG

    return value


def json_reader(type: ScalarType) -> Reader:
    """What a value of a JSON object says, as `text_reader`. Types are JSON's own: `"5"` is no int."""
    match type.name:
        case "any":
            return lambda value: value
        case "str":
            return lambda value: value if value is None or isinstance(value, str) else WRONG
        case "enum":
            values = frozenset(type.values)
            return lambda value: (
                value if value is None or (isinstance(value, str) and value in values) else WRONG
            )
        case "bool":
            return lambda value: value if value is None or isinstance(value, bool) else WRONG
        case "int":
            return lambda value: value if value is None or _is_int(value) else WRONG
        case "float":
            return _json_float
        case "list":
            return _json_list(json_reader(type.element) if type.element else None, type.element)
        case "duration":
            return lambda value: _duration(value) if isinstance(value, str) else _json_float(value)
    return lambda value: (
        _size(value) if isinstance(value, str) else value if value is None or _is_int(value) else WRONG
    )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _json_float(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value if value is None or _is_int(value) else WRONG


def _json_list(read: Reader | None, element: ScalarType | None) -> Reader:
    def value(found: Any) -> Any:
        if found is None:
            return None
        if not isinstance(found, list):
            return WRONG
        if read is not None and element is not None:
            for item in map(read, found):
                if item is WRONG or (item is None and not element.optional):
                    return WRONG
        return json.dumps(found)

    return value


def predicate(constraint: Constraint) -> Callable[[Any], bool] | None:
    """Whether a value of the column satisfies the constraint; None for those about the column as a whole."""
    match constraint.op:
        case "in":
            values = frozenset(constraint.values)
            return lambda value: value in values
        case "range":
            low = -math.inf if constraint.low is None else constraint.low
            high = math.inf if constraint.high is None else constraint.high
            return lambda value: low <= value <= high
        case "matches":
            search = re.compile(constraint.pattern or "").search
            return lambda value: search(value) is not None
    return None
