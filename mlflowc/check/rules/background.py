"""A command that leaves something running."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP420",
    Severity.WARNING,
    "a command leaves a process behind",
    explanation(
        """
        The command starts a process with `&` and does not wait for it. When the command ends, the stage
        counts as done and its outputs are stored, while that process may still write them.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "python src/prepare.py {{x}} & sleep 1"
        }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "python src/prepare.py {{x}} & sleep 1; wait"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """A single `&` between commands without a `wait` or a `kill` after it; `nohup` and `disown` always."""
    for step in facts.typed.stages:
        for text in step.texts:
            words = facts.command(text).words
            ended = any(word.first and word.text in ("wait", "kill", "trap") for word in words)
            for word in words:
                if (word.first and word.text in ("nohup", "disown", "setsid")) or (
                    word.glue == "&" and not ended
                ):
                    yield Diagnostic.of(
                        CHECK,
                        f"`{step.value.name}` does not wait for a process that it starts",
                        word.span,
                        help="end the command with `wait`",
                    )
                    break
