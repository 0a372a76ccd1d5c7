"""A schedule more often than the services start one."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_LEAST = 5  # minutes: what GitHub and GitLab.com document as the shortest interval

CHECK = Check(
    "MLP337",
    Severity.ERROR,
    "a schedule that comes too often",
    explanation(
        """
        No service starts a schedule more often than every five minutes; the starts between are dropped
        without a word.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("*/2 * * * *") { run = [a] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("3-59/15 * * * *") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """The smallest gap between two starts."""
    for schedule in facts.schedules:
        gap = schedule.cron.gap() // 60
        if gap < _LEAST:
            yield Diagnostic.of(
                CHECK,
                f"the schedule comes every {gap} min; services start one every {_LEAST} min at most",
                schedule.span,
                help=f"leave at least {_LEAST} minutes between two starts, as in `*/{_LEAST} * * * *`",
            )
