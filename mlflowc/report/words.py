"""Figures and states of a report in words: the same ones in Markdown and on the page."""

from __future__ import annotations

from mlflowc.ir import model as ir
from mlflowc.report.model import MetricRow, Table
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
    return signed(row.difference), relative


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
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(number_of_bytes: int | None) -> str:
    """`812 B`, `3.4 kB`, `12 MB`; nothing for None."""
    if number_of_bytes is None:
        return ""
    if number_of_bytes < 1000:
        return f"{number_of_bytes} B"
    power = min(4, (len(str(number_of_bytes)) - 1) // 3)
    value = number_of_bytes / 1000**power
    return f"{value:.0f} {'kMGT'[power - 1]}B" if value >= 10 else f"{value:.1f} {'kMGT'[power - 1]}B"


def states(state: str) -> str:
    """A stage's state."""
    return _STATES.get(state, state)
