"""From table files to the points of a plot: which columns, which kind of plot, and no more points than a
picture can show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from mlflowc.ir import model as ir
from mlflowc.report import curves
from mlflowc.runtime import tables
from mlflowc.runtime.tables import Cell, TableError

KINDS = ("line", "scatter", "bar", "histogram", "confusion", "roc", "pr")
MAX_POINTS = 1000  # a series; a picture 800 pixels wide shows no more
MAX_BARS = 40
_PEEK = 1000  # rows looked at where no column types are declared


class Sheet(NamedTuple):
    """A table file to draw: its series (the stage instance; empty for the only one), and its version. `label`
    is what the pipeline calls the file, which may lie in the cache under the name of its hash."""

    path: Path
    kind: str
    series: str
    old: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is drawn against what. `types` are `number` or `text`, by column.

    `ys` is empty for a histogram, whose values are `x`, and for bars that count. Of a confusion `x` is the
    actual class, `ys` the predicted one and, if there is one, the column of counts.
    """

    kind: str
    x: str
    ys: tuple[str, ...]
    color: str | None = None
    types: tuple[tuple[str, str], ...] = ()

    def numeric(self, column: str) -> bool:
        """Whether the column holds numbers."""
        return dict(self.types).get(column) == "number"


class Series(NamedTuple):
    """The points of one line or one cloud: `name` is which `y` and which instance, `old` whose they are."""

    name: str
    old: bool
    points: tuple[tuple[Cell, Cell], ...]
    total: int


def choose(columns: Sequence[ir.Column], sheet: Sheet, options: dict[str, ir.Value]) -> Choice:
    """What to draw: as `options` (`kind x y color`) say, the rest by the columns. Raises TableError."""
    types = _types(columns, sheet)
    names = tuple(types)
    asked_y = options.get("y")
    ys = tuple(str(y) for y in asked_y) if isinstance(asked_y, tuple) else (str(asked_y),) if asked_y else ()
    color = str(options["color"]) if options.get("color") else None
    kind = str(options.get("kind") or "")
    if kind and kind not in KINDS:
        raise TableError(f"there is no plot of kind `{kind}`: " + ", ".join(KINDS))
    x = str(options["x"]) if options.get("x") else ""
    for name in [*([x] if x else []), *ys, *([color] if color else [])]:
        if name not in types:
            raise TableError(f"there is no column `{name}` in `{sheet.path.name}`: " + ", ".join(names))
    numbers = [n for n in names if types[n] == "number"]
    if not kind and x and not ys and len(names) > 1 and types[x] == "number" and set(numbers) <= {x, color}:
        kind = "histogram"
    if not kind and not x and not ys:
        if len(names) == 1:
            kind = "histogram" if numbers else "bar"
        elif _is_confusion(names):
            kind = "confusion"
        else:
            kind = next((k for k, axes in curves.AXES.items() if curves.named(names, axes)), "")
    if kind == "histogram":
        x = x or (ys[0] if ys else (numbers or list(names))[0])
        return Choice(kind, x, (), color, tuple(types.items()))
    if kind == "confusion":
        return _confusion(names, types, x, ys)
    if kind in curves.AXES:
        return Choice(kind, *curves.columns(kind, names, x, ys), color, tuple(types.items()))
    x = x or next((n for n in names if n not in ys and n != color), names[0])
    if not ys and kind != "bar":
        ys = tuple(n for n in numbers if n not in (x, color))[:6]
    if not ys and kind == "bar":
        ys = tuple(n for n in numbers if n not in (x, color))[:1]
    if not kind:
        kind = _by_types(sheet, x, types)
    if not ys and kind != "bar":
        raise TableError(f"`{sheet.path.name}` has no column of numbers to draw against `{x}`")
    return Choice(kind, x, ys, color, tuple(types.items()))


def _confusion(names: Sequence[str], types: dict[str, str], x: str, ys: tuple[str, ...]) -> Choice:
    """`x` is the actual class and `y` the predicted one; a third column of numbers holds counts."""
    rest = [n for n in names if n != x and n not in ys]
    actual = x or next((n for n in rest if n.lower() in _ACTUAL), rest[0])
    rest = [n for n in rest if n != actual]
    if not ys and not rest:
        raise TableError("a confusion matrix needs two columns, of actual and of predicted classes")
    predicted = ys[0] if ys else next((n for n in rest if n.lower() in _PREDICTED), rest[0])
    counts = [n for n in rest if n != predicted and n.lower() in ("n", "count", "value", "total")]
    return Choice("confusion", actual, (predicted, *counts[:1]), None, tuple(types.items()))


