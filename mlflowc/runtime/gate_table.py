"""Gates in words: expressions as one writes them, figures, and the table on the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

from mlflowc.ir import model as ir
from mlflowc.runtime.gate_result import GateResult, Row

_BINDS = {
    "or": 1,
    "and": 2,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "==": 4,
    "!=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
}


def expression(expr: ir.Expr, outer: int = 0) -> str:
    """`expr` as one writes it, with the parentheses that it needs inside something that binds as `outer`."""
    match expr:
        case ir.Number():
            return f"{expr.value}{expr.unit}"
        case ir.ParamRef():
            return f"params.{expr.name}"
        case ir.Rows():
            return f"{expr.stage}.{expr.output}.rows"
        case ir.Metric() if expr.data is not None:
            return f"{expr.data}.{expr.field}"
        case ir.Metric():
            stage = (
                expr.stages[0].split("[")[0] + "[*]" if expr.many and expr.stages else "".join(expr.stages)
            )
            of = f'baseline("{expr.baseline}").' if expr.baseline is not None else ""
            return f"{of}{stage}.{expr.output}.{expr.field}"
        case ir.Call():
            options = [f"{k} = {expression(v)}" for k, v in expr.options]
            return f"{expr.function}({', '.join([expression(a) for a in expr.args] + options)})"
        case ir.Unary(op="not"):
            return f"not {expression(expr.operand, 3)}"
        case ir.Unary():
            return f"-{expression(expr.operand, 7)}"
        case ir.Binary():
            bind = _BINDS[expr.op]
            text = f"{expression(expr.left, bind)} {expr.op} {expression(expr.right, bind + 1)}"
            return f"({text})" if bind < outer else text


def number(value: float, unit: str = "", digits: int = 4) -> str:
    """A figure for a reader: so many significant digits, whole numbers whole, with its unit."""
    if unit == "%":
        return f"{number(value * 100, digits=digits)} %"
    if unit:
        return f"{number(value, digits=digits)} {unit}"
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if 1000 <= abs(value) < 1e9:
        return f"{value:.{max(1, digits - 4)}f}"
    return f"{value:.{digits}g}"


def render(result: GateResult, width: int = 80, *, colour: Callable[..., str] | None = None) -> str:
    """The result as a small table of at most `width` columns, with a line break at its end; where the
    conditions have no room beside their figures, these stand below.

    `colour` is `terminal.style` where colour is wanted.
    """
    paint = colour or (lambda text, *_: text)
    based = any(r.baseline is not None for r in result.rows)
    heads = ("found", "required", *(("baseline", "change") if based else ()))
    cells = [_cells(r, based) for r in result.rows]
    sizes = [max(len(h), *(len(c[n]) for c in cells)) if cells else len(h) for n, h in enumerate(heads)]
    room = max(18, min(width, 110) - 6 - sum(s + 2 for s in sizes))
    if room < min(28, max((len(r.text) for r in result.rows), default=0)):
        return _stacked(result, cells, heads, width, paint)
    texts = [textwrap.wrap(r.text, room, break_on_hyphens=False) or [""] for r in result.rows]
    room = max(len(t) for lines in [*texts, ["gate " + result.name]] for t in lines)
    head = f"gate {result.name}".ljust(room) + "".join(
        "  " + h.rjust(s) for h, s in zip(heads, sizes, strict=True)
    )
    lines = ["      " + paint(head.rstrip(), "dim")]
    for row, figures, text in zip(result.rows, cells, texts, strict=True):
        mark = paint("ok    ", "green") if row.passed else paint("FAIL", "red", "bold") + "  "
        columns = "".join("  " + c.rjust(s) for c, s in zip(figures, sizes, strict=True))
        lines.append(f"{mark}{text[0].ljust(room)}{columns}".rstrip())
        lines += ["      " + t for t in text[1:]]
        lines += _below(row, width, paint)
    return "\n".join([*lines, _last(result, paint)]) + "\n"


def block(result: GateResult) -> str:
    """The table as a code block of Markdown: indented, so that no name in it can end it."""
    return "".join(f"    {line}\n" for line in render(result, 100).rstrip("\n").split("\n"))


def _stacked(
    result: GateResult,
    cells: Sequence[tuple[str, ...]],
    heads: Sequence[str],
    width: int,
    paint: Callable[..., str],
) -> str:
    """The same where a table has no room: a condition, and its figures below."""
    lines = []
    for row, figures in zip(result.rows, cells, strict=True):
        mark = paint("ok    ", "green") if row.passed else paint("FAIL", "red", "bold") + "  "
        first, *rest = textwrap.wrap(row.text, max(20, width - 6), break_on_hyphens=False) or [""]
        lines += [mark + first, *("      " + t for t in rest)]
        words = ", ".join(f"{h} {f}" for h, f in zip(heads, figures, strict=True) if f)
        lines += ["        " + t for t in textwrap.wrap(words, max(20, width - 8))]
        lines += _below(row, width, paint)
    return "\n".join([*lines, _last(result, paint)]) + "\n"


def _below(row: Row, width: int, paint: Callable[..., str]) -> list[str]:
    """What is said of a row under it."""
    room = max(20, width - 8)
    lines = ["        " + paint(t, "dim") for t in textwrap.wrap(row.detail, room)]
    notes = textwrap.wrap(row.note, room)
    return lines + ["        " + paint(t, "yellow" if row.passed else "red") for t in notes]


def _last(result: GateResult, paint: Callable[..., str]) -> str:
    held = sum(r.passed for r in result.rows)
    words = f"gate {result.name}: {held} of {len(result.rows)} hold"
    return paint(words, "green") if result.passed else paint(words, "red", "bold")


def _cells(row: Row, based: bool) -> tuple[str, ...]:
    base = "" if row.baseline is None else number(row.baseline, row.unit)
    change = "" if row.difference is None else signed(row.difference, row.unit)
    return (row.found, row.required, base, change) if based else (row.found, row.required)


def signed(value: float, unit: str = "") -> str:
    """A difference with its sign: `+0.02`, `-3`, `0`, `+12 s`."""
    text = number(value, unit)
    return text if value <= 0 else "+" + text
