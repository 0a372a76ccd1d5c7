"""A failure that the command hides."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP419",
    Severity.WARNING,
    "a command hides its failure",
    explanation(
        """
        With `|| true`, a command that fails counts as one that succeeded: what it left is published as the
        stage's result and cached. For steps that fail now and then there is `retry`.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "curl -o {{x}} example.org || true"
        }
        """,
        """
        stage a {
          retry = 2
          out x = "x.csv"
          run = "curl -o {{x}} example.org"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`|| true` and `|| :` in stages; `set +e` too."""
    for step in facts.typed.stages:
        for text in step.texts:
            words = facts.command(text).words
            for n, word in enumerate(words):
                hides = word.first and word.glue == "||" and word.text in ("true", ":")
                off = word.first and word.text == "set" and n + 1 < len(words) and words[n + 1].text == "+e"
                if hides or off:
                    yield Diagnostic.of(
                        CHECK,
                        f"`{step.value.name}` hides a failure: a broken result would be cached",
                        word.span,
                        help="let it fail, with `retry = 2` where it may; or say which failure is none: "
                        "`… || [ $? -eq 3 ]`",
                    )
