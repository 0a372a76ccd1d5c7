"""Strings as meant: escapes, indentation, placeholders with their places."""

from __future__ import annotations

import pytest

from mlflowc.span import Span
from mlflowc.syntax.ast import Str
from mlflowc.syntax.template import Placeholder, bad_escapes, cook, parts


def _literal(raw: str, start: int = 0) -> Str:
    return Str(cook(raw), raw, Span("p", start, start + len(raw)))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ('"a b"', "a b"),
        ('""', ""),
        (r'"\n\t\\\"\'"', "\n\t\\\"'"),
        (r'"\u0041\u{1F600}"', "A😀"),
        (r'"\d"', r"\d"),
        ('"""one"""', "one"),
        ('"""\n  a\n    b\n\n  c\n  """', "a\n  b\n\nc\n"),
        ('"""\n  a\n  b"""', "a\nb"),
        ('"""\n\ta\n\tb\n\t"""', "a\nb\n"),
        ('"""\r\n  a\r\n  b\r\n  """', "a\nb\n"),
        ('"""\n  a \\\n  b\n  """', "a b\n"),
        ('"""a "quoted" b"""', 'a "quoted" b'),
    ],
)
def test_values(raw: str, value: str) -> None:
    assert cook(raw) == value


def test_bad_escapes_have_places() -> None:
    (found,) = bad_escapes(r'"a\n\d"', Span("p", 10, 17))
    assert (found.text, found.span) == (r"\d", Span("p", 14, 16))


def test_too_large_a_code_point_is_bad() -> None:
    assert [b.text for b in bad_escapes(r'"\u{110000}"', Span("p", 0, 12))] == [r"\u{110000}"]


def test_placeholders_have_places() -> None:
    raw = '"run {{ data }} {{x.y}}!"'
    found = parts(_literal(raw, 100))
    assert [p.text if isinstance(p, Placeholder) else p for p in found] == ["run ", "data", " ", "x.y", "!"]
    for part in found:
        if isinstance(part, Placeholder):
            assert raw[part.span.start - 100 : part.span.end - 100] == part.text


def test_placeholders_in_indented_text() -> None:
    raw = '"""\n    a {{x}}\n      b {{ y }}\n    """'
    found = parts(_literal(raw))
    assert [p.text if isinstance(p, Placeholder) else p for p in found] == ["a ", "x", "\n  b ", "y", "\n"]
    assert [raw[p.span.start : p.span.end] for p in found if isinstance(p, Placeholder)] == ["x", "y"]


def test_a_literal_pair_of_braces() -> None:
    assert parts(_literal(r'"{{"{{"}}x"'.replace('"{{"}}', r"\"{{\"}}"))) == ("{{x",)


def test_single_braces_are_the_shells() -> None:
    assert parts(_literal('"echo ${HOME} {a,b}"')) == ("echo ${HOME} {a,b}",)
