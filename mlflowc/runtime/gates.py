"""Gates: requirements over metrics, evaluated on the current results and on baselines.

What an expression means
- A percentage added to or subtracted from a quantity changes it by that share of its size:
  `baseline(..) - 5%` is 5 % lower, also where the baseline is negative. Any other percentage is a
  fraction (`5%` is 0.05), and so is a sum of percentages.
- A metric of several stage instances (`train[*].scores.auc`) is a list by instance. Arithmetic works on
  each, two lists meet by instance, a comparison holds when it holds for every instance, and
  `mean min max sum std` make one number of it (`std` is that of a sample: n - 1; 0 for one value).
- A current metric that is missing or not a finite number fails the requirement, whatever else it says.
- A baseline that is missing makes what depends on it unknown: `and` is still false with one false side, `or`
  true with one true side; a requirement that stays unknown passes or fails as `missing = pass|fail` says.
- `%`, seconds and bytes are plain numbers once read; dividing by zero fails the requirement. Numbers that
  differ by less than 1e-12 of their size are equal.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import stdev
from typing import TYPE_CHECKING

from mlflowc.ir import model as ir
from mlflowc.runtime import baseline, gate_better, measured, tables
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.gate_data import figures
from mlflowc.runtime.gate_result import GateResult, Row
from mlflowc.runtime.gate_table import expression, number, render

if TYPE_CHECKING:
    from mlflowc.runtime.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a gate may look at. `baseline` gives the snapshot of a revision; `rows` counts those of a
    table output, `data` gives the numbers of a data source; both raise LookupError with a sentence that says
    why they cannot."""

    current: Snapshot
    baseline: Callable[[str], Snapshot]
    params: Mapping[str, ir.Value]
    rows: Callable[[str, str], int]
    data: Callable[[str], Mapping[str, float]] = lambda _: {}


class _Unknown:
    """The value of what depends on a baseline that is not there."""


class _ProblemError(Exception):
    """A requirement cannot hold; the text says why."""


__all__ = ["Facts", "GateResult", "Row", "check", "evaluate", "render"]

UNKNOWN = _Unknown()
Numbers = dict[str, float]
_Value = float | Numbers | _Unknown | bool | str


def _same(a: float, b: float) -> bool:
    """Equal but for what arithmetic on binary fractions loses: `0.83 - 0.005` is 0.825."""
    return math.isclose(a, b, rel_tol=1e-12)


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b and not _same(a, b),
    "<=": lambda a, b: a <= b or _same(a, b),
    ">": lambda a, b: a > b and not _same(a, b),
    ">=": lambda a, b: a >= b or _same(a, b),
    "==": _same,
    "!=": lambda a, b: not _same(a, b),
}
_REDUCE: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda xs: math.fsum(xs) / len(xs),
    "min": min,
    "max": max,
    "sum": math.fsum,
    "std": lambda xs: stdev(xs) if len(xs) > 1 else 0.0,
}


def evaluate(gate: ir.Gate, facts: Facts) -> GateResult:
    """Decides every requirement of `gate`. A requirement made of `and` gives a row for each of its parts."""
    rows: list[Row] = []
    for requirement in gate.requirements:
        parts = _conjuncts(requirement.expr)
        for part in parts:
            text = requirement.text if len(parts) == 1 else expression(part)
            row = _decide(part, text, facts)
            if not row.passed and requirement.message:
                note = f"{requirement.message} ({row.note})" if row.note else requirement.message
                row = replace(row, note=note)
            rows.append(row)
    return GateResult(gate.name, tuple(rows))


def check(ws: Workspace, gate: ir.Gate) -> GateResult:
    """Decides `gate` on what the workspace's lock holds now, and on baselines from git."""
    now = Snapshot(stages={**ws.lock.stages(), **measured.entries(ws, gate.stages)})
    kinds = {(s.id, o.name): o.type.kind for s in ws.pipeline.stages for o in s.outputs}

    def rows(stage: str, output: str) -> int:
        found = now.output(stage, output)
        if found is None:
            raise LookupError(f"{stage}.{output} has no rows yet: `{stage}` has not run")
        path = baseline.locate(ws.root, ws.store, found)
        if path is None:
            raise LookupError(f"the content of {stage}.{output} is not here to be counted")
        try:
            return tables.count(path, kinds[stage, output])
        except tables.TableError as e:
            raise LookupError(str(e)) from None

    before = functools.cache(lambda revision: baseline.at(ws.root, revision))
    return evaluate(gate, Facts(now, before, ws.params, rows, functools.cache(lambda n: figures(ws, n))))


