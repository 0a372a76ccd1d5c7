"""Any text at all: no crash, no hang, and every place that a diagnostic names is in the text."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlflowc.diagnostic import Diagnostic, has_errors
from mlflowc.span import Source, Span
from mlflowc.syntax.decode import decode
from mlflowc.syntax.format import format_source
from mlflowc.syntax.parser import parse
from tests.support.programs import programs

_QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
_BITS = [
    "{", "}", "[", "]", "(", ")", '"', '"""', "'", "\\", "#", "//", "/*", ";", ":", "=", "==", ",", ".", "..",
    ".*", "-", "!", "&&", "\n", "\r\n", "\t", " ", "\0", "\ufeff", "\u00a0", "“", "”", "é", "1", "10x",
    "stage",
    "stage a {", "in", "out", "gate g {", "\nstage b {\n", "each", "if", "mlpipe 1", "mlpipe 2", "{{", "}}",
    "\n}\n", "on", "use", "$", "@", "%", "?",
]  # fmt: skip


def _spans(d: Diagnostic) -> list[Span]:
    edits = [e.span for e in d.fix.edits] if d.fix else []
    return [d.span, *(label.span for label in d.related), *edits]


def _check(text: str) -> None:
    source = Source("p.mlpipe", text)
    parsed = parse(source)
    assert len(parsed.diagnostics) <= 21
    for d in parsed.diagnostics:
        assert d.message and d.code.startswith("MLP1")
        for span in _spans(d):
            assert span.file == "p.mlpipe"
            assert 0 <= span.start <= span.end <= len(text), (d, len(text))
    formatted = format_source(source)
    assert isinstance(formatted, str) is not has_errors(parsed.diagnostics)
    ends = [d.span.end for d in parsed.file.decls]
    assert ends == sorted(ends) and all(end <= len(text) for end in ends)


@given(st.text(max_size=200))
@_QUICK
def test_any_text(text: str) -> None:
    _check(text)


@given(st.lists(st.sampled_from(_BITS), max_size=40).map("".join))
@example("mlpipe 1\nstage a {\n  x = [}\n]\n}")
@example("}{" * 10)
@_QUICK
def test_any_bits(text: str) -> None:
    _check(text)


@given(
    programs(),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 8), st.sampled_from(["", *_BITS])), min_size=1, max_size=4
    ),
)
@_QUICK
def test_mutated_programs(text: str, changes: list[tuple[float, int, str]]) -> None:
    for where, length, new in changes:
        at = int(where * len(text))
        text = text[:at] + new + text[at + length :]
    _check(text)


@given(st.binary(max_size=200))
@_QUICK
def test_any_bytes(data: bytes) -> None:
    found = decode("p.mlpipe", data)
    if isinstance(found, Source):
        _check(found.text)
    else:
        assert found.code == "MLP117"
        assert "offset" in found.message
