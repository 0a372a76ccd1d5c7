"""The pipeline's graph in a report."""

from __future__ import annotations

from mlflowc.draw import mermaid, model, svg, text
from mlflowc.ir.model import Pipeline
from mlflowc.report.model import Graph

_WIDTH = 100


def section(pipeline: Pipeline) -> Graph:
    """The whole graph, drawn for each kind of reader."""
    drawing = model.drawing(pipeline)
    return Graph(
        svg.render(drawing), mermaid.render(drawing), text.render(drawing, width=_WIDTH), drawing.summary
    )
