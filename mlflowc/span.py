"""Places in source text. Everything that can be complained about carries a `Span`."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from mlflowc.frozen import dataclass, field


class Span(NamedTuple):
    """Characters `start` to `end` (half-open, counted from 0) of the source named `file`."""

    file: str
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`, in the same file."""
        return Span(self.file, self.start, other.end)


class Position(NamedTuple):
    """A line and a column, both counted from 1; the column counts characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text under the name that diagnostics show (a path relative to the project)."""

    name: str
    text: str
    _starts: list[int] = field(default_factory=list, compare=False, repr=False)

    def position(self, offset: int) -> Position:
        """The line and column of a character offset; an offset behind the end means the end."""
        starts = self._line_starts()
        line = bisect_right(starts, offset) - 1
        return Position(line + 1, offset - starts[line] + 1)

    def offset(self, line: int, column: int) -> int:
        """The character offset of a line and a column, both counted from 1; at most the text's length."""
        starts = self._line_starts()
        if line > len(starts):
            return len(self.text)
        return min(starts[line - 1] + column - 1, len(self.text))

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line break; empty behind the last line."""
        starts = self._line_starts()
        if not 1 <= number <= len(starts):
            return ""
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")

    def _line_starts(self) -> list[int]:
        # Only sources with something to complain about ever need their lines.
        if not self._starts:
            self._starts.append(0)
            at = self.text.find("\n")
            while at >= 0:
                self._starts.append(at + 1)
                at = self.text.find("\n", at + 1)
        return self._starts