def kinds_of(expr: ir.Expr) -> Iterable[type]:
    """The classes of all parts of an expression; `ir.Metric` with a baseline gives `Snapshot`, too, and one
    of a data source `ir.Data`."""
    yield type(expr)
    match expr:
        case ir.Metric() if expr.data is not None:
            yield ir.Data
        case ir.Metric() if expr.baseline is not None:
            yield Snapshot
        case ir.Unary():
            yield from kinds_of(expr.operand)
        case ir.Binary():
            yield from kinds_of(expr.left)
            yield from kinds_of(expr.right)
        case ir.Call():
            for part in (*expr.args, *(value for _, value in expr.options)):
                yield from kinds_of(part)


# --- evaluation --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """What was noticed while evaluating one row."""

    baselines: list[float | Numbers] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    fails: bool = False
    failing: list[str] = field(default_factory=list)


def _decide(expr: ir.Expr, text: str, facts: Facts) -> Row:
    seen = _Seen()
    found = required = ""
    difference: float | None = None
    note = ""
    try:
        _demand_current(expr, facts)
        if isinstance(expr, ir.Binary) and expr.op in _COMPARE:
            left, right = _value(expr.left, facts, seen), _value(expr.right, facts, seen)
            found, required = _shown(left, right, _unit(expr))
            required = required and f"{expr.op} {required}"
            verdict = _compare(expr.op, left, right, seen)
            if len(seen.baselines) == 1 and isinstance(left, float) and isinstance(seen.baselines[0], float):
                difference = left - seen.baselines[0]
        elif isinstance(expr, ir.Call) and expr.function in gate_better.FUNCTIONS:
            made = _better(expr, facts, seen)
            if isinstance(made, gate_better.Decided):
                return Row(text, *made, _written_unit(expr))
            verdict = made
        else:
            verdict = _truth(_value(expr, facts, seen))
            note = _figures(expr, facts)
    except _ProblemError as problem:
        return Row(text, False, found, required, note=str(problem))
    except OverflowError:
        # A sum of numbers that are finite need not be, and an integer of JSON may be no `float`.
        return Row(text, False, found, required, note="a number in it grows beyond all bounds")
    base = seen.baselines[0] if len(seen.baselines) == 1 and isinstance(seen.baselines[0], float) else None
    if isinstance(verdict, _Unknown):
        note = "; ".join(dict.fromkeys(seen.absent))
        return Row(text, not seen.fails, found, required, None, None, note)
    if verdict:
        note = ""
    elif seen.failing:
        note = "not in " + ", ".join(seen.failing)
    return Row(text, verdict, found, required, base, difference, note, unit=_written_unit(expr))


def _value(expr: ir.Expr, facts: Facts, seen: _Seen) -> _Value:
    match expr:
        case ir.Number():
            return expr.value / 100 if expr.unit == "%" else float(expr.value)
        case ir.Metric():
            return _metric(expr, facts, seen)
        case ir.ParamRef():
            return _param(expr.name, facts)
        case ir.Rows():
            try:
                return float(facts.rows(expr.stage, expr.output))
            except LookupError as e:
                raise _ProblemError(str(e.args[0])) from None
        case ir.Unary(op="not"):
            held = _truth(_value(expr.operand, facts, seen))
            return held if isinstance(held, _Unknown) else not held
        case ir.Unary():
            return _each(lambda x: -x, _value(expr.operand, facts, seen))
        case ir.Call():
            return _call(expr, facts, seen)
        case ir.Binary(op="and" | "or"):
            return _logic(expr, facts, seen)
        case ir.Binary():
            left, right = _value(expr.left, facts, seen), _value(expr.right, facts, seen)
            if expr.op in _COMPARE:
                return _compare(expr.op, left, right, seen)
            if expr.op in "+-" and _percentage(expr.right) and not _percentage(expr.left):
                sign = 1 if expr.op == "+" else -1
                return _zip(lambda x, share: x + sign * share * abs(x), left, right)
            return _zip(_ARITHMETIC[expr.op], left, right)


def _divide(a: float, b: float) -> float:
    if b == 0:
        raise _ProblemError("it divides by zero")
    return a / b


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
}


