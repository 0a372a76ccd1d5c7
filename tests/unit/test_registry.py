"""The table of checks: complete, consistent, and true, since every example in it is compiled here."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.check import registry
from mlflowc.compile import compile_text
from mlflowc.diagnostic import Check, Diagnostic, Severity
from tests.support.loader import MemoryLoader

ROOT = Path(__file__).parent.parent.parent
CHECKS = registry.all_checks()
_BLOCK = re.compile(r"^```mlpipe( fails)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# The project that the examples of `docs/checks.md` stand in.
FILES = {
    ".git/HEAD": "ref: refs/heads/main\n",
    "src/prepare.py": "print()\n",
    "src/train.py": "print()\n",
    "data/raw.csv": "id,age\n1,2\n",
    "data/big.csv.dvc": "outs:\n- md5: 00000000000000000000000000000000\n  path: big.csv\n",
    "params.yaml": "train:\n  lr: 0.1\n  epochs: 3\n",
    "requirements.txt": "numpy\n",
    "common.mlpipe": "mlpipe 1\ntype Scores = metrics { auc: float }\n",
    "circle.mlpipe": 'mlpipe 1\nuse "./example.mlpipe"\n',
    "stages.mlpipe": 'mlpipe 1\nstage train { run = "train" }\n',
    "broken.yaml": "lr: 0.1\nlr: 0.2\n",
    "train.py": "print()\n",
    "fit.py": "print()\n",
    "data.csv": "id,age\n1,2\n",
    "prepare.py": "print()\n",
}


def examples(check: Check) -> tuple[list[str], list[str]]:
    """The failing and the right sources in an explanation."""
    found = [(bool(m[1]), m[2]) for m in _BLOCK.finditer(check.explanation)]
    return [text for fails, text in found if fails], [text for fails, text in found if not fails]


def diagnostics(text: str) -> tuple[Diagnostic, ...]:
    return compile_text("example.mlpipe", text, MemoryLoader({**FILES, "example.mlpipe": text})).diagnostics


def test_codes_are_unique_and_in_a_known_phase() -> None:
    codes = [check.code for check in CHECKS]
    assert len(codes) == len(set(codes))
    for check in CHECKS:
        assert re.fullmatch(r"MLP[1-5]\d\d", check.code)
        assert check.code[3] in registry.PHASES


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.code)
def test_each_says_what_and_why(check: Check) -> None:
    assert check.title and not check.title.endswith(".")
    prose = _BLOCK.sub("", check.explanation).strip()
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
    page = (ROOT / "docs" / "checks.md").read_text("utf-8")
    assert page == registry.page(), "run: python -m mlflowc.check.registry > docs/checks.md"
