"""Times, retries and sizes that make no sense."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.span import Span

_DAY = 86_400
_MOST_DAYS = 30
_MOST_RETRIES = 10
_LEAST_BYTES = 1024 * 1024

CHECK = Check(
    "MLP335",
    Severity.ERROR,
    "a limit out of range",
    explanation(
        """
        A timeout is more than zero and at most 30 days, `retry` is 0 to 10, and a machine has at least one
        processor, one GPU where it asks for any, and a mebibyte. A memory of `16` is sixteen bytes; it was
        meant to be `16GiB`.
        """,
        """
        stage a {
          timeout = 0s
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        stage a {
          timeout = 10m
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Steps' `timeout` and `retry`; runners' `cpu memory disk gpu timeout`."""
    for step in facts.steps:
        yield from _timeout(step.value.timeout, step.settings.get("timeout", step.span))
    for stage in facts.typed.stages:
        if not 0 <= stage.value.retry <= _MOST_RETRIES:
            yield Diagnostic.of(
                CHECK,
                f"`retry` is 0 to {_MOST_RETRIES}, not {stage.value.retry}",
                stage.settings.get("retry", stage.span),
                help="a stage that needs more tries has a fault that tries do not mend",
            )
    for block in facts.typed.runners:
        runner = block.value
        yield from _timeout(runner.timeout, block.settings.get("timeout", block.span))
        counts = [("cpu", runner.cpu), ("gpu", runner.gpu.count if runner.gpu else None)]
        for key, count in counts:
            if count is not None and count < 1:
                yield Diagnostic.of(
                    CHECK,
                    f"`{key}` of the runner `{runner.name}` is {count}",
                    block.settings.get(key, block.span),
                    help=f"write 1 or more, or take `{key}` away",
                )
        sizes = [
            ("memory", runner.memory),
            ("disk", runner.disk),
            ("gpu", runner.gpu.memory if runner.gpu else None),
        ]
        for key, size in sizes:
            if size is not None and size < _LEAST_BYTES:
                yield Diagnostic.of(
                    CHECK,
                    f"`{key}` of the runner `{runner.name}` is only {size} bytes",
                    block.settings.get(key, block.span),
                    help="write a unit, as in `16GiB`",
                )


def _timeout(seconds: int | None, span: Span) -> Iterator[Diagnostic]:
    if seconds is None:
        return
    if seconds <= 0:
        yield Diagnostic.of(CHECK, "a timeout of nothing ends the command before it starts", span)
    elif seconds > _MOST_DAYS * _DAY:
        yield Diagnostic.of(
            CHECK,
            f"a timeout is at most {_MOST_DAYS} days",
            span,
            help="leave it out for the service's own limit",
        )
