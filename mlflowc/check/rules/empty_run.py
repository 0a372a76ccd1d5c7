"""A command that does nothing."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP334",
    Severity.ERROR,
    "an empty command",
    explanation(
        """
        The text of `run` holds no command, so nothing would write the outputs.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "# to be written"
        }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Commands of spaces and comments only."""
    for step in facts.steps:
        for text in step.texts:
            first = text.value[0] if text.value else ""
            if not isinstance(first, str) or first.lstrip()[:1] not in ("", "#"):
                continue
            literal = "".join(part if isinstance(part, str) else "x" for part in text.value)
            if not any(line.strip() and not line.lstrip().startswith("#") for line in literal.splitlines()):
                yield Diagnostic.of(
                    CHECK, f"`{step.value.name}` has an empty command", text.span, help="write the command"
                )
