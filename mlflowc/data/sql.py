"""Columns as SQL: what DuckDB counts in one pass over a file.

Every column has a `state` (0: no value, 1: a value, 2: none of its type) and a `value`, which constraints are
about. The meaning is that of `mlflowc.data.cells`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlflowc.data import grammar
from mlflowc.ir.model import Column, Constraint, ScalarType


@dataclass(frozen=True, slots=True)
class Parts:
    """One column: `raw` is what the file has, `state` and `value` as the module says.

    `number` is the value as a float, for numbers that `value` (64 bits) cannot hold. `asked` says that Python
    must decide about each different value: the type, or the pattern, is nothing that SQL can check.
    """

    column: Column
    raw: str
    state: str
    value: str
    number: str | None = None
    asked: bool = False


def satisfied(constraint: Constraint, value: str, number: str | None) -> str | None:
    """SQL for "`value` satisfies the constraint"; None for those about the whole column, or not for SQL."""
    match constraint.op:
        case "in":
            listed = ", ".join(literal(v) for v in constraint.values)
            test = "{} IN (" + listed.replace("{", "{{").replace("}", "}}") + ")"
        case "range":
            low = "'-inf'::DOUBLE" if constraint.low is None else literal(constraint.low)
            high = "'inf'::DOUBLE" if constraint.high is None else literal(constraint.high)
            test = f"{{}} BETWEEN {low} AND {high}"
        case "matches" if grammar.safe_pattern(constraint.pattern or ""):
            return f"regexp_matches({value}, {literal(constraint.pattern)})"
        case _:
            return None
    if number is None:
        return test.format(value)
    return f"CASE WHEN {value} IS NULL THEN {test.format(number)} ELSE {test.format(value)} END"


def literal(value: object) -> str:
    """A value as an SQL literal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value) if isinstance(value, int) else f"{value!r}::DOUBLE"
    return "'" + str(value).replace("'", "''") + "'"


def text_column(column: Column, raw: str) -> Parts:
    """A column of a csv or tsv file that was read as text; an empty cell is NULL."""
    type = column.type
    if type.name in ("str", "any"):
        return Parts(column, raw, f"CASE WHEN {raw} IS NULL THEN 0 ELSE 1 END", raw, asked=_odd(column))
    if type.name == "enum":
        return Parts(column, raw, _state(raw, f"{raw} IN ({_listed(type)})", ""), raw)
    if type.name == "list":
        return Parts(column, raw, f"CASE WHEN {raw} IS NULL THEN 0 ELSE 1 END", raw, asked=True)
    missing = _full(raw, grammar.MISSING)
    if type.name == "bool":
        good = _first(f"{raw} IN ('true', 'false', 'True', 'False', '0', '1')", f"{_full(raw, grammar.BOOL)}")
        return Parts(column, raw, _state(raw, good, missing), _full(raw, grammar.TRUE))
    good, value, number = _number(type.name, raw)
    return Parts(column, raw, _state(raw, good, missing), value, number)


def json_column(column: Column, raw: str) -> Parts:
    """A value of a JSON object, `raw` as JSON; NULL or JSON's null where it is missing."""
    type = column.type
    text = f"CAST({raw} AS VARCHAR)"
    missing = f"{text} = 'null'"
    quoted = f"starts_with({text}, '\"')"
    inner = f"({raw} ->> '$')"
    match type.name:
        case "any":
            return Parts(column, raw, f"CASE WHEN coalesce({missing}, true) THEN 0 ELSE 1 END", text)
        case "str":
            return Parts(column, raw, _state(text, quoted, missing), inner, asked=_odd(column))
        case "enum":
            good = f"CASE WHEN {quoted} THEN {inner} IN ({_listed(type)}) ELSE false END"
            return Parts(column, raw, _state(text, good, missing), inner)
        case "bool":
            return Parts(
                column, raw, _state(text, f"{text} IN ('true', 'false')", missing), f"{text} = 'true'"
            )
        case "list":
            return Parts(column, raw, f"CASE WHEN {missing} THEN 0 ELSE 1 END", text, asked=True)
        case "int":
            return Parts(column, raw, _state(text, _full(text, grammar.JSON_INT), missing), *_whole(text))
    if type.name == "float":
        missing = f"{text} IN ('null', 'NaN', '-NaN')"
        state = _state(text, _full(text, grammar.JSON_FLOAT), missing)
        return Parts(column, raw, state, f"TRY_CAST({text} AS DOUBLE)")
    # A duration or a size: a number, or text as in a csv file.
    good, value, number = _number(type.name, inner)
    plain = _full(text, grammar.JSON_FLOAT if type.name == "duration" else grammar.JSON_INT)
    state = _state(text, f"CASE WHEN {quoted} THEN {good} ELSE {plain} END", missing)
    return Parts(column, raw, state, value, number)


def _listed(type: ScalarType) -> str:
    return ", ".join(literal(v) for v in type.values) or "NULL"


def _odd(column: Column) -> bool:
    return any(c.op == "matches" and not grammar.safe_pattern(c.pattern or "") for c in column.constraints)


def _full(raw: str, pattern: str) -> str:
    return f"regexp_full_match({raw}, {literal(pattern)})"


def _first(quick: str, exact: str) -> str:
    """`exact` is asked only where `quick`, which takes no more than that, says no."""
    return f"CASE WHEN {quick} THEN true ELSE {exact} END"


def _state(raw: str, good: str, missing: str) -> str:
    otherwise = f"WHEN {missing} THEN 0 " if missing else ""
    return f"CASE WHEN {raw} IS NULL THEN 0 WHEN {good} THEN 1 {otherwise}ELSE 2 END"


def _number(kind: str, raw: str) -> tuple[str, str, str | None]:
    """Whether `raw` is a number of that kind, its value, and its value as a float where that may be more."""
    if kind == "int":
        return _full(raw, grammar.INT), *_whole(raw)
    if kind == "float":
        value = f"TRY_CAST({raw} AS DOUBLE)"
        # A cast is quicker than a pattern, and takes nothing else but underscores.
        quick = f"isfinite({value}) AND NOT contains({raw}, '_')"
        return _first(quick, _full(raw, grammar.FLOAT)), value, None
    pattern, units, plain = (
        (grammar.DURATION, grammar.DURATIONS, grammar.FLOAT)
        if kind == "duration"
        else (grammar.SIZE, grammar.SIZES, grammar.INT)
    )
    unit = f"regexp_extract({raw}, {literal(pattern)}, 2)"
    factors = " ".join(f"WHEN {literal(u)} THEN {f!r}::DOUBLE" for u, f in units.items())
    number = f"TRY_CAST(regexp_extract({raw}, {literal(pattern)}, 1) AS DOUBLE)"
    value = (
        f"CASE WHEN {_full(raw, pattern)} THEN {number} * (CASE {unit} {factors} END)"
        f" ELSE TRY_CAST({raw} AS DOUBLE) END"
    )
    return f"({_full(raw, pattern)} OR {_full(raw, plain)})", value, None


def _whole(raw: str) -> tuple[str, str]:
    return f"TRY_CAST({raw} AS BIGINT)", f"TRY_CAST({raw} AS DOUBLE)"
