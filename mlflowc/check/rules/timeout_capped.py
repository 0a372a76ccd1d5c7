"""A stage's timeout that its runner's ends first."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP426",
    Severity.WARNING,
    "a timeout that is never reached",
    explanation(
        """
        The runner's timeout ends the whole job before the stage's own timeout is up, so the stage is killed
        earlier than it says.
        """,
        """
        runner big { cpu = 8, timeout = 1h }
        stage a {
          runner  = big
          timeout = 2h
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        runner big { cpu = 8, timeout = 3h }
        stage a {
          runner  = big
          timeout = 2h
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Steps with a timeout longer than that of their runner."""
    runners = {block.value.name: block for block in facts.typed.runners}
    for step in facts.steps:
        runner = runners.get(step.value.runner or "")
        limit = runner.value.timeout if runner is not None else None
        if runner is None or limit is None or step.value.timeout is None or step.value.timeout <= limit:
            continue
        yield Diagnostic.of(
            CHECK,
            f"the runner `{runner.value.name}` ends `{step.value.name}` before its timeout",
            step.settings.get("timeout", step.span),
            related=(Label(runner.settings.get("timeout", runner.span), "the job ends here"),),
            help="raise the runner's timeout, or lower this one",
        )
