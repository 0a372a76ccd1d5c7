"""`mlpipec simulate`: the jobs that a service would start for an event, in order, with reason."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import click

from mlflowc import terminal
from mlflowc.commands import complete
from mlflowc.commands.options import file_option, overrides, set_option
from mlflowc.errors import Failure
from mlflowc.ir.model import Pipeline
from mlflowc.jobs.lower import lower
from mlflowc.jobs.model import Job, JobKind, Workflow
from mlflowc.runtime import targets
from mlflowc.runtime.plan import Action, Plan, make_plan
from mlflowc.runtime.sweeping.foresee import told as foresee_trials
from mlflowc.runtime.workspace import Workspace, open_workspace

# Services that can leave out a job whose results are cached; the other starts it, and it ends at once.
_SKIP = ("github", "bitbucket")
_MACHINES = {"github": "ubuntu-latest", "gitlab": "any runner", "bitbucket": "a hosted machine"}


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would become of one job: `does` is `starts`, `skipped`, `waits` (for approval) or `never`."""

    job: str
    does: str
    where: str
    after: tuple[str, ...]
    reason: str


@click.command("simulate")
@click.option("--target", type=click.Choice(list(_MACHINES)), required=True, help="The service.")
@click.option(
    "--event",
    metavar="EVENT",
    required=True,
    shell_complete=complete.events,
    help="The event, as in --event pull-request.",
)
@click.option("--fork", is_flag=True, help="The pull request comes from a fork.")
@click.option("--json", "as_json", is_flag=True, help="Print the jobs as JSON.")
@set_option
@file_option
def command(
    target: str, event: str, fork: bool, as_json: bool, settings: tuple[str, ...], file: str | None
) -> None:
    """Show the jobs that a service would start for an event, in order, with reason.

    What is cached is read from the cache of this checkout: a service with the same results does the same.
    """
    from mlflowc import project

    given = overrides(settings)
    loaded = project.load(file, overrides=given)
    chosen = targets.event(loaded.pipeline, event)
    if fork and chosen.kind != "pull_request":
        raise Failure("only a pull request comes from a fork", help="leave --fork out", code=2)
    pipeline = targets.under_event(loaded.pipeline, chosen, keep=given)
    workflow = lower(pipeline, chosen)
    ws = open_workspace(loaded.root, pipeline)
    try:
        jobs = foresee(ws, workflow, target, fork)
        ws.index.flush()
    finally:
        ws.close()
    if as_json:
        print(json.dumps([asdict(j) for j in jobs], indent=2))
        return
    for number, job in enumerate(jobs, 1):
        colour = {"starts": "green", "waits": "yellow", "skipped": "dim", "never": "red"}[job.does]
        name = terminal.style(f"{job.job:<16}", "bold")
        after = f", after {', '.join(job.after)}" if job.after else ""
        print(f"{number:>3} {name} {terminal.style(job.does, colour)} on {job.where}{after}")
        print(f"{'':20} {job.reason}")


def foresee(ws: Workspace, workflow: Workflow, target: str, fork: bool = False) -> list[Foreseen]:
    """What becomes of each job of `workflow`, in its order."""
    stages = [s for j in workflow.jobs for s in j.stages]
    plan = foresee_trials(ws, make_plan(ws, stages)) if stages else None
    return [_job(ws.pipeline, j, plan, target, fork) for j in workflow.jobs]


def _job(pipeline: Pipeline, job: Job, plan: Plan | None, target: str, fork: bool) -> Foreseen:
    where = _where(pipeline, job, target)
    if job.kind is JobKind.PLAN:
        return Foreseen(
            job.id, "starts", where, (), "checks the generated file, and looks for cached results"
        )
    after = tuple(n for n in job.needs if n != "plan")
    if job.kind is JobKind.CHECK:
        return Foreseen(job.id, "starts", where, after, f"decides and shows {job.title}")
    if job.kind is JobKind.PROPOSE:
        return Foreseen(job.id, "starts", where, after, "opens a pull request, where results are new")
    if fork and job.trusted and job.kind is JobKind.ACTION:
        return Foreseen(job.id, "never", where, after, "an action is never started for a fork")
    if job.kind is JobKind.ACTION:
        reason = f"waits for the approval of `{job.approve}`" if job.approve else "the event names it"
        return Foreseen(job.id, "waits" if job.approve else "starts", where, after, reason)
    news = _news(job, plan)
    if not news:
        if job.skippable and target in _SKIP:
            return Foreseen(job.id, "skipped", where, after, "its results are cached")
        return Foreseen(job.id, "starts", where, after, "only to take its results from the cache")
    if fork and job.trusted:
        reason = f"never for a fork; its results are not cached: {news}"
        return Foreseen(job.id, "never", where, after, reason)
    return Foreseen(job.id, "starts", where, after, news)


def _news(job: Job, plan: Plan | None) -> str:
    """Why a job has something to do: the first of its stages that would run. Empty: it has not."""
    words = {Action.RUN: "runs", Action.WAIT: "may run", Action.BLOCKED: "cannot run"}
    for stage in job.stages:
        step = plan.step(stage) if plan else None
        if step is not None and step.action in words:
            return f"`{stage}` {words[step.action]}: {step.reason}"
    return ""


def _where(pipeline: Pipeline, job: Job, target: str) -> str:
    runner = next((r for r in pipeline.runners if r.name == job.runner), None)
    labels = dict(runner.labels).get(target, ()) if runner else ()
    return ", ".join(labels) or _MACHINES[target]
