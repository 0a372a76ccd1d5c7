"""Whatever the program: formatting keeps its meaning and comments, and formatting again changes nothing."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from mlflowc.span import Source
from mlflowc.syntax.format import format_source
from mlflowc.syntax.parser import parse
from tests.support.programs import bare, commented, programs

_QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def _format(text: str) -> str:
    formatted = format_source(Source("p.mlpipe", text))
    assert isinstance(formatted, str), (text, formatted)
    return formatted


@given(programs())
@_QUICK
def test_meaning_is_kept_and_again_changes_nothing(text: str) -> None:
    before = parse(Source("p.mlpipe", text))
    assert not before.diagnostics, text
    once = _format(text)
    after = parse(Source("p.mlpipe", once))
    assert not after.diagnostics, once
    assert bare(after.file) == bare(before.file)
    assert _format(once) == once


@given(commented())
@_QUICK
def test_every_comment_is_kept_once(program: tuple[str, int]) -> None:
    text, count = program
    before = parse(Source("p.mlpipe", text)).file
    assert len(before.comments) == count
    once = _format(text)
    after = parse(Source("p.mlpipe", once)).file
    assert sorted(c.text for c in after.comments) == sorted(c.text for c in before.comments)
    assert bare(after) == bare(before)
    assert _format(once) == once
