"""Plots as Mermaid diagrams (`xychart-beta`), which GitHub and GitLab draw from text.

That kind of diagram knows lines and bars over evenly spaced places and no legend, so that not every plot can
be one: `diagram` says None where it would mislead, and a table has to do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mlflowc.report.model import Chart, Plot

# More make the text long and the line no clearer.
PLACES, BARS, SERIES = 60, 40, 6
_WORDS = {
    "#4c78d0": "blue",
    "#98a0ad": "grey",
    "#d9822b": "orange",
    "#3a9d77": "green",
    "#b5519c": "purple",
    "#b8941f": "ochre",
    "#7a6bd1": "violet",
}
_COLOURS = list(_WORDS)
_Points = list[tuple[float, float]]


def diagram(plot: Plot) -> str | None:
    """The plot's pictures as fenced diagrams, each with a line that says which colour is what; None where one
    of them cannot be drawn."""
    drawn = [_chart(c) for c in plot.charts]
    return "\n\n".join(d for d in drawn if d) if drawn and all(drawn) else None


def _chart(chart: Chart) -> str | None:
    if chart.given:
        return None
    spec = chart.spec
    values = spec.get("data", {}).get("values")
    if not isinstance(values, list) or not values:
        return None
    if "layer" in spec:
        first = spec["layer"][0]
        mark, encoding = first.get("mark", {}), first.get("encoding", {})
    else:
        mark, encoding = spec.get("mark", {}), spec.get("encoding", {})
    kind = mark.get("type") if isinstance(mark, dict) else mark
    title = chart.caption
    if kind == "line" and {"x", "y", "s", "v"} <= values[0].keys():
        return (
            _lines(values, encoding, title) if encoding.get("x", {}).get("type") == "quantitative" else None
        )
    if kind == "bar" and {"x", "y", "s", "v"} <= values[0].keys():
        return _bars(values, encoding, title)
    return None


def _lines(values: Sequence[Mapping[str, Any]], encoding: Mapping[str, Any], title: str) -> str | None:
    series: dict[tuple[str, str], _Points] = {}
    for v in values:
        if not all(isinstance(v[a], int | float) and math.isfinite(v[a]) for a in "xy"):
            return None
        series.setdefault((str(v["s"]), str(v["v"])), []).append((float(v["x"]), float(v["y"])))
    series = {k: sorted(p) for k, p in series.items()}
    now = [p for (_, version), p in series.items() if version == "now"]
    if not now or any(a[0] == b[0] for p in series.values() for a, b in pairwise(p)):
        return None
    low, high = min(p[0][0] for p in now), max(p[-1][0] for p in now)
    # A line that begins later or ends earlier would be drawn over the whole width.
    whole = {k: p for k, p in series.items() if p[0][0] <= low and p[-1][0] >= high}
    if low >= high or not whole or len(whole) > SERIES or not any(v == "now" for _, v in whole):
        return None
    count = min(PLACES, max(len([x for x, _ in p if low <= x <= high]) for p in whole.values()))
    places = [low + (high - low) * n / (count - 1) for n in range(count)]
    rows = {k: [_at(p, x) for x in places] for k, p in whole.items()}
    axis = f"x-axis {_quoted(encoding['x'].get('title'))} {_figure(low)} --> {_figure(high)}"
    short = [_name(k, series) for k in series if k not in whole]
    return _xychart(title, axis, encoding.get("y", {}).get("title"), rows, series, "line", short)


def _at(points: _Points, x: float) -> float:
    for (xa, ya), (xb, yb) in pairwise(points):
        if xa <= x <= xb:
            return ya + (yb - ya) * (x - xa) / (xb - xa)
    return points[-1][1] if x > points[0][0] else points[0][1]


def _bars(values: Sequence[Mapping[str, Any]], encoding: Mapping[str, Any], title: str) -> str | None:
    # Several bars of one place would hide each other.
    if len({(v["s"], v["v"]) for v in values}) != 1 or len(values) > BARS:
        return None
    if not all(isinstance(v["y"], int | float) and math.isfinite(v["y"]) for v in values):
        return None
    if any(v["y"] < 0 for v in values):
        return None  # bars grow from the lower edge, not from zero
    across = encoding.get("x", {}) if encoding.get("x", {}).get("field") == "x" else encoding.get("y", {})
    along = encoding.get("y", {}) if encoding.get("y", {}).get("field") == "y" else encoding.get("x", {})
    names = ", ".join(_quoted(v["x"]) for v in values)
    key = (str(values[0]["s"]), str(values[0]["v"]))
    rows = {key: [float(v["y"]) for v in values]}
    axis = f"x-axis {_quoted(across.get('title'))} [{names}]"
    return _xychart(title, axis, along.get("title"), rows, {key: []}, "bar", [])


def _xychart(
    title: str,
    axis: str,
    y_title: Any,
    rows: Mapping[tuple[str, str], Sequence[float]],
    series: Mapping[tuple[str, str], Any],
    kind: str,
    short: Sequence[str],
) -> str:
    low, high = min(map(min, rows.values())), max(map(max, rows.values()))
    if kind == "bar":
        low = 0.0
    if low == high:
        low, high = low - 0.5, high + 0.5
    # One line of now beside one of before: colour and grey, as on the page.
    colours = ["#4c78d0", "#98a0ad"] if len({s for s, _ in rows}) == 1 else _without_grey()
    chosen = sorted(rows, key=lambda k: k[1] != "now")
    colours = [colours[n] for n in range(len(chosen))]
    palette = ", ".join(colours)
    theme = f'{{"themeVariables": {{"xyChart": {{"plotColorPalette": "{palette}"}}}}}}'
    lines = ["```mermaid", f"%%{{init: {theme}}}%%", "xychart-beta"]
    if title:
        lines.append(f"  title {_quoted(title)}")
    lines += [f"  {axis}", f"  y-axis {_quoted(y_title)} {_figure(low)} --> {_figure(high)}"]
    lines += [f"  {kind} [{', '.join(_figure(y) for y in rows[k])}]" for k in chosen]
    said = [f"{_WORDS[c]}: {_name(k, series)}" for c, k in zip(colours, chosen, strict=True)]
    said += [f"not drawn, of another length: {name}" for name in short]
    return "\n".join([*lines, "```", *(["", ", ".join(said)] if len(chosen) > 1 or short else [])])


def _without_grey() -> list[str]:
    return [c for c in _COLOURS if c != "#98a0ad"]


def _name(key: tuple[str, str], series: Mapping[tuple[str, str], Any]) -> str:
    name, version = key
    several = len({s for s, _ in series}) > 1
    parts = ([name] if several else []) + ([version] if len({v for _, v in series}) > 1 else [])
    return "`" + _plain(" ".join(parts) or name) + "`"


def _quoted(text: Any) -> str:
    return '"' + _plain(str(text or "")) + '"'


def _plain(text: str) -> str:
    """What neither Mermaid nor Markdown takes for anything else."""
    kept = re.sub(r"[^\w .,:()/+%=-]|%%", " ", text)
    return " ".join(kept.split())[:60] or " "


def _figure(value: float) -> str:
    # The grammar knows no exponents.
    text = f"{value + 0.0:.5g}"
    return text if "e" not in text else f"{value:.12f}".rstrip("0").rstrip(".") or "0"
