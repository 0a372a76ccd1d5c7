"""The names of the IANA time zone database."""

from __future__ import annotations

from functools import cache


@cache
def zones() -> frozenset[str]:
    """All zones that this machine's database has; empty where it has none.

    The one question of the checker that the project's files do not answer: the database is the same
    everywhere but for its age.
    """
    import zoneinfo  # only a schedule with a zone needs it

    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory", "posixrules"})