def _metric(metric: ir.Metric, facts: Facts, seen: _Seen) -> _Value:
    if metric.data is not None:
        return _of_data(metric, facts)
    snapshot = facts.current if metric.baseline is None else facts.baseline(metric.baseline)
    values: Numbers = {}
    for stage in metric.stages:
        value = snapshot.metric(stage, metric.output, metric.field)
        if value is None or not math.isfinite(value):
            # A current value was demanded before; so this is one of a baseline.
            fails = metric.missing == "fail" or snapshot.misspelt
            held = "fails" if fails else "passes"
            why = snapshot.note or f"`{metric.baseline}` has no {stage}.{metric.output}.{metric.field}"
            if value is not None:
                why = f"{stage}.{metric.output}.{metric.field} is {value} at `{metric.baseline}`"
            seen.absent.append(f"{why}: {held}")
            seen.fails |= fails
            return UNKNOWN
        values[stage] = float(value)
    found: float | Numbers = values if metric.many else next(iter(values.values()))
    if metric.baseline is not None:
        seen.baselines.append(found)
    return found


def _of_data(metric: ir.Metric, facts: Facts) -> float:
    assert metric.data is not None
    try:
        value = facts.data(metric.data).get(metric.field)
    except LookupError as e:
        raise _ProblemError(str(e.args[0])) from None
    if value is None:
        raise _ProblemError(f"{metric.data}.{metric.field} is missing")
    if not math.isfinite(value):
        raise _ProblemError(f"{metric.data}.{metric.field} is {value}")
    return float(value)


def _demand_current(expr: ir.Expr, facts: Facts) -> None:
    """Every current metric in `expr` must be there and finite; `or` does not excuse one that is not."""
    for metric in _metrics(expr):
        if metric.baseline is not None or metric.data is not None:
            continue
        if not metric.stages:
            raise _ProblemError(f"no stage writes {metric.output}.{metric.field}")
        for stage in metric.stages:
            name = f"{stage}.{metric.output}.{metric.field}"
            value = facts.current.metric(stage, metric.output, metric.field)
            if value is None:
                ran = stage in facts.current.stages
                raise _ProblemError(f"{name} is missing" + ("" if ran else f": `{stage}` has not run"))
            if not math.isfinite(value):
                raise _ProblemError(f"{name} is {value}")


def _param(name: str, facts: Facts) -> _Value:
    value = facts.params.get(name)
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    raise _ProblemError(f"the parameter {name} is no number")


def _better(call: ir.Call, facts: Facts, seen: _Seen) -> gate_better.Decided | _Unknown:
    options = dict(call.options)
    now, before = _value(call.args[0], facts, seen), _value(_present(options["than"], facts), facts, seen)
    if isinstance(before, _Unknown):
        return UNKNOWN
    assert isinstance(now, float | dict)
    values = now if isinstance(now, dict) else {"": now}
    try:
        return gate_better.decide(
            call,
            values,
            before if isinstance(before, dict) else _number(before),
            lambda key: _number(_value(options[key], facts, _Seen())),
        )
    except gate_better.TooFewError as e:
        raise _ProblemError(str(e)) from None


def _present(than: ir.Expr, facts: Facts) -> ir.Expr:
    """A baseline of several instances without those that it did not have: a seed may be a new one."""
    if not (isinstance(than, ir.Metric) and than.many and than.baseline is not None):
        return than
    snapshot = facts.baseline(than.baseline)
    there = [s for s in than.stages if snapshot.metric(s, than.output, than.field) is not None]
    return replace(than, stages=tuple(there)) if there else than


def _call(call: ir.Call, facts: Facts, seen: _Seen) -> _Value:
    if call.function in gate_better.FUNCTIONS:
        made = _better(call, facts, seen)
        return made.held if isinstance(made, gate_better.Decided) else made
    values = [_value(a, facts, seen) for a in call.args]
    if any(isinstance(v, _Unknown) for v in values):
        return UNKNOWN
    if call.function == "abs" and len(values) == 1:
        return _each(abs, values[0])
    if call.function not in _REDUCE:
        raise _ProblemError(f"`{call.function}` is no function of gates")
    flat: list[float] = []
    for v in values:
        flat += v.values() if isinstance(v, dict) else [_number(v)]
    if not flat:
        raise _ProblemError(f"`{call.function}` of nothing")
    return float(_REDUCE[call.function](flat))


def _logic(expr: ir.Binary, facts: Facts, seen: _Seen) -> bool | _Unknown:
    sides = [_truth(_value(e, facts, seen)) for e in (expr.left, expr.right)]
    decisive = expr.op == "or"
    if decisive in sides:
        return decisive
    return UNKNOWN if UNKNOWN in sides else not decisive


