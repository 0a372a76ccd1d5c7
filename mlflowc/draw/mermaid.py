"""The graph as a Mermaid flowchart, for Markdown that GitHub and GitLab draw."""

from __future__ import annotations

from mlflowc.draw.model import Drawing, Node

_SHAPE = {
    "data": ("[(", ")]"),
    "stage": ("[", "]"),
    "sweep": ("[[", "]]"),
    "gate": ("{{", "}}"),
    "report": ("[/", "/]"),
    "action": ("([", "])"),
}
# Mid tones that keep their contrast on a light and on a dark page.
_STYLE = {
    "data": "fill:#dbeafe,stroke:#3b82f6,color:#1e3a5f",
    "stage": "fill:#f1f5f9,stroke:#64748b,color:#1e293b",
    "sweep": "fill:#e0f2fe,stroke:#0891b2,color:#164e63",
    "gate": "fill:#fef3c7,stroke:#d97706,color:#78350f",
    "report": "fill:#ede9fe,stroke:#8b5cf6,color:#4c1d95",
    "action": "fill:#dcfce7,stroke:#16a34a,color:#14532d",
}


def render(drawing: Drawing) -> str:
    """A `flowchart`, ended by a line break. Node ids are ours (`n0`), so no name is taken for syntax."""
    ids = {node.id: f"n{n}" for n, node in enumerate(drawing.nodes)}
    deep = max((node.layer for node in drawing.nodes), default=0) > 6
    lines = [f"flowchart {'TB' if deep else 'LR'}"]
    lines += [f"  {ids[node.id]}{_node(node)}:::{node.kind}" for node in drawing.nodes]
    for edge in drawing.edges:
        arrow = "-.->" if edge.dashed else "-->"
        label = f'|"{_escape(edge.label)}"|' if edge.label else ""
        lines.append(f"  {ids[edge.source]} {arrow}{label} {ids[edge.target]}")
    used = {node.kind for node in drawing.nodes}
    lines += [f"  classDef {kind} {style}" for kind, style in _STYLE.items() if kind in used]
    return "\n".join(lines) + "\n"


def _node(node: Node) -> str:
    start, end = _SHAPE[node.kind]
    label = _escape(node.name) + (f"<br/><small>{_escape(node.detail)}</small>" if node.detail else "")
    return f'{start}"{label}"{end}'


def _escape(text: str) -> str:
    """Mermaid's own entities; `#` first, as it begins them."""
    for char, entity in (
        ("#", "#35;"),
        ("&", "#amp;"),
        ('"', "#quot;"),
        ("<", "#lt;"),
        (">", "#gt;"),
        ("`", "#96;"),
    ):
        text = text.replace(char, entity)
    return " ".join(text.split())
