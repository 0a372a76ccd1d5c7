"""An event that runs nothing."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP340",
    Severity.ERROR,
    "an event that runs nothing",
    explanation(
        """
        The event names nothing to run and nothing to refresh, so no job could be made of it.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Events without `run` and `refresh`."""
    for event in facts.typed.events:
        if not event.value.run and not event.value.refresh:
            yield Diagnostic.of(
                CHECK,
                f"`on {event.value.kind}` runs nothing",
                event.settings.get("run", event.span),
                help="say what: `run = [a_stage, a_gate]`",
            )