_ACTUAL = ("actual", "true", "truth", "label", "y_true", "target", "expected")
_PREDICTED = ("predicted", "prediction", "pred", "y_pred", "guess", "output")


def _is_confusion(names: Sequence[str]) -> bool:
    lower = [n.lower() for n in names]
    named = any(n in _ACTUAL for n in lower) and any(n in _PREDICTED for n in lower)
    return named and len(names) <= 3


def _by_types(sheet: Sheet, x: str, types: dict[str, str]) -> str:
    """Numbers in rising order are a line, other numbers a cloud, dates a line, other text bars."""
    head = [r.get(x) for r in islice(tables.rows(sheet.path, sheet.kind), _PEEK)]
    if types[x] != "number":
        dates = [v for v in head if isinstance(v, str) and _looks_like_date(v)]
        return "line" if head and len(dates) == len(head) and len(head) > 1 else "bar"
    values = [v for v in head if isinstance(v, int | float)]
    rising = all(a <= b for a, b in pairwise(values))
    return "line" if rising and len(set(values)) > 1 else "scatter"


def _looks_like_date(text: str) -> bool:
    return len(text) >= 7 and text[:4].isdigit() and text[4] == "-" and text[5:7].isdigit()


def _types(columns: Sequence[ir.Column], sheet: Sheet) -> dict[str, str]:
    seen: dict[str, set[str]] = {}
    for row in islice(tables.rows(sheet.path, sheet.kind), _PEEK):
        for name, cell in row.items():
            kinds = seen.setdefault(name, set())
            if cell is not None:
                kinds.add(
                    "number" if isinstance(cell, int | float) and not isinstance(cell, bool) else "text"
                )
    if not seen:
        raise TableError(f"`{sheet.path.name}` has no rows")
    declared = {
        c.name: "number" if c.type.name in ("int", "float", "duration", "size") else "text" for c in columns
    }
    return {n: declared.get(n) or ("number" if k == {"number"} else "text") for n, k in seen.items()}


# --- points ------------------------------------------------------------------------------------


def series(choice: Choice, sheets: Iterable[Sheet]) -> tuple[Series, ...]:
    """The series of a line, scatter or bar plot, thinned to what can be shown."""
    made: list[Series] = []
    many_y = len(choice.ys) > 1
    if choice.kind in curves.AXES:
        return tuple(_curves(choice, sheets))
    for sheet in sheets:
        groups: dict[tuple[str, str], list[tuple[Cell, Cell]]] = {}
        counts: dict[tuple[str, Cell], int] = {}
        for row in tables.rows(sheet.path, sheet.kind):
            x = row.get(choice.x)
            group = "" if choice.color is None else label(row.get(choice.color))
            if not choice.ys:
                counts[group, x] = counts.get((group, x), 0) + 1
            for y in choice.ys:
                value = row.get(y)
                if x is not None and number(value) is not None:
                    groups.setdefault((group, y), []).append((x, value))
        for (group, x), n in counts.items():
            groups.setdefault((group, ""), []).append((x, n))
        for (group, y), points in groups.items():
            name = " · ".join(p for p in (sheet.series, group, y if many_y else "") if p)
            made.append(Series(name, sheet.old, tuple(_thin(choice.kind, points)), len(points)))
    return tuple(made)


def _curves(choice: Choice, sheets: Iterable[Sheet]) -> Iterable[Series]:
    """ROC and precision-recall curves: as the table has them, or made from classes and scores."""
    for sheet in sheets:
        groups: dict[str, list[tuple[Cell, Cell]]] = {}
        for row in tables.rows(sheet.path, sheet.kind):
            group = "" if choice.color is None else label(row.get(choice.color))
            groups.setdefault(group, []).append((row.get(choice.x), row.get(choice.ys[0])))
        for group, pairs in groups.items():
            whole = curves.points(choice.kind, choice.x, pairs)
            name = " · ".join(p for p in (sheet.series, group) if p)
            yield Series(name, sheet.old, tuple(_thin("line", list(whole))), len(whole))


