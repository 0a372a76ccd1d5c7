"""The plots of a report: from table files and a report's settings to pictures, a digest and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlflowc.ir import model as ir
from mlflowc.report import curves, points, specs
from mlflowc.report.model import Baseline, Chart, Plot, Table
from mlflowc.report.points import Choice, Series, Sheet
from mlflowc.runtime import tables
from mlflowc.runtime.gate_table import number
from mlflowc.runtime.tables import Cell, TableError

_BARS = "▁▂▃▄▅▆▇█"
_WIDE = 12  # characters of a trend in the digest


class _Drawn(NamedTuple):
    charts: tuple[Chart, ...]
    alt: str
    digest: Table
    notes: tuple[str, ...] = ()


def draw(
    title: str,
    columns: Sequence[ir.Column],
    sheets: Sequence[Sheet],
    options: Mapping[str, ir.Value],
    *,
    baseline: Baseline | None = None,
    notes: tuple[str, ...] = (),
) -> Plot:
    """A plot of the table files `sheets`, the current ones before the old ones.

    `options` are `kind x y color title bins`; what they leave open follows from the columns. A file that
    cannot be drawn gives a plot without a picture and a note that says why.
    """
    now = [s for s in sheets if not s.old]
    if not now:
        return Plot(title, notes=notes, baseline=baseline)
    try:
        choice = points.choose(columns, now[0], dict(options))
    except TableError as e:
        return Plot(title, notes=(*notes, _said(e, sheets)), baseline=baseline)
    usable: list[Sheet] = []
    for sheet in sheets:
        try:
            _demand(choice, sheet)
        except TableError as e:
            notes = (*notes, f"{baseline.revision if sheet.old and baseline else 'now'}: {_said(e, [sheet])}")
        else:
            usable.append(sheet)
    base = baseline.revision if baseline else ""
    try:
        drawn = _KINDS[choice.kind](choice, usable, "baseline" if base == "now" else base, options)
    except TableError as e:
        return Plot(title, notes=(*notes, _said(e, usable)), baseline=baseline)
    return Plot(title, drawn.charts, drawn.alt, drawn.digest, (*notes, *drawn.notes), baseline)


def _said(error: TableError, sheets: Sequence[Sheet]) -> str:
    """What is wrong with a file, by the name that the pipeline gives it."""
    text = str(error)
    for sheet in sheets:
        text = text.replace(f"`{sheet.path.name}`", f"`{sheet.label or sheet.path.name}`")
    return text


def _demand(choice: Choice, sheet: Sheet) -> None:
    """The sheet must have the columns chosen on the first one."""
    found = tables.columns(sheet.path, sheet.kind)
    for name in (choice.x, *choice.ys, *([choice.color] if choice.color else [])):
        if found and name not in found:
            raise TableError(f"`{sheet.path.name}` has no column `{name}`")


def _points(choice: Choice, sheets: Sequence[Sheet], base: str, options: Mapping[str, ir.Value]) -> _Drawn:
    found = points.series(choice, sheets)
    _demand_points(choice, found)
    titles = {"x": choice.x, "y": choice.ys[0] if len(choice.ys) == 1 else "value"}
    notes = _thinned(found)
    columns = ("series", *(("version",) if base else ()), "trend", "last", "least", "greatest")
    rows = []
    for s in found:
        ys = _numbers(s)
        name = s.name or titles["y"]
        shown = (_trend(ys), ys[-1], min(ys), max(ys))
        rows.append((name, *((_version(s.old, base),) if base else ()), *shown))
    if choice.kind == "scatter":
        columns = (
            "series",
            *(("version",) if base else ()),
            "points",
            f"{choice.x} from",
            "to",
            "y from",
            "to ",
        )
        rows = [_cloud(s, titles["y"], base) for s in found]
    alt = f"{choice.kind} of {', '.join(choice.ys)} by {choice.x}"
    return _Drawn(
        (Chart(specs.points(choice, found, base, titles)),), alt, Table(columns, tuple(rows)), notes
    )


def _cloud(s: Series, y: str, base: str) -> tuple[Cell, ...]:
    xs = [x for x in (points.number(x) for x, _ in s.points) if x is not None]
    ys = _numbers(s)
    extent: tuple[Cell, Cell] = (
        (min(xs), max(xs)) if xs else (points.label(s.points[0][0]), points.label(s.points[-1][0]))
    )
    return (s.name or y, *((_version(s.old, base),) if base else ()), s.total, *extent, min(ys), max(ys))


def metrics(
    title: str,
    values: Sequence[tuple[str, bool, Mapping[str, float]]],
    *,
    baseline: Baseline | None = None,
    notes: tuple[str, ...] = (),
) -> Plot:
    """Bars of metrics: for each stage instance its name, whether it is of the baseline, and values by field.

    One metric of several instances has a bar an instance; else there is a bar a metric.
    """
    fields = list(dict.fromkeys(f for _, _, by_field in values for f in by_field))
    by_instance = len(fields) == 1 and len({name for name, _, _ in values}) > 1
    found: dict[tuple[str, bool], list[tuple[Cell, Cell]]] = {}
    for name, old, by_field in values:
        for field, value in by_field.items():
            if points.number(value) is not None:
                series, x = ("", name) if by_instance else (name, field)
                found.setdefault((series, old), []).append((x, value))
    if not any(not old for _, old in found):
        return Plot(title, notes=(*notes, "there are no values yet"), baseline=baseline)
    choice = Choice("bar", "stage" if by_instance else "metric", (fields[0] if by_instance else "value",))
    made = [Series(name, old, tuple(xy), len(xy)) for (name, old), xy in found.items()]
    drawn = _bars_of(choice, made, baseline.revision if baseline else "")
    return Plot(title, drawn.charts, drawn.alt, drawn.digest, (*notes, *drawn.notes), baseline)


def _bars(choice: Choice, sheets: Sequence[Sheet], base: str, options: Mapping[str, ir.Value]) -> _Drawn:
    found = points.series(choice, sheets)
    _demand_points(choice, found)
    return _bars_of(choice, found, base)


def _bars_of(choice: Choice, found: Sequence[Series], base: str) -> _Drawn:
    titles = {"x": choice.x, "y": choice.ys[0] if len(choice.ys) == 1 else "value" if choice.ys else "count"}
    heads = [(s.name or titles["y"]) + (f" ({base})" if s.old else "") for s in found]
    order = list(dict.fromkeys(points.label(x) for s in found for x, _ in s.points))
    cells = [{points.label(x): y for x, y in s.points} for s in found]
    rows = tuple((name, *(c.get(name) for c in cells)) for name in order)
    notes = tuple(
        f"{s.name or choice.x}: the first {len(s.points)} of {s.total} bars"
        for s in found
        if s.total > len(s.points)
    )
    alt = f"bars of {titles['y']} by {choice.x}"
    return _Drawn(
        (Chart(specs.bars(choice, found, base, titles)),), alt, Table((choice.x, *heads), rows), notes
    )


def _histogram(choice: Choice, sheets: Sequence[Sheet], base: str, options: Mapping[str, ir.Value]) -> _Drawn:
    bins = options.get("bins")
    found = points.histograms(choice, sheets, bins if isinstance(bins, int) and 0 < bins <= 1000 else None)
    if not found:
        raise TableError(f"the column `{choice.x}` has no numbers")
    titles = {"x": choice.x, "y": "count"}
    columns = ("series", *(("version",) if base else ()), "shape", "values", "mean", "least", "greatest")
    rows = tuple(
        (
            h.name or choice.x,
            *((_version(h.old, base),) if base else ()),
            _trend([float(b.n) for b in h.bins]),
            h.total,
            h.mean,
            h.low,
            h.high,
        )
        for h in found
    )
    spec = specs.histogram(found, base, titles)
    return _Drawn((Chart(spec),), f"histogram of {choice.x}", Table(columns, rows))


def _confusion(choice: Choice, sheets: Sequence[Sheet], base: str, options: Mapping[str, ir.Value]) -> _Drawn:
    found = [(s, points.confusion(choice, s)) for s in sheets]
    order = points.classes({pair for _, cells in found for pair in cells})
    if not order:
        raise TableError("the table has no rows")
    if len(order) > 60:
        raise TableError(f"{len(order)} classes are too many for a confusion matrix")
    titles = {
        "x": choice.x if choice.x == "actual" else f"actual ({choice.x})",
        "y": choice.ys[0] if choice.ys[0] == "predicted" else f"predicted ({choice.ys[0]})",
    }
    charts = tuple(
        Chart(
            specs.confusion(cells, order, titles),
            " · ".join(p for p in (s.series, _version(s.old, base) if base else "") if p),
        )
        for s, cells in found
    )
    first = found[0][1]
    rows = tuple((a, *(_count(first.get((a, p), 0)) for p in order)) for a in order)
    notes = []
    for s, cells in found:
        total = sum(cells.values())
        share = sum(n for (a, p), n in cells.items() if a == p) / total if total else 0.0
        who = " · ".join(p for p in (s.series, _version(s.old, base) if base else "") if p)
        notes.append(f"{who + ': ' if who else ''}{number(share, '%')} of {number(total)} on the diagonal")
    table = Table((f"{choice.x} \\ {choice.ys[0]}", *order), rows)
    return _Drawn(charts, f"confusion of {choice.ys[0]} against {choice.x}", table, tuple(notes))


def _curve(choice: Choice, sheets: Sequence[Sheet], base: str, options: Mapping[str, ir.Value]) -> _Drawn:
    """A ROC or precision-recall curve, with the area below it."""
    found = points.series(choice, sheets)
    _demand_points(choice, found)
    x, y = curves.TITLES[choice.kind]
    area = "area" if choice.kind == "roc" else "average precision"
    columns = ("series", *(("version",) if base else ()), area, "points")
    rows = tuple(
        (
            s.name or choice.kind.upper(),
            *((_version(s.old, base),) if base else ()),
            _area(choice.kind, s),
            s.total,
        )
        for s in found
    )
    drawn = Choice("line", x, (y,), choice.color, ((x, "number"), (y, "number")))
    spec = specs.unit(specs.points(drawn, found, base, {"x": x, "y": y}), diagonal=choice.kind == "roc")
    alt = "ROC curve" if choice.kind == "roc" else "precision-recall curve"
    return _Drawn((Chart(spec),), alt, Table(columns, rows), _thinned(found))


def _area(kind: str, s: Series) -> float:
    pairs = ((points.number(x), points.number(y)) for x, y in s.points)
    return curves.area(kind, [(x, y) for x, y in pairs if x is not None and y is not None])


_KINDS = {
    "roc": _curve,
    "pr": _curve,
    "line": _points,
    "scatter": _points,
    "bar": _bars,
    "histogram": _histogram,
    "confusion": _confusion,
}


def _demand_points(choice: Choice, found: Sequence[Series]) -> None:
    if not any(s.points for s in found if not s.old):
        raise TableError(f"there are no numbers to draw in {', '.join(choice.ys) or choice.x}")


def _thinned(found: Sequence[Series]) -> tuple[str, ...]:
    total = sum(s.total for s in found)
    shown = sum(len(s.points) for s in found)
    return () if shown == total else (f"drawn from {shown:,} of {total:,} points, peaks kept",)


def _version(old: bool, base: str) -> str:
    return base if old else "now"


def _numbers(s: Series) -> list[float]:
    return [y for y in (points.number(y) for _, y in s.points) if y is not None]


def _count(value: float) -> Cell:
    return int(value) if value == int(value) else value


def _trend(values: list[float]) -> str:
    """The values as a row of blocks of rising height, averaged down to at most 12."""
    n = min(_WIDE, len(values))
    means = []
    for i in range(n):
        part = values[i * len(values) // n : (i + 1) * len(values) // n]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    if low == high:
        return _BARS[0] * n
    return "".join(_BARS[min(7, int((m - low) / (high - low) * 8))] for m in means)
