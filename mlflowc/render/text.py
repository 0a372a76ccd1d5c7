"""Diagnostics for people: the source with carets under it.

```
error[MLP212]: `train` wants column `plan`, and `prepare.clean` has none
   ┌─ churn.mlpipe:41:27
32 │   out clean: csv { id: int, age: int } = "data/clean.csv"
   │              ------------------------- declared here
   ·
41 │   in data: csv { id: int, plan: str } = prepare.clean
   │                           ^^^^^^^^^ required here
   = help: add `plan: str` to `clean`, or drop it here
```

Carets mark the primary place, dashes the related ones. A label over several lines is a bracket in the
margin. Lines too long for the width are cut around what is marked in them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from mlflowc import terminal
from mlflowc.diagnostic import Diagnostic, Label, Severity
from mlflowc.render import columns
from mlflowc.render.layout import Lane, Line, Mark, Place, place, printed
from mlflowc.span import Source

_Paint = Callable[..., str]
_COLOUR = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
_WHOLE = 4  # a bracket over at most this many lines shows them all


def render(
    diagnostics: Sequence[Diagnostic],
    sources: Mapping[str, Source],
    *,
    stream: TextIO | None = None,
    width: int = 80,
) -> str:
    """All diagnostics, and a last line that counts them; empty when there are none.

    `stream` (stdout) is where it will be written, which decides about colour; `width` is in columns and at
    least 40. A place in a file that `sources` lacks is shown by the file's name alone.
    """
    if not diagnostics:
        return ""
    paint = _painter(stream or sys.stdout)
    width = max(width, 40)
    blocks = ["\n".join(_diagnostic(d, sources, paint, width)) for d in diagnostics]
    return "\n\n".join(blocks) + "\n\n" + summary(diagnostics, stream=stream) + "\n"


def summary(diagnostics: Sequence[Diagnostic], *, stream: TextIO | None = None) -> str:
    """`3 errors, 1 warning`."""
    paint = _painter(stream or sys.stdout)
    parts = []
    for severity in Severity:
        n = sum(d.severity is severity for d in diagnostics)
        if n:
            parts.append(paint(f"{n} {severity}{'' if n == 1 else 's'}", "bold", _COLOUR[severity]))
    return ", ".join(parts)


def _painter(stream: TextIO) -> _Paint:
    if not terminal.coloured(stream):
        return lambda text, *styles: text
    return lambda text, *styles: terminal.style(text, *styles, stream=stream)


def _diagnostic(d: Diagnostic, sources: Mapping[str, Source], paint: _Paint, width: int) -> list[str]:
    colour = _COLOUR[d.severity]
    head = paint(f"{d.severity}[{d.code}]", "bold", colour) + paint(f": {columns.plain(d.message)}", "bold")
    labels = [(Label(d.span, d.label), True), *((label, False) for label in d.related)]
    files: dict[str, list[Place]] = {}
    for label, primary in labels:
        source = sources.get(label.span.file)
        files.setdefault(label.span.file, [])
        if source is not None:
            files[label.span.file].append(place(source, label, primary))
    last = max((p.last_line for places in files.values() for p in places), default=0)
    gutter = max(len(str(last)), 2)
    lines = [head]
    for file, places in files.items():
        lines += _file(file, places, sources.get(file), gutter, paint, colour, width)
    lines += _notes("help", d.help, gutter, paint)
    if d.fix is not None and d.fix.title not in d.help:
        lines += _notes("fix", d.fix.title, gutter, paint)
    return lines


def _notes(word: str, text: str, gutter: int, paint: _Paint) -> list[str]:
    pad = " " * (gutter + 1)
    first = f"{pad}{paint('=', 'blue')} {paint(word, 'bold')}: "
    rest = pad + " " * (len(word) + 4)
    return [(rest if n else first) + line for n, line in enumerate(columns.plain(text).splitlines())]


def _file(
    file: str,
    places: Sequence[Place],
    source: Source | None,
    gutter: int,
    paint: _Paint,
    colour: str,
    width: int,
) -> list[str]:
    pad = " " * (gutter + 1)
    if source is None:
        return [f"{pad}{paint('┌─', 'blue')} {columns.plain(file)}"]
    at = next((p for p in places if p.primary), places[0])
    lines = [f"{pad}{paint('┌─', 'blue')} {columns.plain(file)}:{at.line}:{at.start + 1}"]
    lanes = [Lane(p.line, p.last_line, p) for p in places if p.last_line > p.line]
    single: dict[int, list[Place]] = {}
    for p in places:
        if p.last_line == p.line:
            single.setdefault(p.line, []).append(p)
    room = width - gutter - 3 - 2 * len(lanes)
    before = 0
    for number in _wanted(single, lanes):
        if before and number == before + 2:
            # A gap of one line is shorter shown than said.
            between = printed(source, before + 1, (), room)
            lines.append(_source_line(between, lanes, gutter, paint, colour))
        elif before and number > before + 1:
            lines.append(
                f"{pad}{paint('·', 'blue')} {_margin(lanes, before, number, paint, colour)}".rstrip()
            )
        here = single.get(number, [])
        line = printed(source, number, here, room)
        lines.append(_source_line(line, lanes, gutter, paint, colour))
        bar = f"{pad}{paint('│', 'blue')} "
        margin = _margin(lanes, number, number + 1, paint, colour)
        lines += [bar + margin + row for row in _rows(line.marks, room, paint, colour)]
        lines += [bar + row for row in _ends(lanes, number, paint, colour)]
        before = number
    return lines


def _wanted(single: Mapping[int, object], lanes: Sequence[Lane]) -> list[int]:
    """The numbers of the lines to show."""
    numbers = set(single)
    for lane in lanes:
        if lane.last - lane.first < _WHOLE:
            numbers.update(range(lane.first, lane.last + 1))
        else:
            numbers.update((lane.first, lane.first + 1, lane.last))
    return sorted(numbers)


def _source_line(line: Line, lanes: Sequence[Lane], gutter: int, paint: _Paint, colour: str) -> str:
    cells = []
    for lane in lanes:
        mark = "╭" if line.number == lane.first else "│" if lane.first < line.number <= lane.last else " "
        cells.append(paint(mark, colour if lane.label.primary else "blue") + " ")
    number = paint(f"{line.number:>{gutter}} │", "blue")
    return f"{number} {''.join(cells)}{line.text}".rstrip()


def _margin(lanes: Sequence[Lane], after: int, before: int, paint: _Paint, colour: str) -> str:
    """The brackets that go on between line `after` and line `before`."""
    return "".join(
        (
            paint("│", colour if lane.label.primary else "blue")
            if lane.first <= after and lane.last >= before
            else " "
        )
        + " "
        for lane in lanes
    )


def _ends(lanes: Sequence[Lane], number: int, paint: _Paint, colour: str) -> list[str]:
    """The closing rows of the brackets that end in line `number`."""
    rows = []
    for n, lane in enumerate(lanes):
        if lane.last != number:
            continue
        still = [other for other in lanes[:n] if other.last > number]
        margin = "".join("│ " if other in still else "  " for other in lanes[:n])
        marker = "^" if lane.label.primary else "-"
        tone = colour if lane.label.primary else "blue"
        across = "──" * (len(lanes) - n - 1)
        rows.append(margin + paint(f"╰{across}─{marker} {lane.label.text}".rstrip(), tone))
    return rows


def _rows(marks: Sequence[Mark], room: int, paint: _Paint, colour: str) -> list[str]:
    """The rows below a source line. Marks that lie apart share one row; overlapping ones get one each."""
    ordered = sorted(marks, key=lambda m: (m.start, m.end))
    rows: list[str] = []
    apart: list[Mark] = []
    for mark in ordered:
        if apart and mark.start < apart[-1].end:
            rows += _shared(apart, room, paint, colour)
            apart = []
        apart.append(mark)
    return rows + (_shared(apart, room, paint, colour) if apart else [])


def _shared(marks: Sequence[Mark], room: int, paint: _Paint, colour: str) -> list[str]:
    """Marks that lie apart: all on one row, the last one's text behind it, the others' hung below."""
    row, column = "", 0
    for mark in marks:
        row += " " * (mark.start - column) + _tone(
            ("^" if mark.primary else "-") * (mark.end - mark.start), mark, paint, colour
        )
        column = mark.end
    last = marks[-1]
    fits = column + 1 + columns.width(last.text) <= room
    if fits and last.text:
        row += " " + _tone(last.text, last, paint, colour)
    rows = [row]
    hung = [m for m in (marks[:-1] if fits else marks) if m.text]
    if not hung:
        return rows
    for n in range(len(hung) - 1, -1, -1):
        row, column = "", 0
        for mark in hung[:n]:
            row += " " * (mark.start - column) + _tone("│", mark, paint, colour)
            column = mark.start + 1
        mark = hung[n]
        at = max(column + 1 if column else 0, min(mark.start, room - columns.width(mark.text)))
        rows.append(row + " " * (at - column) + _tone(mark.text, mark, paint, colour))
    return rows


def _tone(text: str, mark: Mark, paint: _Paint, colour: str) -> str:
    return paint(text, colour if mark.primary else "blue")
