"""The graph as lines of text: one block a layer, so that 500 stages read as well as 5."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlflowc.draw.model import Drawing, Edge, Node

_MARK = {"data": "○", "stage": "●", "sweep": "◆", "gate": "▲", "report": "▤", "action": "▶"}
_COLOUR = {
    "data": "blue",
    "stage": "green",
    "sweep": "cyan",
    "gate": "yellow",
    "report": "cyan",
    "action": "red",
}
_MANY = 4  # instances of one stage from which on they share a line

Paint = Callable[..., str]


def plain(text: str, *styles: str) -> str:
    """The `paint` that does not."""
    return text


def render(drawing: Drawing, *, width: int = 80, paint: Paint = plain) -> str:
    """The drawing in at most `width` columns; `paint(text, *styles)` is as `mlflowc.terminal.style`."""
    lines = [paint(drawing.title, "bold") + f": {drawing.summary}", ""]
    sources: dict[str, list[Edge]] = {}
    for edge in drawing.edges:
        sources.setdefault(edge.target, []).append(edge)
    names = {node.id: node.name for node in drawing.nodes}
    layers: dict[int, list[Node]] = {}
    for node in drawing.nodes:
        layers.setdefault(node.layer, []).append(node)
    rows = {layer: _rows(nodes, sources, names) for layer, nodes in layers.items()}
    longest = max((len(row.label) for group in rows.values() for row in group), default=0)
    column = min(longest, width * 2 // 5)
    for n, group in enumerate(rows.values()):
        if n:
            lines.append(paint("  │", "dim"))
        lines += [_line(row, column, width, paint) for row in group]
    lines.append("")
    kinds = [k for k in _MARK if any(node.kind == k for node in drawing.nodes)]
    lines.append("  ".join(f"{paint(_MARK[k], _COLOUR[k])} {k}" for k in kinds))
    return "\n".join(lines).rstrip() + "\n"


class _Row:
    __slots__ = ("detail", "inputs", "kind", "label")

    def __init__(self, kind: str, label: str, detail: str, inputs: Sequence[str]) -> None:
        self.kind, self.label, self.detail, self.inputs = kind, label, detail, inputs


def _rows(nodes: Sequence[Node], sources: dict[str, list[Edge]], names: dict[str, str]) -> list[_Row]:
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        groups.setdefault((node.kind, node.name.partition("[")[0]), []).append(node)
    rows = []
    for (kind, name), members in groups.items():
        bundles = [members] if len(members) >= _MANY else [[node] for node in members]
        for bundle in bundles:
            label = bundle[0].name if len(bundle) == 1 else f"{name}[*] ×{len(bundle)}"
            edges = [edge for node in bundle for edge in sources.get(node.id, ())]
            rows.append(_Row(kind, label, bundle[0].detail, _inputs(edges, names)))
    return rows


def _inputs(edges: Sequence[Edge], names: dict[str, str]) -> list[str]:
    """`prepare.clean` where outputs are known, else the name; many instances as `train[*] ×9`."""
    found: dict[str, list[str]] = {}
    for edge in edges:
        name = names[edge.source]
        outputs = [f"{name}.{o}" for o in edge.label.split(", ")] if edge.label else [name]
        for text in outputs:
            head, bracket, rest = text.partition("[")
            group = head + ("[*]" + rest.partition("]")[2] if bracket else "")
            members = found.setdefault(group, [])
            if text not in members:
                members.append(text)
    texts: list[str] = []
    for group, members in found.items():
        texts += members if len(members) < _MANY else [f"{group} ×{len(members)}"]
    return texts


def _line(row: _Row, column: int, width: int, paint: Paint) -> str:
    label = row.label if len(row.label) <= column else row.label[: column - 1] + "…"
    plain_start = f"  {_MARK[row.kind]} {label:<{column}}"
    start = (
        f"  {paint(_MARK[row.kind], _COLOUR[row.kind])} {paint(label, 'bold')}{' ' * (column - len(label))}"
    )
    detail = f"  ({row.detail})" if row.detail else ""
    room = width - len(plain_start) - 4 - len(detail)
    if not row.inputs:
        return (start + paint(detail, "dim")).rstrip()
    return f"{start}  {paint('←', 'dim')} {_fit(row.inputs, room)}{paint(detail, 'dim')}"


def _fit(texts: Sequence[str], room: int) -> str:
    """As many as fit, then how many more there are; the first one at least, cut if it must be."""
    out = ""
    for n, text in enumerate(texts):
        more = len(texts) - n - 1
        candidate = f"{out}, {text}" if out else text
        if len(candidate) + (len(f" +{more}") if more else 0) > room:
            left = len(texts) - n
            if out:
                return f"{out} +{left}"
            tail = f" +{left - 1}" if left > 1 else ""
            return text[: max(1, room - len(tail) - 1)] + "…" + tail
        out = candidate
    return out
