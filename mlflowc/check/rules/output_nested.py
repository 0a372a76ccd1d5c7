"""An output inside the folder of another."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP321",
    Severity.ERROR,
    "an output lies inside another",
    explanation(
        """
        One output is a folder and another lies in it. Restoring or replacing the folder would take the
        inner one with it, and the folder's content would depend on whether the other stage has run.
        """,
        """
        stage split {
          out parts: dir = "out"
          run = "mkdir -p {{parts}}"
        }
        stage count {
          out n = "out/count.txt"
          run = "echo 1 > {{n}}"
        }
        """,
        """
        stage split {
          out parts: dir = "out/parts"
          run = "mkdir -p {{parts}}"
        }
        stage count {
          out n = "out/count.txt"
          run = "echo 1 > {{n}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Looks up each output's folders among the paths that are written."""
    for item in facts.written:
        outer = facts.writer_of(posixpath.dirname(item.path))
        if outer is None:
            continue
        yield Diagnostic.of(
            CHECK,
            f"`{item.step.value.id}.{item.part.value.name}` lies inside "
            f"`{outer.step.value.id}.{outer.part.value.name}`",
            item.part.source or item.part.span,
            label=f"in `{outer.path}/`",
            related=(Label(outer.part.source or outer.part.span, "this is the folder around it"),),
            help="give them folders beside each other",
        )
