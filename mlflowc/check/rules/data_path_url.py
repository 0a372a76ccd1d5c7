"""An address where a path is wanted."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, is_address
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity, explanation
from mlflowc.ir import model as ir
from mlflowc.span import Span

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
        if isinstance(path, str) and is_address(path):
            span = block.settings.get("source", block.span)
            written = _literal(facts, span)
            yield Diagnostic.of(
                CHECK,
                "this is an address, not a path",
                span,
                help=f"write `url({written})`" if written else 'write `url("…")`',
                fix=Fix(f"write `url({written})`", (Edit(span, f"url({written})"),)) if written else None,
            )
    for step in facts.steps:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.PathRef) and is_address(source.path):
                    place = part.source or part.span
                    written = _literal(facts, place) or '"…"'
                    yield Diagnostic.of(
                        CHECK,
                        "this is an address, not a path",
                        place,
                        help=f"declare `data {part.value.name} = url({written})` and read that",
                    )


def _literal(facts: Facts, span: Span) -> str:
    """The plain string at `span`, quotes and all; empty where something else stands there."""
    source = facts.typed.sources.get(span.file)
    text = source.text[span.start : span.end] if source else ""
    return text if text.startswith('"') else ""
