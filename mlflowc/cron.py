"""Cron expressions of five fields, as the CI services read them."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from itertools import pairwise

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_Field = tuple[str, int, int, tuple[str, ...]]
_FIELDS: tuple[_Field, ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)
_ITEM = re.compile(r"(?:\*|(?P<low>\w{1,3})(?:-(?P<high>\w{1,3}))?)(?:/(?P<step>\d{1,2}))?", re.ASCII)


class CronError(ValueError):
    """What is wrong with an expression, as the end of a sentence about it."""


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
        """The least number of seconds between two starts, over midnight too (a day, if there is only one)."""
        starts = sorted(hour * 60 + minute for hour in self.hours for minute in self.minutes)
        gaps = [b - a for a, b in pairwise(starts)]
        return 60 * min([*gaps, starts[0] + 24 * 60 - starts[-1]])


def parse_cron(text: str) -> Cron:
    """`text` taken apart; `CronError` says what no service would take."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        if text.startswith("@"):
            raise CronError(f"is `{text}`, a name that not all services know")
        raise CronError(f"has {len(fields)} field{'' if len(fields) == 1 else 's'}, not five")
    minutes, hours, days, months, weekdays = (
        _field(field, spec) for field, spec in zip(fields, _FIELDS, strict=True)
    )
    any_day, any_weekday = fields[2] == "*", fields[4] == "*"
    # 2024 is a leap year: 29 February comes at times.
    if any_weekday and all(min(days) > calendar.monthrange(2024, month)[1] for month in months):
        raise CronError("names a day that no month of it has, so it never comes")
    week = frozenset(day % 7 for day in weekdays)
    return Cron(" ".join(fields), minutes, hours, days, months, week, any_day, any_weekday)


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


def _field(text: str, spec: _Field) -> frozenset[int]:
    name, least, most, _ = spec
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise CronError(f"has `{item}` as its {name}: neither `*`, a number, a range nor a step")
        low, high, step = match["low"], match["high"], match["step"]
        first = _number(low, item, spec) if low else least
        last = _number(high, item, spec) if high else (first if low and not step else most)
        if not (least <= first <= most and least <= last <= most):
            raise CronError(f"has `{item}` as its {name}, which goes from {least} to {most}")
        if first > last:
            raise CronError(f"has `{item}` as its {name}, which runs backwards")
        if step is not None and int(step) < 1:
            raise CronError(f"has `{item}` as its {name}, which steps by nothing")
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, item: str, spec: _Field) -> int:
    name, least, _, words = spec
    if text.upper() in words:
        return words.index(text.upper()) + least
    if not text.isdecimal():
        raise CronError(f"has `{item}` as its {name}: neither `*`, a number, a range nor a step")
    return int(text)
