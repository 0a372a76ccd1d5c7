"""Times, retries and sizes that make no sense."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.span import Span

_MOST_DAYS = 30
_MOST_RETRIES = 10
_LEAST_BYTES = 16 * 1024 * 1024

CHECK = Check(
    "MLP335",
    Severity.ERROR,
    "a limit out of range",
    explanation(
        """
        A timeout is at most 30 days and `retry` at most 10: no service lets a job run longer, and a stage
        that needs more tries has a fault that tries do not mend. Memory and disk are at least 16 MiB.
        """,
        """
        stage a {
          timeout = 60d
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        stage a {
          timeout = 2d
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Steps' `timeout` and `retry`; runners' `memory disk gpu timeout`."""
    for step in facts.steps:
        yield from _timeout(step.value.timeout, step.settings.get("timeout", step.span))
    for stage in facts.typed.stages:
        if stage.value.retry > _MOST_RETRIES:
            yield Diagnostic.of(
                CHECK,
                f"`retry` is at most {_MOST_RETRIES}, not {stage.value.retry}",
                stage.settings.get("retry", stage.span),
                help="a stage that needs more tries has a fault that tries do not mend",
            )
    for block in facts.typed.runners:
        runner = block.value
        yield from _timeout(runner.timeout, block.settings.get("timeout", block.span))
        sizes = [
            ("memory", runner.memory),
            ("disk", runner.disk),
            ("gpu", runner.gpu.memory if runner.gpu else None),
        ]
        for key, size in sizes:
            if size is not None and size < _LEAST_BYTES:
                yield Diagnostic.of(
                    CHECK,
                    f"`{key}` of the runner `{runner.name}` is only {size:,} bytes",
                    block.settings.get(key, block.span),
                    help="a larger unit was meant, as in `16GiB`?",
                )


def _timeout(seconds: int | None, span: Span) -> Iterator[Diagnostic]:
    if seconds is not None and seconds > _MOST_DAYS * 86_400:
        yield Diagnostic.of(
            CHECK,
            f"a timeout is at most {_MOST_DAYS} days",
            span,
            help="leave it out for the service's own limit",
        )
