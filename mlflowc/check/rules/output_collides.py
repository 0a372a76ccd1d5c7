"""Paths that are one file on some machines and two on others."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from mlflowc.check.facts import Facts, Written
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP324",
    Severity.ERROR,
    "two outputs are one file on some machines",
    explanation(
        """
        Two output paths differ only in upper and lower case, or in how an accent is encoded. On Linux they
        are two files, on macOS and Windows they are one, and the second stage overwrites the first one's
        result.
        """,
        """
        stage a {
          out x = "out/Model.pkl"
          run = "touch {{x}}"
        }
        stage b {
          out y = "out/model.pkl"
          run = "touch {{y}}"
        }
        """,
        """
        stage a {
          out x = "out/model_a.pkl"
          run = "touch {{x}}"
        }
        stage b {
          out y = "out/model_b.pkl"
          run = "touch {{y}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Compares paths case-folded and in Unicode's composed form."""
    seen: dict[str, Written] = {}
    for item in facts.written:
        first = seen.setdefault(unicodedata.normalize("NFC", item.path).casefold(), item)
        if first.path == item.path:
            continue
        yield Diagnostic.of(
            CHECK,
            f"`{item.path}` and `{first.path}` are the same file on macOS and Windows",
            item.part.source or item.part.span,
            label="differs only in case or encoding",
            related=(Label(first.part.source or first.part.span, "from this one"),),
            help="give them names that differ in more",
        )
