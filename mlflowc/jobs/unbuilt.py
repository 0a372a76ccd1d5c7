"""What the language can say and a generated job cannot do yet. Refused by `build` and by `exec`, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir.model import Pipeline, Place
from mlflowc.jobs.model import Job, Workflow
from mlflowc.span import Span

_SWEEP = """\
stage train {
  param train.lr
  out scores: metrics { auc: float } = "scores.json"
  run = "python train.py"
}
sweep tune over train {
  vary   train.lr in [0.1, 0.2]
  search = grid()
  goal   = maximize(scores.auc)
}
"""
_FEED = """\
data feed: csv = url("https://example.org/feed.csv")
stage a {
  in feed
  out x = "x.csv"
  run = "cp {{feed}} {{x}}"
}
"""

SWEEP = Check(
    "MLP510",
    Severity.ERROR,
    "sweeps do not run in CI yet",
    explanation(
        """
        A sweep that an event names needs a job for every round of trials, and no job is made for it yet.
        Name the stage itself.
        """,
        _SWEEP + 'on schedule("17 3 * * 1") { run = [tune] }',
        _SWEEP + 'on schedule("17 3 * * 1") { run = [train] }',
    ),
)
CLOUD = Check(
    "MLP511",
    Severity.ERROR,
    "machines are not launched from CI yet",
    explanation(
        """
        A runner with `cloud = ...` asks for a machine that the job would have to start and to end, and no
        such job is made yet. Give the runner the labels of machines that are there.
        """,
        """
        runner big {
          gpu   = gpu(1)
          cloud = aws(region = "us-east-1")
        }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        runner big {
          gpu    = gpu(1)
          github = ["self-hosted", "gpu"]
        }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)
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

CHECKS: tuple[Check, ...] = (SWEEP, CLOUD, REFRESH)


def unbuilt(
    pipeline: Pipeline, workflows: tuple[Workflow, ...], locate: Callable[[Place], Span]
) -> tuple[Diagnostic, ...]:
    """Everything in `workflows` that would need what is not built, each once."""
    found = {(d.code, d.span, d.message): d for w in workflows for d in _in_workflow(pipeline, w, locate)}
    return tuple(found.values())


def _in_workflow(
    pipeline: Pipeline, workflow: Workflow, locate: Callable[[Place], Span]
) -> Iterator[Diagnostic]:
    event = workflow.event
    for sweep in pipeline.sweeps:
        if sweep.name in event.run:
            message = f"the sweep `{sweep.name}` does not run in CI yet"
            help = f"name its stage instead: `run = [{sweep.stage}]`"
            yield Diagnostic.of(SWEEP, message, locate(event.place), label="run by this event", help=help)
    if event.refresh:
        message = f"an event cannot refresh data yet: {', '.join(event.refresh)}"
        yield Diagnostic.of(REFRESH, message, locate(event.place), help="leave `refresh` out for now")
    yield from _clouds(pipeline, workflow.jobs, locate)


def _clouds(
    pipeline: Pipeline, jobs: tuple[Job, ...], locate: Callable[[Place], Span]
) -> Iterator[Diagnostic]:
    used = {job.runner for job in jobs}
    for runner in pipeline.runners:
        if runner.name in used and runner.cloud is not None and not runner.labels:
            message = (
                f"runner `{runner.name}` wants a machine at {runner.cloud.provider}, and CI launches none yet"
            )
            help = 'give it the labels of machines that are there, as in `github = ["self-hosted", "gpu"]`'
            yield Diagnostic.of(CLOUD, message, locate(runner.place), help=help)
