"""A schedule that no service accepts."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.cron import CronError, parse
from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP336",
    Severity.ERROR,
    "a schedule that is not a cron expression",
    explanation(
        """
        A schedule has five fields: minute 0-59, hour 0-23, day of the month 1-31, month 1-12, day of the
        week 0-7 (0 and 7 are Sunday). Each is `*`, a number, a range `1-5`, a step `*/15`, or a list of
        these. Names (`MON`), seconds, `@daily` and `L` are not understood by all services.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 25 * * *") { run = [a] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 5 * * *") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Reads each schedule as the narrowest service does."""
    for event in facts.typed.events:
        if event.value.cron is None:
            continue
        try:
            parse(event.value.cron)
        except CronError as e:
            yield Diagnostic.of(
                CHECK,
                f"`{event.value.cron}` is not a schedule: {e}",
                event.settings.get("cron", event.span),
                help="five fields: minute hour day month weekday, as in `17 3 * * *`",
            )
