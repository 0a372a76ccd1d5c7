"""Decides `better(…)` and `no_worse(…)` of a gate, and says what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mlflowc.ir import model as ir
from mlflowc.runtime import comparison
from mlflowc.runtime.comparison import Comparison, TooFewError
from mlflowc.runtime.gate_table import number, signed

FUNCTIONS = ("better", "no_worse")


class Decided(NamedTuple):
    """The verdict and its words, in the order of `gate_result.Row`."""

    held: bool
    found: str
    required: str
    baseline: float
    difference: float
    note: str
    detail: str


def decide(
    call: ir.Call, now: dict[str, float], before: dict[str, float] | float, option: Callable[[str], float]
) -> Decided:
    """Compares. `now` and `before` are values by stage id; `option` gives the value of an option's
    expression. Raises TooFewError."""
    (metric,) = call.args
    assert isinstance(metric, ir.Metric)
    options = dict(call.options)
    by = options.get("by")
    relative = isinstance(by, ir.Number) and by.unit == "%"
    made = comparison.compare(
        _by_instance(now),
        _by_instance(before) if isinstance(before, dict) and len(now) > 1 else _one(before),
        lower=metric.lower,
        by=option("by") if by is not None else 0.0,
        relative=relative,
        worse=call.function == "no_worse",
        confidence=option("confidence") if "confidence" in options else None,
    )
    return Decided(
        made.held,
        *_sides(made, call.function == "no_worse", metric),
        made.before,
        made.now - made.before,
        _note(made),
        _detail(made, metric, relative),
    )


def _by_instance(values: dict[str, float]) -> dict[str, float]:
    """By what stands in the brackets: `train[1]` and `former[1]` are a pair."""
    short = {k.partition("[")[2] or k: v for k, v in values.items()}
    return short if len(short) == len(values) else values


def _one(value: dict[str, float] | float) -> dict[str, float] | float:
    if not isinstance(value, dict):
        return value
    return next(iter(value.values())) if len(value) == 1 else _by_instance(value)


def _sides(made: Comparison, worse: bool, metric: ir.Metric) -> tuple[str, str]:
    """What was found and required, with as many digits as it takes to tell them apart."""
    edge = made.before + (-made.wanted if metric.lower else made.wanted)
    strict = not worse and made.wanted == 0
    sign = ("<" if metric.lower else ">") + ("" if strict else "=")
    for digits in (4, 6, 9, 15):
        found, wanted = number(made.now, metric.unit, digits), number(edge, metric.unit, digits)
        if found != wanted or made.now == edge:
            break
    return found, f"{sign} {wanted}"


def _note(made: Comparison) -> str:
    """Why the mean is enough and the comparison does not hold."""
    if made.held or made.least is None or made.gain < made.wanted or made.gain <= 0:
        return ""
    return "the mean is enough, but it varies too much to be sure: more seeds would tell"


def _detail(made: Comparison, metric: ir.Metric, relative: bool) -> str:
    words = ["less is better" if metric.lower else "more is better"]
    if made.pairs > 1:
        words.append(f"mean of {made.pairs} pairs")
    elif max(made.sizes) > 1:
        words.append(f"means of {made.sizes[0]} and {made.sizes[1]}")
    gain = f"gain {_gain(made, made.gain, metric, relative)}"
    if made.least is not None and made.confidence is not None:
        gain += f", at least {_gain(made, made.least, metric, relative)}"
        gain += f" with {number(made.confidence * 100)} % confidence"
    words.append(gain)
    if made.wanted:
        words.append(f"wanted {_gain(made, made.wanted, metric, relative)}")
    if not made.varies and made.gain:
        words.append("all differences are the same: does the seed reach the command?")
    return "; ".join(words)


def _gain(made: Comparison, value: float, metric: ir.Metric, relative: bool) -> str:
    share = made.share(value)
    if relative and share is not None:
        return signed(round(share * 100, 4)) + " %"
    return signed(value) + (f" {metric.unit}" if metric.unit else "")


__all__ = ["FUNCTIONS", "Decided", "TooFewError", "decide"]
