"""What became of each construct of an imported file: carried over, changed on the way, or left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fate(StrEnum):
    """`CARRIED` means the same as before; `CHANGED` is there and differs in what `text` says; `LEFT` is
    not.
    """

    CARRIED = "carried"
    CHANGED = "changed"
    LEFT = "left out"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, counted from 1; files are named as the user sees them."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One construct. `construct` is its kind (`deps`, `foreach`), `text` what became of it, `todo` what
    to do.
    """

    fate: Fate
    construct: str
    place: Place
    text: str
    todo: str = ""

    def as_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "fate": self.fate.value,
            "construct": self.construct,
            "file": self.place.file,
            "line": self.place.line,
            "text": self.text,
            "todo": self.todo,
        }


@dataclass(slots=True)
class Coverage:
    """Findings as they come up; each is kept once."""

    _found: dict[Finding, None] = field(default_factory=dict)

    def carried(self, construct: str, place: Place, text: str) -> None:
        """The construct means the same as before."""
        self._found[Finding(Fate.CARRIED, construct, place, text)] = None

    def changed(self, construct: str, place: Place, text: str, todo: str = "") -> None:
        """The construct is there, with a difference that somebody should know."""
        self._found[Finding(Fate.CHANGED, construct, place, text, todo)] = None

    def left(self, construct: str, place: Place, text: str, todo: str) -> None:
        """The construct could not be carried over."""
        self._found[Finding(Fate.LEFT, construct, place, text, todo)] = None

    def add(self, findings: Iterable[Finding]) -> None:
        """Takes in findings of another reader."""
        self._found.update(dict.fromkeys(findings))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, by file and line."""
        return tuple(sorted(self._found, key=lambda f: (f.place.file, f.place.line, f.construct, f.text)))

    def of(self, fate: Fate) -> tuple[Finding, ...]:
        """The findings of one fate."""
        return tuple(f for f in self.findings if f.fate is fate)
