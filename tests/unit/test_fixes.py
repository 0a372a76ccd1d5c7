"""Fixes applied to sources: whole or not at all, never two over each other."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mlflowc.check import fixes
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity
from mlflowc.span import Source, Span

CHECK = Check("MLP411", Severity.WARNING, "t", "")
SOURCE = Source("a", "0123456789")
SOURCES = {"a": SOURCE, "b": Source("b", "xyz")}


def found(*edits: tuple[str, int, int, str]) -> Diagnostic:
    fix = Fix("mend", tuple(Edit(Span(file, start, end), text) for file, start, end, text in edits))
    return Diagnostic.of(CHECK, "m", Span("a", 0, 1), fix=fix)


def test_edits_keep_their_places() -> None:
    fixed = fixes.apply([found(("a", 0, 1, "ZERO"), ("a", 9, 10, "")), found(("a", 4, 4, "+"))], SOURCES)
    assert fixed.texts == {"a": "ZERO123+45678"}
    assert len(fixed.applied) == 2


def test_an_overlapping_fix_waits_whole() -> None:
    first, second = found(("a", 2, 5, "-")), found(("a", 4, 6, "+"), ("b", 0, 1, "!"))
    assert fixes.apply([first, second], SOURCES).texts == {"a": "01-56789"}


def test_two_insertions_at_one_place_clash() -> None:
    fixed = fixes.apply([found(("a", 3, 3, "x")), found(("a", 3, 3, "y"))], SOURCES)
    assert fixed.texts == {"a": "012x3456789"}


def test_neighbours_do_not_clash() -> None:
    fixed = fixes.apply([found(("a", 2, 4, "x")), found(("a", 4, 6, "y"))], SOURCES)
    assert fixed.texts == {"a": "01xy6789"}


def test_the_same_fix_of_two_findings_is_applied_once() -> None:
    fixed = fixes.apply([found(("a", 2, 4, "x")), found(("a", 2, 4, "x"))], SOURCES)
    assert (fixed.texts, len(fixed.applied)) == ({"a": "01x456789"}, 1)


def test_a_file_that_is_not_at_hand_is_left_alone() -> None:
    assert fixes.apply([found(("gone", 0, 1, "")), Diagnostic.of(CHECK, "m", Span("a", 0, 1))], SOURCES) == (
        {},
        (),
    )


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)).map(sorted), max_size=8))
def test_what_is_not_edited_stays(spans: list[list[int]]) -> None:
    fixed = fixes.apply([found(("a", a, b, f"<{n}>")) for n, (a, b) in enumerate(spans)], SOURCES)
    taken = {n for fix in fixed.applied for e in fix.edits for n in range(e.span.start, e.span.end)}
    left = "".join(c for n, c in enumerate(SOURCE.text) if n not in taken)
    assert re.sub(r"<\d+>", "", fixed.texts.get("a", SOURCE.text)) == left