def _thin(kind: str, points: list[tuple[Cell, Cell]]) -> Iterable[tuple[Cell, Cell]]:
    if kind == "bar":
        return points[:MAX_BARS]
    if len(points) <= MAX_POINTS:
        return points
    if kind == "scatter":
        step = len(points) / MAX_POINTS
        return [points[int(n * step)] for n in range(MAX_POINTS)]
    return _extremes(points)


def _extremes(points: list[tuple[Cell, Cell]]) -> Iterable[tuple[Cell, Cell]]:
    """The first and the last point, and of each stretch between them its lowest and highest: spikes stay."""
    kept = {0, len(points) - 1}
    stretches = MAX_POINTS // 2 - 1
    for n in range(stretches):
        stretch = range(n * len(points) // stretches, (n + 1) * len(points) // stretches)
        if stretch:
            kept.add(min(stretch, key=lambda i: number(points[i][1]) or 0.0))
            kept.add(max(stretch, key=lambda i: number(points[i][1]) or 0.0))
    return [points[i] for i in sorted(kept)]


class Bin(NamedTuple):
    """One bar of a histogram: half-open, the last one closed."""

    low: float
    high: float
    n: int


class Histogram(NamedTuple):
    """All values of one series in bins shared by all series, and their count, mean, least and greatest."""

    name: str
    old: bool
    bins: tuple[Bin, ...]
    total: int
    mean: float
    low: float
    high: float


def histograms(choice: Choice, sheets: Iterable[Sheet], bins: int | None = None) -> tuple[Histogram, ...]:
    """Counts every value, however long the file; empty where there is no number at all."""
    found: list[tuple[str, bool, list[float]]] = []
    for sheet in sheets:
        values: dict[str, list[float]] = {}
        for row in tables.rows(sheet.path, sheet.kind):
            value = number(row.get(choice.x))
            if value is not None:
                group = "" if choice.color is None else label(row.get(choice.color))
                values.setdefault(group, []).append(value)
        for group, numbers in values.items():
            found.append((" · ".join(p for p in (sheet.series, group) if p), sheet.old, numbers))
    if not found:
        return ()
    low = min(min(v) for _, _, v in found)
    high = max(max(v) for _, _, v in found)
    edges = _edges(low, high, bins or min(40, max(8, round(math.sqrt(max(len(v) for _, _, v in found))))))
    return tuple(
        Histogram(n, old, _count(v, edges), len(v), math.fsum(v) / len(v), min(v), max(v))
        for n, old, v in found
    )


def _edges(low: float, high: float, wanted: int) -> list[float]:
    """Edges at round numbers, about `wanted` bins from `low` to `high`."""
    if low == high:
        return [low - 0.5, low + 0.5]
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if raw <= power * m * 1.0000001)
    first = math.floor(low / step)
    last = math.ceil(high / step)
    return [float(f"{n * step:.12g}") for n in range(first, max(last, first + 1) + 1)]


def _count(values: list[float], edges: list[float]) -> tuple[Bin, ...]:
    counts = [0] * (len(edges) - 1)
    step = edges[1] - edges[0]
    for v in values:
        counts[min(len(counts) - 1, max(0, int((v - edges[0]) / step)))] += 1
    return tuple(Bin(edges[n], edges[n + 1], c) for n, c in enumerate(counts))


def confusion(choice: Choice, sheet: Sheet) -> dict[tuple[str, str], float]:
    """How often each (actual, predicted) pair is in the table; a column of counts adds up."""
    cells: dict[tuple[str, str], float] = {}
    for row in tables.rows(sheet.path, sheet.kind):
        pair = label(row.get(choice.x)), label(row.get(choice.ys[0]))
        weight = number(row.get(choice.ys[1])) if len(choice.ys) > 1 else 1
        cells[pair] = cells.get(pair, 0) + (weight or 0)
    return cells


def classes(cells: Iterable[tuple[str, str]]) -> list[str]:
    """The classes of a confusion in order: numbers by value, then names."""
    names = {name for pair in cells for name in pair}
    return sorted(names, key=lambda n: (0, float(n), n) if _is_number(n) else (1, 0.0, n))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def number(cell: Cell) -> float | None:
    """The cell as a finite number, else None."""
    if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
        return float(cell)
    return None


def label(cell: Cell) -> str:
    """The cell as the name of a class or a series."""
    return "(none)" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)
