"""The graph of a pipeline, drawn: as text, Mermaid, Graphviz and SVG."""
