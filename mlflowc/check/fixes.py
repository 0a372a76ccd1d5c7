"""Applies the fixes of diagnostics to sources: all that can be applied at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mlflowc.diagnostic import Diagnostic, Edit, Fix
from mlflowc.span import Source


class Fixed(NamedTuple):
    """The new texts of the files that change, and the fixes that were applied."""

    texts: dict[str, str]
    applied: tuple[Fix, ...]


def apply(diagnostics: Iterable[Diagnostic], sources: Mapping[str, Source]) -> Fixed:
    """Applies each fix whole or not at all: one that overlaps an earlier one waits for the next round."""
    taken: dict[str, list[Edit]] = {}
    applied: list[Fix] = []
    for diagnostic in diagnostics:
        fix = diagnostic.fix
        if fix is None or not fix.edits or fix in applied:
            continue
        if any(edit.span.file not in sources or _clashes(edit, taken) for edit in fix.edits):
            continue
        applied.append(fix)
        for edit in fix.edits:
            taken.setdefault(edit.span.file, []).append(edit)
    texts = {file: _edited(sources[file].text, edits) for file, edits in taken.items()}
    return Fixed(texts, tuple(applied))


def _clashes(edit: Edit, taken: Mapping[str, list[Edit]]) -> bool:
    """Whether the edit touches what another one changes; two insertions at one place clash too."""
    start, end = edit.span.start, edit.span.end
    for other in taken.get(edit.span.file, ()):
        low, high = other.span.start, other.span.end
        if start == low or (start < high and low < end):
            return True
    return False


def _edited(text: str, edits: list[Edit]) -> str:
    for edit in sorted(edits, key=lambda e: e.span.start, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text
