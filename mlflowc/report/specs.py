"""Vega-Lite specifications of the five kinds of plots, as plain dicts with their data inside.

Colours are of a middle tone that reads on white and on dark paper; text inside a picture takes the parameter
`ink`, which the page sets by its scheme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlflowc.report.model import Spec
from mlflowc.report.points import Choice, Histogram, Series
from mlflowc.runtime.tables import Cell

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
NOW, BEFORE = "#4c78d0", "#98a0ad"
PALETTE = ["#4c78d0", "#d9822b", "#3a9d77", "#b5519c", "#b8941f", "#7a6bd1", "#d05c5c", "#4aa3bf"]
HEIGHT = 260
_MARGIN = 8  # pixels between the outermost points and the frame, which cuts what lies on it
_INK = "#1f2430"


def points(choice: Choice, series: Sequence[Series], base: str, titles: Mapping[str, str]) -> Spec:
    """A line or a scatter plot; `base` names the old version, `titles` those of the axes `x` and `y`."""
    names = list(dict.fromkeys(s.name for s in series))
    # What comes later is drawn on top: that is the current version.
    values = [
        {"x": x, "y": y, "s": s.name, "v": base if s.old else "now"}
        for s in sorted(series, key=lambda s: not s.old)
        for x, y in s.points
    ]
    numeric = choice.numeric(choice.x)
    x = {
        "field": "x",
        "type": "quantitative" if numeric else "temporal" if choice.kind == "line" else "nominal",
        "title": titles["x"],
        "scale": {"zero": False, "nice": choice.kind != "line", "padding": _MARGIN} if numeric else {},
        "axis": {"grid": choice.kind == "scatter"}
        | ({"tickMinStep": 1} if numeric and _whole(values) else {}),
    }
    y_scale = {"zero": False, "nice": False, "padding": _MARGIN}
    y = {"field": "y", "type": "quantitative", "title": titles["y"], "scale": y_scale}
    colour, versions = _colour(names, any(s.old for s in series), base)
    tooltip: list[Spec] = [
        {"field": "x", "type": x["type"], "title": choice.x},
        {"field": "y", "type": "quantitative", "title": titles["y"]},
        *([{"field": "s", "title": "series"}] if len(names) > 1 else []),
        *([{"field": "v", "title": "version"}] if versions else []),
    ]
    encoding: dict[str, Any] = {"x": x, "y": y, "color": colour}
    both = bool(versions) and len(names) > 1
    if choice.kind == "scatter":
        shape = {"shape": _version("shape", base, ["circle", "triangle-up"])} if both else {}
        layer = [_dots(names, encoding | shape, tooltip)]
    else:
        dash = {"strokeDash": _version("dash", base, [[1, 0], [5, 4]])} if both else {}
        few = max((len(s.points) for s in series), default=0) <= 30
        layer = [_lines(names, encoding | dash), _hovered(encoding, few, tooltip)]
    return _whole_spec(values, {"height": HEIGHT, "layer": layer})


def unit(spec: Spec, diagonal: bool) -> Spec:
    """Both axes from 0 to 1, and the diagonal that chance would give."""
    for layer in spec["layer"]:
        for axis in ("x", "y"):
            encoding = layer["encoding"]
            encoding[axis] = {**encoding[axis], "scale": {"domain": [0, 1]}, "axis": {"tickCount": 5}}
    if diagonal:
        ends = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
        chance: Spec = {
            "data": {"values": ends},
            "mark": {"type": "line", "strokeDash": [2, 4], "strokeWidth": 1, "color": BEFORE},
            "encoding": {a: {"field": a, "type": "quantitative"} for a in ("x", "y")},
        }
        spec["layer"].append(chance)
    return spec


def _dots(names: list[str], encoding: Spec, tooltip: list[Spec]) -> Spec:
    return {
        "mark": {"type": "point", "filled": True, "size": 42},
        "params": [*_legend(names), _ZOOM],
        "encoding": encoding | {"opacity": _faded(names, 0.75), "tooltip": tooltip},
    }


def _lines(names: list[str], encoding: Spec) -> Spec:
    return {
        "mark": {"type": "line", "strokeWidth": 2, "interpolate": "linear"},
        "params": [*_legend(names), _ZOOM],
        "encoding": encoding | {"detail": {"field": "v"}, "opacity": _faded(names, 1)},
    }


def _hovered(encoding: Spec, few: bool, tooltip: list[Spec]) -> Spec:
    """The points of a line: always to be seen where they are few, else only under the pointer."""
    nearest = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
    opacity = {
        "condition": {"param": "hover", "empty": False, "value": 1},
        "value": 0.55 if few else 0,
    }
    return {
        "mark": {"type": "point", "filled": True, "size": 46},
        "params": [{"name": "hover", "select": nearest}],
        "encoding": encoding | {"opacity": opacity, "tooltip": tooltip},
    }


def bars(choice: Choice, series: Sequence[Series], base: str, titles: Mapping[str, str]) -> Spec:
    """Bars by category, side by side for versions and series; lying when the names are many or long."""
    names = list(dict.fromkeys(s.name for s in series))
    values = [
        {"x": _word(x), "y": y, "s": s.name, "v": base if s.old else "now"}
        for s in series
        for x, y in s.points
    ]
    order = list(dict.fromkeys(v["x"] for v in values))
    lying = len(order) > 10 or max((len(str(n)) for n in order), default=0) > 10
    colour, versions = _colour(names, any(s.old for s in series), base)
    category: dict[str, Any] = {"field": "x", "type": "nominal", "title": titles["x"], "sort": order}
    category["axis"] = {"labelLimit": 160, "ticks": False} | ({} if lying else {"labelAngle": 0})
    value = {"field": "y", "type": "quantitative", "title": titles["y"]}
    along, across = ("y", "x") if lying else ("x", "y")
    encoding: dict[str, Any] = {along: category, across: value, "color": colour, "opacity": _faded(names, 1)}
    groups = len(names) * (2 if versions else 1)
    if groups > 1:
        encoding[along + "Offset"] = {"field": "g", "type": "nominal", "sort": None}
        for v in values:
            v["g"] = f"{v['s']} {v['v']}"
    if versions and len(names) > 1:
        encoding["opacity"] = {
            "field": "v", "type": "nominal", "title": None,
            "scale": {"domain": ["now", base], "range": [1, 0.45]},
        }  # fmt: skip
    encoding["tooltip"] = [
        {"field": "x", "title": choice.x},
        {"field": "y", "type": "quantitative", "title": titles["y"]},
        *([{"field": "s", "title": "series"}] if len(names) > 1 else []),
        *([{"field": "v", "title": "version"}] if versions else []),
    ]
    height = len(order) * (24 if groups == 1 else max(20, 14 * groups)) if lying else HEIGHT
    size: Spec = {"height": height}
    return _whole_spec(
        values,
        size
        | {"mark": {"type": "bar", "cornerRadiusEnd": 2}, "params": _legend(names), "encoding": encoding},
    )


def histogram(found: Sequence[Histogram], base: str, titles: Mapping[str, str]) -> Spec:
    """Bars of the current counts, the old ones as an outline over them."""
    names = list(dict.fromkeys(h.name for h in found))
    values = [
        {"a": b.low, "b": b.high, "n": b.n, "s": h.name, "v": base if h.old else "now"}
        for h in found
        for b in h.bins
    ]
    colour, versions = _colour(names, any(h.old for h in found), base)
    encoding: dict[str, Any] = {
        "x": {
            "field": "a", "bin": "binned", "type": "quantitative", "title": titles["x"],
            "scale": {"zero": False, "nice": False}, "axis": {"grid": False},
        },
        "x2": {"field": "b"},
        "y": {"field": "n", "type": "quantitative", "title": titles["y"], "stack": None},
        "color": colour,
        "tooltip": [
            {"field": "a", "title": "from", "type": "quantitative"},
            {"field": "b", "title": "to", "type": "quantitative"},
            {"field": "n", "title": "count", "type": "quantitative"},
            *([{"field": "s", "title": "series"}] if len(names) > 1 else []),
            *([{"field": "v", "title": "version"}] if versions else []),
        ],
    }  # fmt: skip
    solid: Spec = {
        "transform": [{"filter": "datum.v === 'now'"}],
        "mark": {"type": "bar", "binSpacing": 1, "opacity": 0.8 if len(names) == 1 else 0.5},
        "encoding": encoding,
    }
    outline: Spec = {
        "transform": [{"filter": "datum.v !== 'now'"}],
        "mark": {"type": "bar", "filled": False, "binSpacing": 1, "strokeWidth": 1.5},
        "encoding": encoding,
    }
    return _whole_spec(values, {"height": HEIGHT, "layer": [solid, outline] if versions else [solid]})


def confusion(
    cells: Mapping[tuple[str, str], float], order: Sequence[str], titles: Mapping[str, str]
) -> Spec:
    """A matrix: a row an actual class, shaded by the share of that row."""
    totals = {a: sum(n for (row, _), n in cells.items() if row == a) for a in order}
    values = [
        {"a": a, "p": p, "n": n, "share": n / totals[a] if totals[a] else 0}
        for a in order
        for p in order
        for n in [cells.get((a, p), 0)]
    ]
    axis = {"labelAngle": 0, "ticks": False, "domain": False, "labelLimit": 120, "labelOverlap": True}
    shared: dict[str, Any] = {
        "y": {"field": "a", "type": "nominal", "sort": list(order), "title": titles["x"], "axis": axis},
        "x": {"field": "p", "type": "nominal", "sort": list(order), "title": titles["y"], "axis": axis},
    }
    # Shared: the figures lie on the squares and would swallow the pointer.
    shared["tooltip"] = [
        {"field": "a", "title": "actual"},
        {"field": "p", "title": "predicted"},
        {"field": "n", "title": "count", "type": "quantitative"},
        {"field": "share", "title": "of actual", "type": "quantitative", "format": ".1%"},
    ]
    rect: Spec = {
        "mark": {"type": "rect", "color": NOW, "cornerRadius": 2},
        "encoding": {
            "opacity": {
                "field": "share", "type": "quantitative", "legend": None,
                "scale": {"domain": [0, 1], "range": [0.05, 1]},
            },
        },
    }  # fmt: skip
    text: Spec = {
        "mark": {"type": "text", "fontSize": 12 if len(order) <= 12 else 9},
        "encoding": {
            "text": {"field": "n", "type": "quantitative"},
            "color": {
                "condition": {"test": "datum.share > 0.55", "value": "#ffffff"}, "value": {"expr": "ink"},
            },
            "opacity": {"condition": {"test": "datum.n > 0", "value": 1}, "value": 0.25},
        },
    }  # fmt: skip
    layer = [rect, text] if len(order) <= 20 else [rect]
    return _whole_spec(
        values, {"height": min(520, max(160, 34 * len(order))), "encoding": shared, "layer": layer}
    )


# --- parts ---------------------------------------------------------------------------------------

# Without the shift key the wheel scrolls the page and a finger swipes it, as everywhere.
_ZOOM: Spec = {
    "name": "zoom",
    "select": {
        "type": "interval",
        "zoom": "wheel![event.shiftKey]",
        "translate": "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!",
        "on": "[pointerdown[false], window:pointerup] > window:pointermove!",
        "clear": "dblclick",
    },
    "bind": "scales",
}


def _whole_spec(values: list[dict[str, Any]], rest: Spec) -> Spec:
    params = [{"name": "ink", "value": _INK}, *rest.pop("params", [])]
    return {
        "$schema": SCHEMA,
        "width": "container",
        "data": {"values": values},
        "params": params,
        **_titled(rest),
    }


def _titled(spec: Any) -> Any:
    """The spec with only plain characters in titles: Vega-Lite pastes them into expressions unescaped."""
    if isinstance(spec, list):
        return [_titled(part) for part in spec]
    if isinstance(spec, dict):
        return {k: _plain(v) if k == "title" and isinstance(v, str) else _titled(v) for k, v in spec.items()}
    return spec


def _plain(title: str) -> str:
    return "".join("\u29f5" if c == "\\" else c if c.isprintable() else " " for c in title)


def _colour(names: list[str], old: bool, base: str) -> tuple[Spec, bool]:
    """The colour channel: by series where there are several, else by version; and whether versions differ."""
    if len(names) > 1:
        scale = {"domain": names, "range": [PALETTE[n % len(PALETTE)] for n in range(len(names))]}
        return {"field": "s", "type": "nominal", "title": None, "scale": scale}, old
    scale = {"domain": ["now", base], "range": [NOW, BEFORE]}
    legend: Spec = {} if old else {"legend": None}
    return {"field": "v", "type": "nominal", "title": None, "scale": scale, **legend}, old


def _version(channel: str, base: str, values: list[Any]) -> Spec:
    return {
        "field": "v",
        "type": "nominal",
        "title": None,
        "scale": {"domain": ["now", base], "range": values},
    }


def _legend(names: list[str]) -> list[Spec]:
    """A click on the legend singles a series out."""
    if len(names) < 2:
        return []
    return [{"name": "picked", "select": {"type": "point", "fields": ["s"]}, "bind": "legend"}]


def _faded(names: list[str], full: float) -> Spec:
    if len(names) < 2:
        return {"value": full}
    return {"condition": {"param": "picked", "value": full}, "value": 0.12}


def _whole(values: list[dict[str, Any]]) -> bool:
    return all(isinstance(v["x"], int) or (isinstance(v["x"], float) and v["x"].is_integer()) for v in values)


def _word(cell: Cell) -> str:
    return "(none)" if cell is None else str(cell)
