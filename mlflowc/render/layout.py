"""Where the pieces of one diagnostic stand, before they are coloured: lines of a source, cut to the width.

A `Mark` is a label brought to one line of display columns; a label over several lines becomes a
`Lane`, a bracket in the margin. `text.py` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlflowc.diagnostic import Label
from mlflowc.render import columns
from mlflowc.span import Source

_MARGIN = 12  # columns kept free on both sides of a span in a line that is cut
_SCAN = 2_000  # characters looked at before and behind a label in a line longer than that


@dataclass(frozen=True, slots=True)
class Mark:
    """Columns `start` to `end` (half-open, at least one) of a printed line."""

    start: int
    end: int
    text: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """A label from line `first` to line `last` (`last > first`); `column` is that of its end when printed."""

    first: int
    last: int
    label: Place


@dataclass(frozen=True, slots=True)
class Place:
    """A label in lines and characters, columns counted from 0."""

    line: int
    start: int
    last_line: int
    end: int
    text: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A line as printed, and the marks below it."""

    number: int
    text: str
    marks: tuple[Mark, ...]


def place(source: Source, label: Label, primary: bool) -> Place:
    """Where a label stands in `source`."""
    start = source.position(label.span.start)
    end = source.position(max(label.span.start, label.span.end))
    if end.line > start.line and end.column == 1:
        # A span that takes a line break with it ends on the line before.
        line = end.line - 1
        end = end._replace(line=line, column=len(source.line(line)) + 1)
    return Place(
        start.line, start.column - 1, end.line, end.column - 1, columns.plain(label.text).strip(), primary
    )


def printed(source: Source, number: int, places: Sequence[Place], room: int) -> Line:
    """Line `number` of `source` in at most `room` columns, cut around the labels in it."""
    text = source.line(number)
    spans = [(p.start, max(p.end, p.start + 1)) for p in places]
    low, high = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (0, 0)
    if len(text) > 2 * _SCAN:
        begin = max(0, low - _SCAN)
        text, cut_left = text[begin : max(low, min(high, low + _SCAN)) + _SCAN], begin
    else:
        cut_left = 0
    shown, at = _cells(text)
    total = at[-1]

    def column(char: int) -> int:
        char -= cut_left
        if char <= 0:
            return 0
        return at[char] if char < len(at) else total + 1

    marks = [
        Mark(column(p.start), max(column(p.end), column(p.start) + 1), p.text, p.primary) for p in places
    ]
    if total <= room and not cut_left:
        return Line(number, "".join(shown).rstrip(), tuple(marks))
    first, last = _window(marks, total, room)
    body = _slice(shown, at, first, last)
    left, right = first > 0 or cut_left > 0, last < total
    body = ("…" if left else "") + body + ("…" if right else "")
    shift = first - (1 if left else 0)
    edge = last - shift
    return Line(number, body.rstrip(), tuple(_moved(m, shift, edge) for m in marks))


def _moved(mark: Mark, shift: int, edge: int) -> Mark:
    """`mark` in a line that lost `shift` columns on the left and ends at column `edge`."""
    start = min(max(0, mark.start - shift), edge)
    return Mark(start, max(min(mark.end - shift, edge), start + 1), mark.text, mark.primary)


def _cells(text: str) -> tuple[list[str], list[int]]:
    """What is printed for each character, and the column at which each begins (one more at the end)."""
    shown: list[str] = []
    at = [0]
    for char in text:
        printed_as, size = columns.cell(char, at[-1])
        shown.append(printed_as)
        at.append(at[-1] + size)
    return shown, at


def _window(marks: Sequence[Mark], total: int, room: int) -> tuple[int, int]:
    """The columns to show: as many as fit, around the primary mark and, when possible, all marks."""
    room = max(room - 2, 8)  # the two ellipses
    if not marks:
        return 0, min(total, room)
    low, high = min(m.start for m in marks), max(m.end for m in marks)
    if high - low > room:
        main = next((m for m in marks if m.primary), marks[0])
        low, high = main.start, main.end
    if high <= room:
        return 0, min(total, room)
    first = max(0, low - _MARGIN) if high - low > room - 2 * _MARGIN else max(0, (low + high - room) // 2)
    first = max(0, min(first, total - room))
    return first, min(total, first + room)


def _slice(shown: Sequence[str], at: Sequence[int], first: int, last: int) -> str:
    """Columns `first` to `last`; a wide character cut in two leaves a space."""
    out: list[str] = []
    for n, char in enumerate(shown):
        if at[n] >= last:
            break
        if at[n] >= first and at[n + 1] <= last:
            out.append(char)
        elif at[n + 1] > first:
            out.append(" " * (min(at[n + 1], last) - max(at[n], first)))
    return "".join(out)
