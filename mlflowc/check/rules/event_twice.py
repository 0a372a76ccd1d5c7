"""Two events that are one."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.check.model import Event
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP341",
    Severity.ERROR,
    "an event is declared twice",
    explanation(
        """
        Two `on` blocks wait for the same thing, so each such event would start two pipelines that compete
        for the same cache and comment twice. Put what they run into one block, or tell them apart by
        `paths`.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        on push("main") { run = [a] }
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
    """Events of equal kind, pattern, schedule and paths."""
    seen: dict[object, Event] = {}
    for event in facts.typed.events:
        value = event.value
        first = seen.setdefault((value.kind, value.pattern, value.cron, value.zone, value.paths), event)
        if first is event:
            continue
        yield Diagnostic.of(
            CHECK,
            f"`on {value.kind}` is declared twice",
            event.span,
            label="again here",
            related=(Label(first.span, "the first"),),
            help="put all that it runs into one block",
        )
