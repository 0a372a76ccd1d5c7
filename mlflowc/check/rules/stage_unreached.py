"""A stage that no event ever runs."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP405",
    Severity.WARNING,
    "a stage that nothing reaches",
    explanation(
        """
        The file says when things run, and this stage is needed by none of them: no event names it, and no
        stage, gate, report or action that runs needs it. It runs only when somebody asks for it by hand.
        """,
        """
        stage a {
          out x = "a.csv"
          run = "touch {{x}}"
        }
        stage b {
          out x = "b.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        stage a {
          out x = "a.csv"
          run = "touch {{x}}"
        }
        stage b {
          out x = "b.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a, b] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Only where there are events: without any, everything is run by hand. One finding for all instances."""
    if not facts.typed.events:
        return
    reached = facts.reached
    live = {facts.stages[id].value.name for id in reached}
    told: set[str] = set()
    for step in facts.typed.stages:
        name = step.value.name
        if name in live or name in told:
            continue
        told.add(name)
        yield Diagnostic.of(
            CHECK,
            f"no event ever runs `{name}`",
            step.span,
            help=f"name it, or something that needs it, in the `run` of an event: `run = [{name}]`",
        )
