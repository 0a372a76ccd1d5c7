"""A schedule at the full hour."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP401",
    Severity.WARNING,
    "a schedule at the full hour",
    explanation(
        """
        Most schedules of the world are set to minute 0. The services are congested then: GitHub delays such
        starts, often by half an hour, and drops some. Any other minute is better.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("0 3 * * *") { run = [a] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 * * *") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Schedules that start at minute 0 only."""
    for schedule in facts.schedules:
        if schedule.cron.minutes == {0}:
            minute = 11 + sum(map(ord, facts.typed.name)) % 38
            rest = " ".join(schedule.text.split()[1:])
            yield Diagnostic.of(
                CHECK,
                "at minute 0 the services are congested: starts come late or not at all",
                schedule.span,
                help=f"choose another minute, as in `{minute} {rest}`",
            )
