"""The graph in Graphviz's language."""

from __future__ import annotations

from mlflowc.draw.model import Drawing

_SHAPE = {
    "data": "cylinder",
    "stage": "box",
    "sweep": "box3d",
    "gate": "hexagon",
    "report": "note",
    "action": "cds",
}


def render(drawing: Drawing) -> str:
    """A `digraph`, ended by a line break. Every name is quoted."""
    lines = [
        f"digraph {_quote(drawing.title)} {{",
        "  rankdir=LR;",
        '  node [fontname="Helvetica", fontsize=11];',
    ]
    for node in drawing.nodes:
        label = node.name + (f"\n{node.detail}" if node.detail else "")
        lines.append(f"  {_quote(node.id)} [label={_quote(label)}, shape={_SHAPE[node.kind]}];")
    for edge in drawing.edges:
        options = [f"label={_quote(edge.label)}"] if edge.label else []
        options += ["style=dashed"] if edge.dashed else []
        suffix = f" [{', '.join(options)}]" if options else ""
        lines.append(f"  {_quote(edge.source)} -> {_quote(edge.target)}{suffix};")
    return "\n".join([*lines, "}"]) + "\n"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
