"""Figures and states of a report in words: the same ones in Markdown and on the page."""

from __future__ import annotations

from mlflowc.ir import model as ir
from mlflowc.report.model import MetricRow, Stages, Table
from mlflowc.runtime import progress
from mlflowc.runtime.gate_table import number, signed
from mlflowc.runtime.tables import Cell

_STATES = {
    "ran": "ran",
    "cached": "cached",
    "current": "up to date",
    "changed": "out of date",
    "missing": "not run yet",
}


def cell(value: Cell) -> str:
    """A cell: four digits of a number, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, int | float) else value


def digest(table: Table) -> list[tuple[str, ...]]:
    """The rows of a digest in words."""
    return [tuple(cell(c) for c in row) for row in table.rows]


def difference(row: MetricRow) -> tuple[str, str]:
    """The change of a metric, absolute and as a percentage: `("+0.012", "+1.3 %")`; two blanks if unknown."""
    if row.difference is None:
        return "", ""
    if row.difference == 0:
        return "0", ""
    relative = "" if row.relative is None else f"{row.relative * 100:+.1f} %"
    return signed(row.difference, row.unit), relative


def trend(row: MetricRow) -> str:
    """`▲ better`, `▼ worse`; an arrow alone where nobody said what is better, nothing for no change."""
    if not row.difference:
        return ""
    return f"{'▲' if row.difference > 0 else '▼'} {row.verdict}".strip()


def measured(value: float | None, unit: str) -> str:
    """A metric's value with its unit, nothing for None."""
    return "" if value is None else number(value, unit)


def many(count: int | None) -> str:
    """`1,797`, nothing for None."""
    return "" if count is None else f"{count:,}"


def checks(verdict: str) -> str:
    """What came of checking data against its type."""
    return {"good": "ok", "bad": "**not what its type says**"}.get(verdict, "")


def money(cost: float | None) -> str:
    """`1.25`, `0`, nothing for None."""
    return "" if cost is None else "0" if not cost else f"{cost:.2f}" if cost >= 0.01 else "< 0.01"


def tally(section: Stages) -> str:
    """`2 ran (3 min 5 s, 1.20), 3 cached (saved 1 h 2 min)`."""
    parts = []
    for state in dict.fromkeys(r.state for r in section.rows):
        rows = [r for r in section.rows if r.state == state]
        seconds = sum(r.seconds or 0 for r in rows)
        cost = sum(r.cost or 0 for r in rows)
        more = [] if state not in ("ran", "cached") or not seconds else [duration(seconds)]
        if state == "cached" and more:
            more = [f"saved {more[0]}"]
        more += [money(cost)] if cost else []
        parts.append(f"{len(rows)} {states(state)}" + (f" ({', '.join(more)})" if more else ""))
    return ", ".join(parts) + "."


def literal(value: ir.Value) -> str:
    """A parameter's value as one writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(literal(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {literal(v)}" for k, v in value.items()) + "}"
    return "none" if value is None else str(value)


def duration(seconds: float | None) -> str:
    """`400 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`; nothing for None."""
    return "" if seconds is None else progress.duration(seconds)


def size(number_of_bytes: int | None) -> str:
    """`812 B`, `3.4 kB`, `12.0 MB`; nothing for None."""
    return "" if number_of_bytes is None else progress.size(number_of_bytes)


def states(state: str) -> str:
    """A stage's state."""
    return _STATES.get(state, state)
