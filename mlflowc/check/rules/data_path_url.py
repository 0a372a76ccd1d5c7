"""An address where a path is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity, explanation
from mlflowc.ir import model as ir
from mlflowc.span import Span

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")

CHECK = Check(
    "MLP345",
    Severity.ERROR,
    "an address where a path is wanted",
    explanation(
        """
        A plain string names a file of the project. What lies at an address is fetched, pinned by its
        content in `mlpipe.lock` and updated on purpose: that is `url("…")`.
        """,
        """
        data feed: csv = "s3://acme/feed.csv"
        stage a {
          in feed
          out x = "x.csv"
          run = "cp {{feed}} {{x}}"
        }
        """,
        """
        data feed: csv = url("s3://acme/feed.csv")
        stage a {
          in feed
          out x = "x.csv"
          run = "cp {{feed}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Inputs by path, and `path(...)` data."""
    for block in facts.typed.data:
        path = dict(block.value.args).get("path") if block.value.source == "path" else None
        if isinstance(path, str) and _ADDRESS.match(path):
            span = block.settings.get("path", block.span)
            yield Diagnostic.of(
                CHECK,
                f"`{path}` is an address, not a path",
                span,
                help=f'write `url("{path}")`',
                fix=_fix(facts, span, path),
            )
    for step in facts.steps:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.PathRef) and _ADDRESS.match(source.path):
                    yield Diagnostic.of(
                        CHECK,
                        f"`{source.path}` is an address, not a path",
                        part.source or part.span,
                        help=f'declare `data {part.value.name} = url("{source.path}")` and read that',
                    )


def _fix(facts: Facts, span: Span, path: str) -> Fix | None:
    """Certain only where the place is a plain string."""
    source = facts.typed.sources.get(span.file)
    if source is None or source.text[span.start : span.end] != f'"{path}"':
        return None
    if source.text[: span.start].rstrip().endswith("("):
        return None
    return Fix(f'write `url("{path}")`', (Edit(span, f'url("{path}")'),))
