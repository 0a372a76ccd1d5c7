"""A pattern that matches no file."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP422",
    Severity.WARNING,
    "a pattern that matches nothing",
    explanation(
        """
        No file of the project matches the pattern: an input of no files at all, or an event that waits for
        changes to files which do not exist.
        """,
        """
        stage a {
          in sources = glob("source/*.py")
          out x = "x.csv"
          run = "wc {{sources}} > {{x}}"
        }
        """,
        """
        stage a {
          in sources = glob("src/*.py")
          out x = "x.csv"
          run = "wc {{sources}} > {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`glob(...)` of inputs, and `paths` of events."""
    for step in facts.steps:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.GlobRef) and not facts.loader.glob(source.pattern):
                    yield Diagnostic.of(
                        CHECK,
                        f"no file matches `{source.pattern}`",
                        part.source or part.span,
                        help="`**` crosses folders, `*` does not; paths count from the pipeline's folder",
                    )
    for event in facts.typed.events:
        for pattern in event.value.paths:
            wild = any(c in pattern for c in "*?[")
            if facts.loader.glob(pattern) if wild else facts.exists(pattern):
                continue
            if pattern.startswith("!"):
                continue
            yield Diagnostic.of(
                CHECK,
                f"no file matches `{pattern}`, so it never starts this event",
                event.settings.get("paths", event.span),
                help="`**` crosses folders, `*` does not; paths count from the pipeline's folder",
            )
