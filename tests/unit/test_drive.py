"""The driver makes of every text what lark makes of it, and refuses what lark refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lark import Token, Tree
from lark.exceptions import UnexpectedInput

from mlflowc.syntax import drive, parser
from mlflowc.syntax.lexer import TooDeepError
from tests.support.programs import commented, programs

_QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


class _Nodes:
    """A builder that makes (name, children) of everything."""

    def __getattr__(self, name: str) -> Callable[[list[Any]], Any]:
        return lambda children: (name, [_leaf(c) for c in children])


def _leaf(node: Any) -> Any:
    return (node.type, str(node), node.start_pos, node.end_pos) if isinstance(node, Token) else node


def _of_lark(node: Any) -> Any:
    if isinstance(node, Tree):
        return (str(node.data), [_of_lark(c) for c in node.children])
    return _leaf(node)


def _both(text: str) -> tuple[Any, Any]:
    try:
        ours, _ = parser._driver().parse(text, _Nodes())
    except (drive.Refused, TooDeepError):
        ours = None
    try:
        theirs = _of_lark(parser._lark().parse(text))
    except (UnexpectedInput, TooDeepError):
        theirs = None
    return ours, theirs


@given(programs())
@_QUICK
def test_programs_that_parse(text: str) -> None:
    ours, theirs = _both(text)
    assert ours is not None
    assert ours == theirs


@given(commented(), st.data())
@_QUICK
def test_programs_that_were_damaged(program: tuple[str, int], data: st.DataObject) -> None:
    text = program[0]
    at = data.draw(st.integers(0, len(text)))
    junk = data.draw(
        st.sampled_from(["", "in", "..", ".*", ".", '"', "{", ")", "\r\n", " , ", "#", "5%", "and "])
    )
    damaged = text[:at] + junk + text[at + data.draw(st.integers(0, 3)) :]
    ours, theirs = _both(damaged)
    assert ours == theirs


@pytest.mark.parametrize(
    "text",
    [
        'mlpipe 1\nstage in { in in\n out out: text = "x" }\n',
        'mlpipe 1\nstage a {\r\n  param train.*, b\r\n  run = "x" # end\r\n}',
        "mlpipe 1\ngate g { require a.b in 1\n and c.d > 0.5 }",
        "mlpipe 1\ngate g { require a.b > 1\n # why\n and c.d > 0..5 }",
        "mlpipe 1\n\tstage a { }   ",
        "",
        "\n\n# only\n",
    ],
)
def test_odd_ones(text: str) -> None:
    ours, theirs = _both(text)
    assert ours == theirs


def test_the_file_is_parsed_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflowc.span import Source

    def never(*_: object) -> None:
        raise AssertionError("lark was asked")

    monkeypatch.setattr(parser._lark(), "parse", never)
    assert parser.parse(Source("p", "mlpipe 1\nstage a { run = 'x' }\n".replace("'", '"'))).file.decls
