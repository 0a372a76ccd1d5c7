"""The table of checks: complete, consistent, and true, since every example in it is compiled here."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.check import registry
from mlflowc.diagnostic import Check, Diagnostic, Severity
from tests.support.checks_page import BLOCK, compiled, page, printed

ROOT = Path(__file__).parent.parent.parent
CHECKS = registry.all_checks()


def examples(check: Check) -> tuple[list[str], list[str]]:
    """The failing and the right sources in an explanation."""
    found = [(bool(m[1]), m[2]) for m in BLOCK.finditer(check.explanation)]
    return [text for fails, text in found if fails], [text for fails, text in found if not fails]


def diagnostics(text: str) -> tuple[Diagnostic, ...]:
    return compiled(text).diagnostics


def test_codes_are_unique_and_in_a_known_phase() -> None:
    codes = [check.code for check in CHECKS]
    assert len(codes) == len(set(codes))
    for check in CHECKS:
        assert re.fullmatch(r"MLP[1-5]\d\d", check.code)
        assert check.code[3] in registry.PHASES


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.code)
def test_each_says_what_and_why(check: Check) -> None:
    assert check.title and not check.title.endswith(".")
    prose = BLOCK.sub("", check.explanation).strip()
    assert len(prose.split()) >= 8, "why it matters, in a sentence"
    assert prose.endswith((".", ":")), prose[-40:]
    assert check.severity in (Severity.ERROR, Severity.WARNING)
    if check.code[3] == "4":
        assert check.severity is Severity.WARNING
    if check.code[3] in "123":
        assert check.severity is Severity.ERROR


# What backends and the job graph find takes more than a compile: their own tests run those examples.
# MLP117 is a file that is no text, MLP118 the end of a long list of errors: no short source shows them.
COMPILED = [c for c in CHECKS if c.code < "MLP51" and c.code not in ("MLP117", "MLP118")]


@pytest.mark.parametrize("check", COMPILED, ids=lambda c: c.code)
def test_its_examples_are_true(check: Check) -> None:
    failing, right = examples(check)
    assert failing and right
    for text in failing:
        found = diagnostics(text)
        assert check.code in {d.code for d in found}, [(d.code, d.message) for d in found]
        assert {d.severity for d in found if d.code == check.code} == {check.severity}
    for text in right:
        assert check.code not in {d.code for d in diagnostics(text)}


# Fetching what an event refreshes comes first.
UNSHOWN = {"MLP117", "MLP118"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.code)
def test_what_is_printed_is_shown(check: Check) -> None:
    failing, right = examples(check)
    if check.code not in UNSHOWN:
        assert failing and all(f"[{check.code}]" in printed(check, text) for text in failing)
        assert not any(printed(check, text) for text in right)


def _modules() -> Iterator[str]:
    """The modules that declare a check, by their source."""
    roots = (("mlflowc", ROOT / "mlflowc"), ("mlflowc.backends", ROOT / "backends"))
    for package, folder in roots:
        for path in sorted(folder.rglob("*.py")):
            if re.search(r"^[A-Z_]+ = Check\(", path.read_text("utf-8"), re.MULTILINE):
                yield ".".join([package, *path.relative_to(folder).with_suffix("").parts])


@pytest.mark.parametrize("name", list(_modules()))
def test_every_check_declared_anywhere_is_in_the_table(name: str) -> None:
    module = importlib.import_module(name)
    declared = {value for value in vars(module).values() if isinstance(value, Check)}
    assert declared and declared <= set(CHECKS)


def test_codes_are_found_however_they_are_written() -> None:
    code = CHECKS[0].code
    assert registry.find(code.lower()) == registry.find(code[3:]) == registry.find(code) == CHECKS[0]
    assert registry.find("MLP999") is None


def test_docs_checks_md_is_up_to_date() -> None:
    """With what is printed for every failing example."""
    written = (ROOT / "docs" / "checks.md").read_text("utf-8")
    assert written == page(), "run: python -m tests.support.checks_page > docs/checks.md"
