"""Lines in columns: keyword, name, type, value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WIDTH = 100

# Items of a stage share the column of their keywords, whatever kind they are.
_STEP = {"in", "out", "param"}


class Row(NamedTuple):
    """An element as it is aligned: rows of one `kind` in a run have their `middle` and `rest` in columns."""

    kind: str
    keyword: str
    left: str
    middle: str = ""
    rest: str = ""

    @property
    def is_multi(self) -> bool:
        """Whether it takes several lines, so that nothing is aligned with it."""
        return any("\n" in part for part in self[2:])

    def flat(self) -> str:
        """The row by itself."""
        return " ".join(part for part in self[1:] if part)

    def goes_with(self, other: Row) -> bool:
        """Whether the two can be in one run."""
        if self.is_multi and not (self.kind and self.kind == other.kind):
            return False
        return bool(self.kind) and (self.kind == other.kind or {self.kind, other.kind} <= _STEP)


def align(run: Sequence[tuple[Row, str]], indent: int) -> list[str]:
    """The lines of a run, each with its tail (a comma, a comment) behind it."""
    rows = [row for row, _ in run]
    lines: list[str] = []
    n = 0
    keyword = max((len(row.keyword) for row in rows if not row.is_multi), default=0)
    while n < len(rows):
        end = n
        while end < len(rows) and rows[end].kind == rows[n].kind:
            end += 1
        lines += _columns(rows[n:end], keyword, indent)
        n = end
    return [line + tail for line, (_, tail) in zip(lines, run, strict=True)]


def _columns(rows: Sequence[Row], keyword: int, indent: int) -> list[str]:
    """Rows of one kind: aligned fully, or without the column of values, or not at all, so that they fit."""
    single = [r for r in rows if not r.is_multi]
    left = max((len(r.left) for r in single if r.middle or r.rest), default=0)
    middle = max((len(r.middle) for r in single if r.rest), default=0)
    for widths in ((left, middle), (left, 0), (0, 0)):
        lines = [_line(r, keyword, 0, 0) if r.is_multi else _line(r, keyword, *widths) for r in rows]
        if all(indent + len(s) <= WIDTH for s, r in zip(lines, rows, strict=True) if not r.is_multi):
            break
    return lines


def _line(row: Row, keyword: int, left: int, middle: int) -> str:
    parts = [row.keyword.ljust(keyword)] if row.keyword else []
    parts.append(row.left.ljust(left))
    if row.middle or (middle and row.rest):
        parts.append(row.middle.ljust(middle))
    if row.rest:
        parts.append(row.rest)
    return " ".join(parts).rstrip()
