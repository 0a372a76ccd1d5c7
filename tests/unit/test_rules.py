"""Sources with mistakes, and what is found in them. Adding a case is adding a file.

Each `tests/cases/err/*.mlpipe` says behind a line, in a comment, what is found there: `### MLP328 "regex"`,
several after each other. Nothing else may be found. A folder of the same name holds the project's other
files; without one, a small project stands around it. `### file: MLP104 "…"` expects one in another file.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from mlflowc.check import fixes, rules
from mlflowc.compile import Compiled, compile_text
from mlflowc.diagnostic import Diagnostic
from mlflowc.render import text as render_text
from tests.support.checks_page import FILES
from tests.support.loader import MemoryLoader

CASES = Path(__file__).parent.parent / "cases" / "err"
_EXPECTED = re.compile(r'(?:(?P<file>[\w./-]+): )?(?P<code>MLP\d{3}) "(?P<words>[^"]*)"')


def project(case: Path) -> dict[str, str]:
    """The files around a case."""
    folder = case.with_suffix("")
    if not folder.is_dir():
        return FILES
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in files}


def compiled(case: Path) -> Compiled:
    text = case.read_text("utf-8")
    return compile_text(case.name, text, MemoryLoader({**project(case), case.name: text}))


def expected(case: Path) -> list[tuple[str, int, str, str]]:
    """File, line, code and words of each finding; the line is 0 in another file."""
    found = []
    for number, line in enumerate(case.read_text("utf-8").splitlines(), 1):
        comment = line.partition("### ")[2]
        for match in _EXPECTED.finditer(comment):
            place = (match["file"], 0) if match["file"] else (case.name, number)
            found.append((*place, match["code"], match["words"]))
    return found


def described(found: Compiled, diagnostic: Diagnostic) -> str:
    line = found.sources[diagnostic.span.file].position(diagnostic.span.start).line
    return f"{diagnostic.span.file}:{line}: {diagnostic.code} {diagnostic.message}"


@pytest.mark.parametrize("case", sorted(CASES.glob("*.mlpipe")), ids=lambda path: path.stem)
def test_exactly_these_are_found(case: Path) -> None:
    found = compiled(case)
    left = list(found.diagnostics)
    missing = []
    for file, line, code, words in expected(case):
        for diagnostic in left:
            here = found.sources[diagnostic.span.file].position(diagnostic.span.start).line
            same = diagnostic.span.file == file and line in (0, here) and diagnostic.code == code
            if same and re.search(words, diagnostic.message):
                left.remove(diagnostic)
                break
        else:
            missing.append(f"{file}:{line}: {code} {words!r}")
    assert not missing and not left, {"missing": missing, "extra": [described(found, d) for d in left]}


@pytest.mark.parametrize("case", sorted(CASES.glob("*.mlpipe")), ids=lambda path: path.stem)
def test_fixes_mend(case: Path) -> None:
    """A fix takes its finding away, and what it writes can be read."""
    before = compiled(case)
    mended = fixes.apply(before.diagnostics, before.sources)
    files = {**project(case), **mended.texts}
    text = files.get(case.name, case.read_text("utf-8"))
    after = compile_text(case.name, text, MemoryLoader({**files, case.name: text}))
    had, has = (Counter((d.code, d.message) for d in c.diagnostics) for c in (before, after))
    for fixed in [d for d in before.diagnostics if d.fix in mended.applied]:
        assert has[fixed.code, fixed.message] < had[fixed.code, fixed.message], fixed.message
    assert not {code for code, _ in set(has) - set(had) if code < "MLP2"}


_WHOLE = Path(__file__).parent.parent.parent / "examples" / "digits" / "pipeline.mlpipe"


@pytest.mark.parametrize("case", [*sorted(CASES.glob("*.mlpipe")), _WHOLE], ids=lambda path: path.stem)
def test_no_half_of_a_file_breaks_the_compiler(case: Path) -> None:
    """Without any one of its lines, and cut off behind it, a source gives findings that can be shown."""
    lines = case.read_text("utf-8").splitlines(keepends=True)
    for n in range(len(lines)):
        for text in (
            "".join(lines[:n] + lines[n + 1 :]),
            "".join(lines[:n]) + lines[n][: len(lines[n]) // 2],
        ):
            found = compile_text(case.name, text, MemoryLoader({**FILES, case.name: text}))
            shown = render_text.render(found.diagnostics, found.sources)
            assert shown.count("┌─ ") >= len(found.diagnostics)


def test_every_rule_has_a_case() -> None:
    covered = {code for case in CASES.glob("*.mlpipe") for _, _, code, _ in expected(case)}
    assert {check.code for check in rules.CHECKS} <= covered


def test_every_rule_file_is_in_the_table() -> None:
    folder = Path(rules.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    named = {getattr(rule, "__name__", "").rpartition(".")[2] for rule in rules.RULES}
    assert files == named
    codes = [rule.CHECK.code for rule in rules.RULES]
    assert codes == sorted(codes)
