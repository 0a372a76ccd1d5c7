"""A gate, report or action that no event runs."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP406",
    Severity.WARNING,
    "a gate, report or action that no event runs",
    explanation(
        """
        The file says when things run, and this is none of them. A gate that is never run protects nothing.
        A sweep may well be one that people run by hand.
        """,
        """
        stage a {
          out m: metrics { auc: float } = "m.json"
          run = "touch {{m}}"
        }
        gate quality { require a.m.auc > 0.8 }
        on push("main") { run = [a] }
        """,
        """
        stage a {
          out m: metrics { auc: float } = "m.json"
          run = "touch {{m}}"
        }
        gate quality { require a.m.auc > 0.8 }
        on push("main") { run = [quality] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Only where there are events."""
    if not facts.typed.events:
        return
    groups = (
        ("gate", facts.typed.gates),
        ("report", facts.typed.reports),
        ("action", facts.typed.actions),
    )
    for kind, things in groups:
        for thing in things:
            name = thing.value.name
            if name in facts.started:
                continue
            yield Diagnostic.of(
                CHECK,
                f"no event ever runs the {kind} `{name}`",
                thing.span,
                help=f"name it in the `run` of an event: `run = [{name}]`",
            )
