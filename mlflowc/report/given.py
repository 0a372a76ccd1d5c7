"""Vega-Lite specifications that a stage wrote: drawn as they are, with nothing fetched."""

from __future__ import annotations

from typing import Any

from mlflowc.report import pictures
from mlflowc.report.model import Spec

_LARGEST = 5_000_000  # characters of the specification as text


def tame(spec: Spec) -> tuple[Spec, tuple[str, ...]]:
    """The specification without what would fetch something or set how it is embedded, and what was left
    out."""
    notes: list[str] = []
    made = _without(spec, notes)
    assert isinstance(made, dict)
    made.pop("usermeta", None)
    made.pop("background", None)
    single = not made.keys() & {"hconcat", "vconcat", "concat", "facet", "repeat", "spec"}
    if single and "width" not in made and not {"row", "column", "facet"} & made.get("encoding", {}).keys():
        made["width"] = "container"
    return made, tuple(dict.fromkeys(notes))


def _without(value: Any, notes: list[str]) -> Any:
    if isinstance(value, list):
        return [_without(v, notes) for v in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        if key == "url" and isinstance(inner, str) and not inner.startswith("data:"):
            notes.append("it would fetch data: a plot has to bring its own")
            continue
        kept[key] = _without(inner, notes)
    return kept


def problem(spec: Spec) -> str:
    """Why it cannot be drawn; nothing where it can, or where the library that knows is not installed."""
    if not pictures.available():
        return ""
    try:
        pictures.library().vegalite_to_vega(spec, vl_version=pictures.VEGA_LITE)
    except ValueError as e:
        lines = [line.strip() for line in str(e).splitlines() if line.strip()]
        return f"it cannot be drawn: {lines[0][:200] if lines else 'it is not Vega-Lite'}"
    return ""
