"""A schedule that no service accepts."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.cron import CronError, parse_cron
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP336",
    Severity.ERROR,
    "a schedule that is not a cron expression",
    explanation(
        """
        A schedule has five fields: minute 0-59, hour 0-23, day of the month 1-31, month 1-12, day of the
        week 0-7 (0 and 7 are Sunday). Each is `*`, a number, a range `1-5`, a step `*/15`, or a list of
        these. Months and weekdays have names, `JAN` and `MON`. Seconds, `@daily` and `L` are not understood
        by all services.
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
            parse_cron(event.value.cron)
        except CronError as e:
            yield Diagnostic.of(
                CHECK,
                f"no service takes this schedule: it {e}",
                event.settings.get("cron", event.span),
                help="five fields: minute hour day month weekday, as in `17 3 * * *`",
            )
