"""Cron expressions of five fields, as the CI services read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, tuple(_MONTHS)),
    ("day of week", 0, 7, tuple(_DAYS)),
)
_PART = re.compile(r"(\*|(?P<low>\w+)(-(?P<high>\w+))?)(/(?P<step>\d+))?")


class CronError(ValueError):
    """What is wrong with an expression, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The values of each field; Sunday is 0. `any_day`, `any_weekday`: the field was `*`."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def gap(self) -> int:
        """The least number of seconds between two starts on one day (a day, if there is only one)."""
        starts = sorted(h * 60 + m for h in self.hours for m in self.minutes)
        gaps = [b - a for a, b in pairwise(starts)]
        return 60 * min([*gaps, starts[0] + 1440 - starts[-1]])


def parse_cron(text: str) -> Cron:
    """`text` taken apart; `CronError` says what no service would take."""
    fields = text.split()
    if len(fields) != 5:
        raise CronError(f"has {len(fields)} fields; five are wanted: minute hour day month weekday")
    values = [_field(f, *spec) for f, spec in zip(fields, _FIELDS, strict=True)]
    weekdays = frozenset(d % 7 for d in values[4])
    return Cron(
        " ".join(fields),
        values[0],
        values[1],
        values[2],
        values[3],
        weekdays,
        fields[2] == "*",
        fields[4] == "*",
    )


def quartz(cron: Cron) -> str:
    """The same schedule in Quartz's seven fields, which count weekdays from 1 = Sunday.

    Quartz cannot hold a day of month and a day of week at once: `CronError`.
    """
    minute, hour, day, month, weekday = cron.text.split()
    if not cron.any_day and not cron.any_weekday:
        raise CronError("sets both a day of the month and a day of the week")
    if not cron.any_weekday:
        day, weekday = "?", ",".join(str(d + 1) for d in sorted(cron.weekdays))
    else:
        weekday = "?"
    return f"0 {minute} {hour} {day} {month} {weekday} *"


def _field(text: str, name: str, least: int, most: int, words: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if not match:
            raise CronError(f"has `{text}` as its {name}")
        low, high, step = match["low"], match["high"], int(match["step"] or 1)
        first = _number(low, name, least, words) if low else least
        last = _number(high, name, least, words) if high else (most if not low or match["step"] else first)
        if not least <= first <= last <= most or step < 1:
            raise CronError(f"has `{part}` as its {name}, which goes from {least} to {most}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str, least: int, words: tuple[str, ...]) -> int:
    if text.upper() in words:
        return words.index(text.upper()) + least
    if not text.isdecimal():
        raise CronError(f"has `{text}` as its {name}")
    return int(text)
