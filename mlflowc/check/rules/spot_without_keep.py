"""A stage on a machine that may vanish, without a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP423",
    Severity.WARNING,
    "a spot machine without a checkpoint",
    explanation(
        """
        A spot machine can be taken away at any moment. With `keep`, the next try goes on from the
        checkpoint that the command left there; without, it starts from nothing, and a long training may
        never end.
        """,
        """
        runner cheap { cloud = aws(region = "us-east-1", spot = true) }
        stage train {
          runner = cheap
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        runner cheap { cloud = aws(region = "us-east-1", spot = true) }
        stage train {
          runner = cheap
          keep ckpt = "checkpoints/"
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Stages on runners with `spot = true`."""
    spot = {
        block.value.name: block
        for block in facts.typed.runners
        if block.value.cloud is not None and dict(block.value.cloud.options).get("spot") is True
    }
    for step in facts.typed.stages:
        block = spot.get(step.value.runner or "")
        if block is None or step.keeps:
            continue
        yield Diagnostic.of(
            CHECK,
            f"`{step.value.name}` starts from nothing whenever its spot machine is taken away",
            step.settings.get("runner", step.span),
            related=(Label(block.settings.get("cloud", block.span), "may be taken away"),),
            help='write checkpoints, and `keep ckpt = "checkpoints/"`',
        )
