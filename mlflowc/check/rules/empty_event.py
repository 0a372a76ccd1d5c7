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
        span = event.settings.get("run")
        if span is None or event.value.run or event.value.refresh:
            continue  # without `run`, that has been said
        source = facts.typed.sources[span.file]
        if source.text[span.start : span.end].strip("[] \t\r\n,"):
            continue  # what it names is unknown, and that has been said
        yield Diagnostic.of(
            CHECK,
            f"`on {event.value.kind}` runs nothing",
            span,
            help="say what: `run = [a_stage, a_gate]`",
        )
