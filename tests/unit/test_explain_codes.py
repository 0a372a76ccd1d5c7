"""Every code of the syntax has an explanation: its failing example fails with it, its mended one parses."""

from __future__ import annotations

import re

import pytest

from mlflowc.diagnostic import Check
from mlflowc.span import Source
from mlflowc.syntax.checks import CHECKS
from mlflowc.syntax.decode import decode
from mlflowc.syntax.parser import parse

_WITHOUT_EXAMPLE = {"MLP117", "MLP118"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.code)
def test_examples(check: Check) -> None:
    examples = re.findall(r"```mlpipe(?: fails)?\n(.*?)```", check.explanation, re.DOTALL)
    if check.code in _WITHOUT_EXAMPLE:
        assert not examples
        return
    failing, mended = examples
    assert check.code in {d.code for d in parse(Source("f", failing)).diagnostics}
    assert parse(Source("f", mended)).diagnostics == ()


def test_codes_are_unique_and_all_have_words() -> None:
    codes = [c.code for c in CHECKS]
    assert codes == [f"MLP{n}" for n in range(101, 101 + len(codes))]
    assert all(c.title and c.explanation.strip() for c in CHECKS)


def test_not_utf8_says_where() -> None:
    found = decode("p.mlpipe", b'mlpipe 1\ndata x = "caf\xe9"\n')
    assert not isinstance(found, Source)
    assert found.code == "MLP117"
    assert "byte 0xE9 at offset 22 (line 2, column 14)" in found.message
    assert "ISO-8859-1" in found.help


def test_utf16_is_named() -> None:
    found = decode("p.mlpipe", "mlpipe 1".encode("utf-16"))
    assert not isinstance(found, Source)
    assert "UTF-16" in found.help


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert decode("p", b"\xef\xbb\xbfmlpipe 1\n") == Source("p", "mlpipe 1\n")


def test_many_errors_are_counted() -> None:
    text = "mlpipe 1\n" + "nonsense\n" * 50
    found = parse(Source("p", text)).diagnostics
    assert len(found) == 21
    assert found[-1].code == "MLP118"
    assert "30 more" in found[-1].message
