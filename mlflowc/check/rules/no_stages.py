"""A pipeline without stages."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP424",
    Severity.WARNING,
    "a pipeline without stages",
    explanation(
        """
        The file declares no stage, so there is nothing to run.
        """,
        """
        env py { python = "3.11" }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """A file that others use, with nothing but types, environments, runners and components, is fine."""
    typed = facts.typed
    if typed.stages or typed.actions:
        return
    yield Diagnostic.of(
        CHECK, f"`{typed.name}` has no stage", typed.header, help='write one: `stage NAME { … run = "…" }`'
    )
