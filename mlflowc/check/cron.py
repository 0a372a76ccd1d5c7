"""Cron expressions of five fields, as far as all CI services agree on them."""

from __future__ import annotations

import calendar
import re
from itertools import pairwise
from typing import NamedTuple

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_ITEM = re.compile(r"(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


class CronError(ValueError):
    """Why it is none, as the end of a sentence."""


class Cron(NamedTuple):
    """The values of each field, sorted; `days` and `weekdays` are None for `*`. Sunday is 0."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...] | None
    months: tuple[int, ...]
    weekdays: tuple[int, ...] | None

    @property
    def smallest_gap(self) -> int:
        """The fewest minutes between two starts on one day; at midnight from one day to the next too."""
        starts = [hour * 60 + minute for hour in self.hours for minute in self.minutes]
        gaps = [b - a for a, b in pairwise(starts)]
        return min([*gaps, starts[0] + 24 * 60 - starts[-1]])


def parse(text: str) -> Cron:
    """Reads an expression; raises `CronError`."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        if text.startswith("@"):
            raise CronError(f"`{text}` is a name that not all services know")
        raise CronError(f"it has {len(fields)} field{'' if len(fields) == 1 else 's'}, not five")
    values = [_field(field, *spec) for field, spec in zip(fields, _FIELDS, strict=True)]
    days = None if fields[2] == "*" else values[2]
    weekdays = None if fields[4] == "*" else tuple(sorted({day % 7 for day in values[4]}))
    cron = Cron(values[0], values[1], days, values[3], weekdays)
    if days is not None and weekdays is None and not any(_has(month, days[0]) for month in cron.months):
        raise CronError("no month of it has that day, so it never comes")
    return cron


def _field(text: str, name: str, low: int, high: int) -> tuple[int, ...]:
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise CronError(f"the {name} `{item}` is neither `*`, a number, a range nor a step")
        first = low if match[1] == "*" else int(match[2])
        last = high if match[1] == "*" or (match[4] and not match[3]) else int(match[3] or match[2])
        step = int(match[4] or 1)
        if not (low <= first <= high and low <= last <= high):
            raise CronError(f"the {name} `{item}` is outside {low} to {high}")
        if first > last:
            raise CronError(f"the {name} `{item}` runs backwards")
        if step < 1:
            raise CronError(f"the {name} `{item}` steps by nothing")
        found.update(range(first, last + 1, step))
    return tuple(sorted(found))


def _has(month: int, day: int) -> bool:
    """Whether `month` has `day`, in a leap year."""
    return day <= calendar.monthrange(2024, month)[1]
