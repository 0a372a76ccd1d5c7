"""An output that the command does not write."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal, placed
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP410",
    Severity.WARNING,
    "an output that the command does not write",
    explanation(
        """
        The stage promises an output, but its command names neither it nor its path, and starts no program
        that could write it unasked. The run would fail with "the output is missing".
        """,
        """
        stage a {
          out x = "out/x.csv"
          run = "touch out/y.csv"
        }
        """,
        """
        stage a {
          out x = "out/x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Stages whose command lines say all that they do. A command that changes its folder is left alone."""
    for step in facts.typed.stages:
        if not step.outputs or not facts.visible(step):
            continue
        used = placed(step, "output")
        for part in step.outputs:
            if part.value.name in used:
                continue
            path = normal(part.value.path)
            tail = path.rpartition("/")[2]
            words = [word.text for text in step.texts for word in facts.command(text).words]
            if any(path in word or tail in word for word in words):
                continue
            # A folder named as an output or argument around it may receive it.
            folders = {path[:n] for n, c in enumerate(path) if c == "/"}
            if any(normal(word) in folders for word in words):
                continue
            yield Diagnostic.of(
                CHECK,
                f"the command of `{step.value.name}` does not write `{part.value.name}`",
                part.span,
                help=f"write `{{{{{part.value.name}}}}}` where the command writes it",
            )
