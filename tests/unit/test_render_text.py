"""Diagnostics as text: exact pictures, since their alignment is the point."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Label, Severity
from mlflowc.render import columns, text
from mlflowc.span import Source, Span

ERROR = Check("MLP212", Severity.ERROR, "a column", "")
WARNING = Check("MLP405", Severity.WARNING, "a stage", "")


def spot(source: Source, piece: str, nth: int = 0) -> Span:
    """The `nth` place of `piece` in the source."""
    at = -1
    for _ in range(nth + 1):
        at = source.text.index(piece, at + 1)
    return Span(source.name, at, at + len(piece))


def shown(*diagnostics: Diagnostic, sources: tuple[Source, ...], width: int = 80) -> str:
    out = text.render(diagnostics, {s.name: s for s in sources}, stream=io.StringIO(), width=width)
    assert all(line == line.rstrip() for line in out.splitlines())
    return out


def test_primary_and_related_with_help() -> None:
    source = Source(
        "churn.mlpipe",
        "mlpipe 1\n\nstage prepare {\n"
        '  out clean: csv { id: int, age: int } = "data/clean.csv"\n}\nstage train {\n\n'
        "  in data: csv { id: int, plan: str } = prepare.clean\n}\n",
    )
    found = Diagnostic.of(
        ERROR,
        "`train` wants column `plan`, and `prepare.clean` has none",
        spot(source, "plan: str"),
        label="required here",
        related=(Label(spot(source, "{ id: int, age: int }"), "declared here"),),
        help="add `plan: str` to `clean`, or drop it here",
    )
    assert shown(found, sources=(source,)) == (
        "error[MLP212]: `train` wants column `plan`, and `prepare.clean` has none\n"
        "   ┌─ churn.mlpipe:8:27\n"
        ' 4 │   out clean: csv { id: int, age: int } = "data/clean.csv"\n'
        "   │                  --------------------- declared here\n"
        "   ·\n"
        " 8 │   in data: csv { id: int, plan: str } = prepare.clean\n"
        "   │                           ^^^^^^^^^ required here\n"
        "   = help: add `plan: str` to `clean`, or drop it here\n"
        "\n1 error\n"
    )


def test_two_labels_on_one_line_hang_their_texts() -> None:
    source = Source("a", "in data = prepare.clean")
    found = Diagnostic.of(
        ERROR,
        "m",
        spot(source, "prepare"),
        label="here",
        related=(Label(spot(source, "data"), "and there"),),
    )
    assert shown(found, sources=(source,)) == (
        "error[MLP212]: m\n   ┌─ a:1:11\n"
        " 1 │ in data = prepare.clean\n"
        "   │    ----   ^^^^^^^ here\n"
        "   │    and there\n"
        "\n1 error\n"
    )


def test_overlapping_labels_have_rows_of_their_own() -> None:
    source = Source("a", "in data = prepare.clean")
    found = Diagnostic.of(
        ERROR, "m", spot(source, "prepare.clean"), label="x", related=(Label(spot(source, "clean"), "y"),)
    )
    assert "   │           ^^^^^^^^^^^^^ x\n   │                   ----- y\n" in shown(
        found, sources=(source,)
    )


def test_span_over_lines_is_a_bracket() -> None:
    source = Source("a", "x\nstage a {\n  b\n  c\n  d\n  e\n}\n")
    found = Diagnostic.of(WARNING, "m", Span("a", 2, len(source.text)), label="all of it")
    assert shown(found, sources=(source,)) == (
        "warning[MLP405]: m\n   ┌─ a:2:1\n"
        " 2 │ ╭ stage a {\n"
        " 3 │ │   b\n"
        "   · │\n"
        " 7 │ │ }\n"
        "   │ ╰─^ all of it\n"
        "\n1 warning\n"
    )


def test_related_in_another_file_and_one_that_is_not_at_hand() -> None:
    a, b = Source("a.mlpipe", "one"), Source("b.mlpipe", "\ntwo")
    found = Diagnostic.of(
        ERROR,
        "m",
        Span("a.mlpipe", 0, 3),
        related=(Label(Span("b.mlpipe", 1, 4), "there"), Label(Span("gone.yaml", 0, 1), "lost")),
        fix=Fix("write `three`", (Edit(Span("a.mlpipe", 0, 3), "three"),)),
    )
    assert shown(found, sources=(a, b)) == (
        "error[MLP212]: m\n"
        "   ┌─ a.mlpipe:1:1\n 1 │ one\n   │ ^^^\n"
        "   ┌─ b.mlpipe:2:1\n 2 │ two\n   │ --- there\n"
        "   ┌─ gone.yaml\n"
        "   = fix: write `three`\n"
        "\n1 error\n"
    )


@pytest.mark.parametrize(
    ("line", "piece", "before"),
    [
        ("\tin data", "data", "       "),
        ("日本語 data", "data", "       "),
        ("e\u0301 data", "data", "  "),
        ("a\x1b[31m data", "data", "       "),
        ("a\u202edata", "data", "  "),
    ],
)
def test_columns_are_those_of_the_terminal(line: str, piece: str, before: str) -> None:
    source = Source("a", line)
    out = shown(Diagnostic.of(ERROR, "m", spot(source, piece)), sources=(source,))
    assert f"   │ {before}^^^^\n" in out
    assert "\x1b" not in out and "\u202e" not in out


@pytest.mark.parametrize("at", [0, 100, 5_000, 9_990])
def test_long_line_is_cut_around_the_span(at: int) -> None:
    source = Source("a", "x" * at + "wrong" + "y" * (10_000 - at))
    out = shown(Diagnostic.of(ERROR, "m", Span("a", at, at + 5), label="this"), sources=(source,), width=80)
    lines = out.splitlines()
    assert all(columns.width(line) <= 80 for line in lines)
    marks = lines[3].index("^")
    assert lines[2][marks : marks + 5] == "wrong" and lines[3].endswith("^^^^^ this")


def test_label_that_does_not_fit_goes_below() -> None:
    source = Source("a", " " * 60 + "wrong")
    out = shown(
        Diagnostic.of(ERROR, "m", spot(source, "wrong"), label="a long story " * 3), sources=(source,)
    )
    assert all(columns.width(line) <= 80 for line in out.splitlines())
    assert "a long story a long story" in out


def test_the_end_of_the_file_and_an_empty_file() -> None:
    source = Source("a", "x\n")
    assert " 2 │\n   │ ^ here\n" in shown(
        Diagnostic.of(ERROR, "m", Span("a", 2, 2), label="here"), sources=(source,)
    )
    assert " 1 │\n   │ ^\n" in shown(Diagnostic.of(ERROR, "m", Span("b", 0, 0)), sources=(Source("b", ""),))


def test_counts_and_nothing() -> None:
    source = Source("a", "x")
    error, warning = (Diagnostic.of(check, "m", Span("a", 0, 1)) for check in (ERROR, WARNING))
    assert shown(error, warning, error, sources=(source,)).endswith("\n2 errors, 1 warning\n")
    assert text.render([], {}) == ""


def test_colour_is_the_terminals_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("a", "x")
    found = [Diagnostic.of(ERROR, "m", Span("a", 0, 1), label="l")]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = text.render(found, {"a": source})
    monkeypatch.setenv("NO_COLOR", "1")
    plain = text.render(found, {"a": source})
    assert "\x1b[1;31merror[MLP212]" in coloured and "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@given(
    lines=st.lists(st.text("ab {}=\t日\u0301\u202e…", max_size=120), min_size=1, max_size=6),
    cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=4),
    width=st.integers(40, 100),
)
def test_any_spans_of_any_text(lines: list[str], cuts: list[tuple[int, int]], width: int) -> None:
    """Nothing fails, no source line leaves the width, and each label's text is there."""
    source = Source("f", "\n".join(lines))
    spans = [Span("f", *sorted((min(a, len(source.text)), min(b, len(source.text))))) for a, b in cuts]
    related = tuple(Label(span, f"label{n}") for n, span in enumerate(spans[1:]))
    out = shown(
        Diagnostic.of(ERROR, "m", spans[0], label="main", related=related), sources=(source,), width=width
    )
    rows = out.splitlines()
    assert all(columns.width(row) <= width + 2 for row in rows if row[:3].strip().isdigit())
    assert out.count("main") == 1 and all(f"label{n}" in out for n in range(len(related)))


def test_ten_megabytes_in_one_line_are_quick_to_show(tmp_path: Path) -> None:
    source = Source("a", "x" * 10_000_000)
    out = shown(Diagnostic.of(ERROR, "m", Span("a", 5_000_000, 5_000_004)), sources=(source,))
    assert len(out) < 400
