"""The graph as one self-contained SVG: no script, no font, no link; light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from itertools import pairwise

from mlflowc.draw.layout import Layout, place
from mlflowc.draw.model import Drawing, Edge, Node
from mlflowc.render import columns

_PAD = 24.0
_HEIGHT = 34.0
_TALL = 46.0  # with a line of detail
_CHAR = 7.4  # the mean width of a character at 13 px
_MOST_ACROSS = 8  # more layers than this go down the page, fewer from left to right
_LONGEST = 30
_TIP = 8.0
_LID = 4.0  # how far the lid of a cylinder pushes its text down

_Point = Callable[[tuple[float, float]], tuple[float, float]]

_STYLE = """
  .bg { fill: #ffffff } .edge { stroke: #94a3b8; stroke-width: 1.4; fill: none }
  .dashed { stroke-dasharray: 4 4 }
  .tip { fill: #94a3b8 } .box { stroke-width: 1.4 }
  text { font: 13px ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle }
  .name { fill: #0f172a } .detail { fill: #64748b; font-size: 11px }
  .title { text-anchor: start; font-weight: 600 }
  .data .box { fill: #eff6ff; stroke: #60a5fa } .stage .box { fill: #f8fafc; stroke: #94a3b8 }
  .sweep .box { fill: #ecfeff; stroke: #22b8cf } .gate .box { fill: #fffbeb; stroke: #f0a429 }
  .report .box { fill: #f5f3ff; stroke: #a78bfa } .action .box { fill: #f0fdf4; stroke: #4ade80 }
  @media (prefers-color-scheme: dark) {
    .bg { fill: #0d1117 } .edge { stroke: #57606a } .tip { fill: #57606a }
    .name { fill: #e6edf3 } .detail { fill: #8b949e }
    .data .box { fill: #10233f; stroke: #3b82f6 } .stage .box { fill: #161b22; stroke: #6e7681 }
    .sweep .box { fill: #0c2a31; stroke: #0e9bb3 } .gate .box { fill: #2d2109; stroke: #d29922 }
    .report .box { fill: #221a3a; stroke: #8b6cf0 } .action .box { fill: #0f2a18; stroke: #2ea043 }
  }
"""


def render(drawing: Drawing) -> str:
    """A complete SVG document, ended by a line break."""
    nodes = {node.id: node for node in drawing.nodes}
    down = max((node.layer for node in drawing.nodes), default=0) >= _MOST_ACROSS

    def width(id: str) -> float:
        return _width(nodes[id])

    def height(id: str) -> float:
        return _height(nodes[id])

    layout = place(
        drawing,
        height if down else width,
        width if down else height,
        layer_gap=44.0 if down else 64.0,
        node_gap=18.0,
    )
    top = _PAD + 26.0

    def point(at: tuple[float, float]) -> tuple[float, float]:
        along, across = at
        return (_PAD + across, top + along) if down else (_PAD + along, top + across)

    size = layout.size[::-1] if down else layout.size
    title = f"{drawing.title}: {drawing.summary}"
    total = (max(size[0], len(title) * _CHAR) + 2 * _PAD, size[1] + top + _PAD)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]:.0f} {total[1]:.0f}" '
        f'width="{total[0]:.0f}" height="{total[1]:.0f}" role="img" aria-label="{_text(title)}">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="bg" width="{total[0]:.0f}" height="{total[1]:.0f}" rx="8"/>',
        f'<text class="name title" x="{_PAD:.0f}" y="{_PAD + 8:.0f}">{_text(title)}</text>',
    ]
    parts += [_edge(edge, layout, nodes, down, point) for edge in drawing.edges]
    parts += [_node(node, *point(layout.nodes[node.id])) for node in drawing.nodes]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _width(node: Node) -> float:
    longest = max(columns.width(_cut(node.name)), columns.width(_cut(node.detail)) * 0.85)
    return longest * _CHAR + (44.0 if node.kind in ("gate", "action") else 32.0)


def _height(node: Node) -> float:
    return _TALL if node.detail else _HEIGHT


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _text(text: str) -> str:
    return escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def _edge(edge: Edge, layout: Layout, nodes: dict[str, Node], down: bool, point: _Point) -> str:
    """A smooth line from the far side of the producer to the near side of its consumer, with a tip."""
    source, target = nodes[edge.source], nodes[edge.target]
    along, across = layout.nodes[edge.source]
    start = (along + (_height(source) if down else _width(source)) / 2, across)
    along, across = layout.nodes[edge.target]
    end = (along - (_height(target) if down else _width(target)) / 2, across)
    way = [start, *layout.bends[edge.source, edge.target], (end[0] - _TIP, end[1])]
    path = "M{:.1f} {:.1f}".format(*point(way[0]))
    for (a, b), (c, d) in pairwise(way):
        middle = (a + c) / 2
        corners = (*point((middle, b)), *point((middle, d)), *point((c, d)))
        path += " C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*corners)
    x, y = point(end)
    tip = f"M{x:.1f} {y:.1f} l-4 -{_TIP:.0f} h8 z" if down else f"M{x:.1f} {y:.1f} l-{_TIP:.0f} -4 v8 z"
    dashed = " dashed" if edge.dashed else ""
    label = f"<title>{_text(edge.label)}</title>" if edge.label else ""
    return f'<g><path class="edge{dashed}" d="{path}"/><path class="tip" d="{tip}"/>{label}</g>'


def _node(node: Node, x: float, y: float) -> str:
    """The shape that says the kind, the name, and the detail below it."""
    w, h = _width(node), _height(node)
    name = node.name + (f" ({node.detail})" if node.detail else "")
    y += _LID if node.kind == "data" else 0.0
    lines = [(x, y + (4.5 if not node.detail else -2.0), "name", _cut(node.name))]
    if node.detail:
        lines.append((x, y + 14.0, "detail", _cut(node.detail)))
    texts = "".join(f'<text class="{c}" x="{a:.1f}" y="{b:.1f}">{_text(t)}</text>' for a, b, c, t in lines)
    top = y - h / 2 - (_LID if node.kind == "data" else 0.0)
    shape = _shape(node.kind, x - w / 2, top, w, h)
    return f'<g class="{node.kind}"><title>{_text(f"{node.kind} {name}")}</title>{shape}{texts}</g>'


def _shape(kind: str, x: float, y: float, w: float, h: float) -> str:
    right, bottom = x + w, y + h
    match kind:
        case "data":
            path = (
                f"M{x:.1f} {y + 5:.1f} a{w / 2:.1f} 5 0 0 1 {w:.1f} 0 v{h - 10:.1f} "
                f"a{w / 2:.1f} 5 0 0 1 -{w:.1f} 0 z M{x:.1f} {y + 5:.1f} a{w / 2:.1f} 5 0 0 0 {w:.1f} 0"
            )
        case "gate":
            path = (
                f"M{x + 12:.1f} {y:.1f} H{right - 12:.1f} L{right:.1f} {y + h / 2:.1f} "
                f"L{right - 12:.1f} {bottom:.1f} H{x + 12:.1f} L{x:.1f} {y + h / 2:.1f} z"
            )
        case "report":
            path = (
                f"M{x:.1f} {y:.1f} H{right - 10:.1f} L{right:.1f} {y + 10:.1f} V{bottom:.1f} H{x:.1f} z "
                f"M{right - 10:.1f} {y:.1f} v10 h10"
            )
        case _:
            radius = h / 2 if kind == "action" else 7.0
            box = f'x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:.1f}"'
            return f'<rect class="box" {box}/>'
    return f'<path class="box" d="{path}"/>'
