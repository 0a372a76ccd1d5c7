"""Places as the machine-readable formats write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mlflowc.span import Position, Source, Span


class Region(NamedTuple):
    """Lines and columns from 1, in characters; `end` is behind the last character."""

    start: Position
    end: Position


def region(span: Span, sources: Mapping[str, Source]) -> Region | None:
    """Where `span` is, or None in a file whose text is not at hand."""
    source = sources.get(span.file)
    if source is None:
        return None
    return Region(source.position(span.start), source.position(max(span.start, span.end)))
