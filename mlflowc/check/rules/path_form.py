"""A path that is awkward somewhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from mlflowc.check.facts import Facts, places
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity, explanation
from mlflowc.span import Span

_UNFIT = '<>:"|?*'

CHECK = Check(
    "MLP416",
    Severity.WARNING,
    "a path that is awkward on some machines",
    explanation(
        """
        Spaces in a path break Makefiles, and scripts that forget to quote; `\\ : * ?` cannot be in a file
        name on Windows; an accent that is encoded in two characters is not found by those who type it as
        one. `./a` and `a//b` are written as `a` and `a/b`.
        """,
        """
        stage a {
          out x = "my data.csv"
          run = "touch {{x}}"
        }
        """,
        """
        stage a {
          out x = "my_data.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Outputs and kept paths: what the project itself chooses."""
    told: set[Span] = set()
    for step in facts.typed.stages:
        for part in places(step):
            path = part.value.path
            place = part.source or part.span
            if place in told:  # another instance of `each`
                continue
            told.add(place)
            if any(c.isspace() for c in path):
                yield Diagnostic.of(CHECK, f"`{path}` has a space in it", place, help="use `_` or `-`")
            elif bad := next((c for c in path if c in _UNFIT or ord(c) < 32), None):
                shown = bad if bad.isprintable() else f"character {ord(bad)}"
                yield Diagnostic.of(
                    CHECK,
                    f"`{shown}` cannot be in a path everywhere",
                    place,
                    help="use `/`, letters, digits, `_`, `-`, `.`",
                )
            elif unicodedata.normalize("NFC", path) != path:
                yield Diagnostic.of(
                    CHECK,
                    f"`{path}` holds an accent in two characters",
                    place,
                    help="write it composed (Unicode NFC)",
                    fix=_fix(facts, place, path, unicodedata.normalize("NFC", path)),
                )


def _fix(facts: Facts, span: Span, path: str, better: str) -> Fix | None:
    """Certain where the place is the literal itself."""
    source = facts.typed.sources.get(span.file)
    if source is None or source.text[span.start : span.end] != f'"{path}"':
        return None
    return Fix(f"write `{better}`", (Edit(span, f'"{better}"'),))
