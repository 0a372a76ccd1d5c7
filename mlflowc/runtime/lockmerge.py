"""Two locks become one: what a merge of two branches makes of `mlpipe.lock`.

Entry by entry, against their common ancestor: what one side changed is taken, what both changed alike is
taken once. An environment is taken as a whole (`env NAME` with all its `package NAME.…`): a resolution made
of halves of two may fit no more. Where both sides changed an entry, a `judge` who knows the checkout may say
which side it belongs to; else the entry is ours. Either way no entry is wrong for long: a stage's entry only
counts where its key is that of the checkout, and the next run writes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from mlflowc.errors import Failure
from mlflowc.runtime.lockfile import Entry, LockFile

Name: TypeAlias = tuple[str, str]


class Side(StrEnum):
    """Where an entry was taken from."""

    OURS = "ours"
    THEIRS = "theirs"


class Settled(NamedTuple):
    """An entry that both sides changed: `kind` and `name`, the side that was taken, and why.

    `known`: the checkout says so; else it is by rule. `gone` where that side has no such entry.
    """

    kind: str
    name: str
    side: Side
    known: bool
    gone: bool = False


# Asked about what both changed: kind, name, and each side's entries of it.
Judge: TypeAlias = Callable[[str, str, LockFile, LockFile], "Side | None"]


class Merged(NamedTuple):
    """The lock, and what had to be decided, sorted."""

    lock: LockFile
    settled: tuple[Settled, ...] = ()


def merge(base: LockFile, ours: LockFile, theirs: LockFile, judge: Judge | None = None) -> Merged:
    """One lock of two with a common ancestor (an empty one where there is none)."""
    parts = [_units(lock) for lock in (base, ours, theirs)]
    result: dict[Name, Entry] = {}
    settled: list[Settled] = []
    for unit in sorted(set().union(*parts)):
        before, mine, other = (part.get(unit, {}) for part in parts)
        if mine == other or other == before:
            result |= mine
        elif mine == before:
            result |= other
        else:
            known = judge(*unit, LockFile(mine), LockFile(other)) if judge else None
            # Changed against removed: the entry stays. A run drops those of stages that are no more.
            side = known or (Side.OURS if mine else Side.THEIRS)
            chosen = mine if side is Side.OURS else other
            settled.append(Settled(*unit, side, known is not None, not chosen))
            result |= chosen
    return Merged(LockFile(result), tuple(settled))


def _units(lock: LockFile) -> dict[Name, dict[Name, Entry]]:
    """The entries, those together that are taken together."""
    units: dict[Name, dict[Name, Entry]] = {}
    for (kind, name), entry in lock.entries.items():
        # Names of environments have no dot, names of packages may.
        unit = ("env", name.partition(".")[0]) if kind == "package" else (kind, name)
        units.setdefault(unit, {})[kind, name] = entry
    return units


class Sides(NamedTuple):
    """The three texts of a file with conflicts; `base` is empty where git did not write it."""

    base: str
    ours: str
    theirs: str


_MARK = re.compile(r"^(<{7}|\|{7}|={7}|>{7})(?: .*)?$")


def sides(text: str) -> Sides | None:
    """What git's conflict markers hold apart; None for a text without any.

    Raises `Failure` when the markers do not fit together.
    """
    parts: dict[str, list[str]] = {"base": [], "ours": [], "theirs": []}
    now: tuple[str, ...] = ("base", "ours", "theirs")
    found = False
    expected = "<"
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        mark = _MARK.match(line.rstrip("\r\n"))
        if mark is None:
            for side in now:
                parts[side].append(line)
            continue
        sign = mark[1][0]
        if sign not in expected:
            raise Failure(
                f"the conflict markers of the lock do not fit together at line {number}",
                help="take one side whole: `git checkout --ours -- mlpipe.lock`, then `mlpipec run`",
            )
        found = True
        if sign == "<":
            now, expected = ("ours",), "|="
        elif sign == "|":
            now, expected = ("base",), "="
        elif sign == "=":
            now, expected = ("theirs",), ">"
        else:
            now, expected = ("base", "ours", "theirs"), "<"
    if expected != "<":
        raise Failure(
            "the conflict markers of the lock do not fit together: the last one has no end",
            help="take one side whole: `git checkout --ours -- mlpipe.lock`, then `mlpipec run`",
        )
    if not found:
        return None
    return Sides(*("".join(parts[side]) for side in ("base", "ours", "theirs")))
