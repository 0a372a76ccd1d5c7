"""A schedule with both a day of the month and a day of the week."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP402",
    Severity.WARNING,
    "a schedule with two kinds of days",
    explanation(
        """
        When both the day of the month and the day of the week are given, cron starts on days that fit
        either one, not both. `17 3 1 * 1` is the first of the month and every Monday. Bitbucket cannot
        express it.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 1 * 1") { run = [a] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 1 * *") { run = [a] }
        on schedule("17 3 * * 1") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Schedules with both day fields set."""
    for schedule in facts.schedules:
        if not schedule.cron.any_day and not schedule.cron.any_weekday:
            yield Diagnostic.of(
                CHECK,
                "a day of the month or a day of the week, whichever fits, starts this schedule",
                schedule.span,
                help="write two schedules when both are meant, else `*` for one of them",
            )
