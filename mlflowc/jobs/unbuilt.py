"""What the language can say and a generated job cannot do yet. Refused by `build` and by `exec`, in words."""

from __future__ import annotations

from collections.abc import Callable

from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir.model import Place
from mlflowc.jobs.model import Workflow
from mlflowc.span import Span

_FEED = """\
data feed: csv = url("https://example.org/feed.csv")
stage a {
  in feed
  out x = "x.csv"
  run = "cp {{feed}} {{x}}"
}
"""

REFRESH = Check(
    "MLP512",
    Severity.ERROR,
    "an event does not refresh data yet",
    explanation(
        """
        `refresh = [...]` takes new data in and pins it, which an event cannot do yet. Leave it out, and
        commit new data by hand.
        """,
        _FEED + 'on schedule("17 3 * * *") { refresh = [feed], run = [a] }',
        _FEED + 'on schedule("17 3 * * *") { run = [a] }',
    ),
)

CHECKS: tuple[Check, ...] = (REFRESH,)


def unbuilt(workflows: tuple[Workflow, ...], locate: Callable[[Place], Span]) -> tuple[Diagnostic, ...]:
    """Everything in `workflows` that would need what is not built.

    What no run can do yet (sweeps, machines in a cloud) is refused earlier, by `mlflowc.check.unbuilt`.
    """
    return tuple(
        Diagnostic.of(
            REFRESH,
            f"an event cannot refresh data yet: {', '.join(w.event.refresh)}",
            locate(w.event.place),
            help="leave `refresh` out for now",
        )
        for w in workflows
        if w.event.refresh
    )