def _compare(op: str, left: _Value, right: _Value, seen: _Seen) -> bool | _Unknown:
    if isinstance(left, _Unknown) or isinstance(right, _Unknown):
        return UNKNOWN
    if isinstance(left, str) or isinstance(right, str) or isinstance(left, bool) or isinstance(right, bool):
        if op not in ("==", "!=") or type(left) is not type(right):
            raise _ProblemError(f"{_words(left)} and {_words(right)} cannot be compared by {op}")
        return (left == right) is (op == "==")
    held = _COMPARE[op]
    verdicts = {k: held(*pair) for k, pair in _pairs(left, right).items()}
    seen.failing += [k for k, ok in verdicts.items() if not ok and k]
    return all(verdicts.values())


def _pairs(left: _Value, right: _Value) -> dict[str, tuple[float, float]]:
    """The two sides by stage instance; under ``""`` when neither is a list."""
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            raise _ProblemError(
                "its two lists are of different stages: " + ", ".join(sorted(left.keys() ^ right.keys()))
            )
        return {k: (v, right[k]) for k, v in left.items()}
    if isinstance(left, dict):
        return {k: (v, _number(right)) for k, v in left.items()}
    if isinstance(right, dict):
        return {k: (_number(left), v) for k, v in right.items()}
    return {"": (_number(left), _number(right))}


def _zip(f: Callable[[float, float], float], left: _Value, right: _Value) -> _Value:
    if isinstance(left, _Unknown) or isinstance(right, _Unknown):
        return UNKNOWN
    made = {k: _finite(f(*pair)) for k, pair in _pairs(left, right).items()}
    return made if isinstance(left, dict) or isinstance(right, dict) else made[""]


def _each(f: Callable[[float], float], value: _Value) -> _Value:
    if isinstance(value, _Unknown):
        return UNKNOWN
    return {k: f(v) for k, v in value.items()} if isinstance(value, dict) else f(_number(value))


def _number(value: _Value) -> float:
    if isinstance(value, float):
        return value
    raise _ProblemError(f"{_words(value)} is no number")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _ProblemError("a number in it grows beyond all bounds")
    return value


def _truth(value: _Value) -> bool | _Unknown:
    if isinstance(value, bool | _Unknown):
        return value
    raise _ProblemError(f"{_words(value)} is neither true nor false")


def _percentage(expr: ir.Expr) -> bool:
    match expr:
        case ir.Number():
            return expr.unit == "%"
        case ir.Unary(op="-"):
            return _percentage(expr.operand)
        case ir.Binary(op="+" | "-"):
            return _percentage(expr.left) and _percentage(expr.right)
    return False


def _conjuncts(expr: ir.Expr) -> list[ir.Expr]:
    if isinstance(expr, ir.Binary) and expr.op == "and":
        return _conjuncts(expr.left) + _conjuncts(expr.right)
    return [expr]


def _metrics(expr: ir.Expr) -> Iterable[ir.Metric]:
    match expr:
        case ir.Metric():
            yield expr
        case ir.Unary():
            yield from _metrics(expr.operand)
        case ir.Binary():
            yield from _metrics(expr.left)
            yield from _metrics(expr.right)
        case ir.Call():
            for a in (*expr.args, *(value for _, value in expr.options)):
                yield from _metrics(a)


def _written_unit(expr: ir.Expr) -> str:
    """The unit that the difference of a row has: that of its metrics."""
    units = {m.unit for m in _metrics(expr)}
    return units.pop() if len(units) == 1 else ""


def _shown(left: _Value, right: _Value, unit: str) -> tuple[str, str]:
    """Both sides with as many digits as it takes to tell them apart."""
    for digits in (4, 6, 9, 15):
        shown = _words(left, unit, digits), _words(right, unit, digits)
        if shown[0] != shown[1] or left == right:
            break
    return shown


def _words(value: _Value, unit: str = "", digits: int = 4) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case float():
            return number(value, unit, digits)
        case dict():
            low, high = (number(f(value.values()), unit, digits) for f in (min, max))
            return low if low == high else f"{low}..{high}"
    return ""


def _unit(comparison: ir.Binary) -> str:
    """The unit that one side is written in: then both read best in it."""
    for side in (comparison.left, comparison.right):
        if _percentage(side):
            return "%"
        if isinstance(side, ir.Number) and side.unit:
            return side.unit
    return ""


def _figures(expr: ir.Expr, facts: Facts) -> str:
    """`name = value` of each metric, for a condition that is not one comparison."""
    parts = []
    for metric in dict.fromkeys(_metrics(expr)):
        value = _metric(metric, facts, _Seen())
        if not isinstance(value, _Unknown):
            parts.append(f"{expression(metric)} = {_words(value)}")
    return ", ".join(parts)
