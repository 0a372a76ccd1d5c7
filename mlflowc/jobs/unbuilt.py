"""What the language can say and a generated job cannot do yet. Refused by `build` and by `exec`, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlflowc.diagnostic import Check, Diagnostic, Severity
from mlflowc.ir.model import Pipeline, Place
from mlflowc.jobs.model import Job, Workflow
from mlflowc.span import Span

SWEEP = Check(
    "MLP510",
    Severity.ERROR,
    "sweeps do not run in CI yet",
    "A `sweep` that an event names needs a job for every round of trials, which `mlpipec build` does not"
    ' make yet.\n\nFails: `on schedule("0 3 * * 1") { run = [tune] }`\n\nInstead, name the stage itself:'
    " `run = [train]`.",
)
CLOUD = Check(
    "MLP511",
    Severity.ERROR,
    "machines are not launched from CI yet",
    "A runner with `cloud = ...` asks for a machine that the job would have to start and to end."
    " `mlpipec build` does not make such jobs yet.\n\nInstead, give the runner the labels of machines that"
    ' are there:\n\n```mlpipe\nrunner a10g {\n  gpu    = gpu(1)\n  github = ["self-hosted", "gpu"]\n}\n```',
)
REFRESH = Check(
    "MLP512",
    Severity.ERROR,
    "data is not refreshed by an event yet",
    "`refresh = [...]` takes new data in and pins it, which an event cannot do yet.\n\n"
    'Fails: `on schedule("0 3 * * *") { refresh = [feed], run = [train] }`\n\nInstead, leave `refresh` out'
    " and commit a new pin by hand.",
)
REMOTE = Check(
    "MLP513",
    Severity.ERROR,
    "results are not shared through a remote yet",
    "`cache { remote = ... }` has no effect on generated jobs yet: they share results through the CI"
    " service's own cache. Leave it out, so that nobody counts on it.",
)
AUTH = Check(
    "MLP514",
    Severity.ERROR,
    "short-lived credentials are not set up yet",
    "`auth aws { ... }` asks the CI service for credentials by OIDC; `mlpipec build` does not make that"
    " exchange yet. Use `secrets = [...]` on the stage that needs them.",
)

UNBUILT: tuple[Check, ...] = (SWEEP, CLOUD, REFRESH, REMOTE, AUTH)


def unbuilt(
    pipeline: Pipeline, workflows: tuple[Workflow, ...], locate: Callable[[Place], Span]
) -> tuple[Diagnostic, ...]:
    """Everything in `workflows` that would need what is not built, each once."""
    found = {(d.code, d.span, d.message): d for w in workflows for d in _in_workflow(pipeline, w, locate)}
    return (*found.values(), *_everywhere(pipeline, workflows, locate))


def _everywhere(
    pipeline: Pipeline, workflows: tuple[Workflow, ...], locate: Callable[[Place], Span]
) -> Iterator[Diagnostic]:
    if not workflows:
        return
    # Neither has a place of its own in the IR: the first event is what makes them matter.
    span = locate(workflows[0].event.place)
    if pipeline.cache.remote:
        message = f"the remote cache `{pipeline.cache.remote}` is not used by generated jobs yet"
        yield Diagnostic.of(REMOTE, message, span, help="leave `remote` out of `cache { ... }` for now")
    for auth in pipeline.auths:
        message = f"`auth {auth.provider}` is not set up by generated jobs yet"
        yield Diagnostic.of(AUTH, message, span, help="give the stage `secrets = [...]` instead")


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
