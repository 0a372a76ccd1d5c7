"""A time zone that does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.check.zones import zones
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.spell import nearest

CHECK = Check(
    "MLP338",
    Severity.ERROR,
    "an unknown time zone",
    explanation(
        """
        `zone` is a name of the IANA time zone database, such as `Europe/Paris` or `UTC`. Abbreviations such
        as `PST` mean different offsets in different places, and services refuse them.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 * * *", zone = "Europe/Pari") { run = [a] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 * * *", zone = "Europe/Paris") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Names that the database of this machine lacks; none can be told apart where it has no database."""
    for event in facts.typed.events:
        zone = event.value.zone
        if zone is None:
            continue
        known = zones()
        if not known or zone in known:
            continue
        guess = nearest(zone, known) or next((z for z in sorted(known) if z.rpartition("/")[2] == zone), None)
        yield Diagnostic.of(
            CHECK,
            f"there is no time zone `{zone}`",
            event.settings.get("zone", event.span),
            help=f"did you mean `{guess}`?" if guess else "as in `UTC`, `Europe/Paris`, `America/New_York`",
        )
