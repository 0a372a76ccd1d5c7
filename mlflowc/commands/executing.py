"""Doing one job of a generated file, for `mlpipec exec`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlflowc import project, quick, terminal
from mlflowc.commands import feeding, identities, sharing
from mlflowc.commands.courier import Courier
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, replace
from mlflowc.ir.model import Pipeline
from mlflowc.ir.sweeps import Part
from mlflowc.jobs import handover
from mlflowc.jobs.handover import Arrived
from mlflowc.jobs.lower import lower
from mlflowc.jobs.model import Job, JobKind, Workflow
from mlflowc.runtime import execute, inuse, laststate, pins, progress, targets
from mlflowc.runtime.deferred import only_needed
from mlflowc.runtime.events import Outcome, RunResult, StageResult
from mlflowc.runtime.plan import Action, Plan, make_plan
from mlflowc.runtime.remotes.link import Link
from mlflowc.runtime.workspace import Workspace, open_workspace
from mlflowc.spell import nearest

if TYPE_CHECKING:
    from mlflowc.runtime.sandbox.guard import Guard


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says; see `mlpipec exec --help`. The defaults are those of a line without
    options.
    """

    job: str
    event: str | None = None
    outputs: Path | None = None
    form: str | None = None
    post: bool = False
    remote: str | None = None
    sandbox: str = "off"
    file: str | None = None

    @property
    def plain(self) -> bool:
        """Whether it says no more than the job and the event, and `--post`."""
        return self.file is None and self.remote is None and self.sandbox == "off"


@dataclass(frozen=True, slots=True)
class _Work:
    """One job of one event, in an open workspace. `special`: what it finds holds for this call alone."""

    ws: Workspace
    pipeline: Pipeline
    workflow: Workflow
    job: Job
    arrived: Arrived
    link: Link | None
    asked: Asked
    special: bool


def execute_job(asked: Asked) -> int:
    """Does what one job of a generated CI file, or a target of the Makefile, is there for; the exit code.

    Raises `Failure`.
    """
    loaded = project.load(asked.file)
    if asked.event is None:
        with _using(loaded.root, loaded.pipeline) as ws:
            feeding.attach(ws)
            return _local(ws, asked, sharing.attach(ws, asked.remote))
    given = _given(lower(loaded.pipeline, targets.event(loaded.pipeline, asked.event)), os.environ)
    if given:
        loaded = project.load(asked.file, overrides=given)
    chosen = targets.event(loaded.pipeline, asked.event)
    pipeline = targets.under_event(loaded.pipeline, chosen, keep=given)
    workflow = lower(pipeline, chosen)
    found = _job(workflow, asked.job)
    if found.kind is JobKind.PROPOSE:
        _refuse_others(pipeline, project.load(asked.file).pipeline if given else loaded.pipeline)
    with identities.taken(loaded.root, pipeline, chosen, found) as held, _using(loaded.root, pipeline) as ws:
        ws.identity = held
        planning = found.kind is JobKind.PLAN
        handover.refuse_committed(ws.root)
        arrived = handover.arrive(ws, () if planning else chosen.refresh)
        feeding.attach(ws, locked="the job of an event pins nothing by the way")
        for text in arrived.bad:
            print(
                terminal.style("warning", "bold", "yellow", stream=sys.stderr) + f": {text}", file=sys.stderr
            )
        sharing.tell_unlike(arrived.unlike)
        alone = identities.withheld(pipeline, chosen, held, asked.remote)
        special = bool(given or arrived.bad or arrived.unlike or alone)
        link = None if alone else sharing.attach(ws, asked.remote)
        return _do(_Work(ws, pipeline, workflow, found, arrived, link, asked, special))


@contextlib.contextmanager
def _using(root: Path, pipeline: Pipeline) -> Iterator[Workspace]:
    """The workspace; nothing is collected from its cache while bundles are read and written."""
    ws = open_workspace(root, pipeline)
    try:
        ws.prepare()
        with inuse.using(ws.cache_state):
            yield ws
    finally:
        ws.close()


def _given(workflow: Workflow, environment: Mapping[str, str]) -> dict[str, str]:
    """What a person set when starting the event, by parameter."""
    return {i.param: environment[i.variable] for i in workflow.inputs if environment.get(i.variable)}


def _job(workflow: Workflow, name: str) -> Job:
    job = workflow.job(name)
    if job is not None:
        return job
    known = [j.id for j in workflow.jobs]
    guess = nearest(name, known)
    help = f"did you mean `{guess}`?" if guess else f"its jobs: {', '.join(known)}"
    raise Failure(f"the event `{workflow.id}` has no job `{name}`", help=help, code=2)


def _do(work: _Work) -> int:
    if work.job.kind is JobKind.PLAN:
        return _plan(work)
    if handover.nothing_fresh(work.workflow, work.arrived):
        print(_idle(work.workflow))
        return 0
    if work.asked.outputs is not None:
        raise Failure("only the job `plan` has outputs", help="leave --outputs out", code=2)
    if work.asked.post and work.job.kind is not JobKind.CHECK:
        raise Failure("only the job `check` posts anything", help="leave --post out", code=2)
    if work.job.kind is JobKind.STAGES:
        return _stages(work)
    if work.job.kind is JobKind.CHECK:
        from mlflowc.commands import checkjob

        read = _wanted(work)
        handover.remember(work.ws, _plan_for(work, read), read)
        job, post = work.job, work.asked.post
        tell = checkjob.Post(post and job.comments, post and job.statuses)
        return checkjob.check(work.ws, job.gates, job.reports, tell, job.id)
    return _propose(work) if work.job.kind is JobKind.PROPOSE else _act(work)


def _refuse_others(here: Pipeline, committed: Pipeline) -> None:
    """Raises `Failure` where parameters have other values than the files say: a lock cannot tell that."""
    said = {p.name: p.value for p in committed.params}
    other = [p.name for p in here.params if p.value != said.get(p.name)]
    if other:
        raise Failure(
            f"results with another `{other[0]}` than the repository has are not proposed",
            help="change it in the parameter file, and start the event without it",
        )


def _propose(work: _Work) -> int:
    from mlflowc.commands import proposing  # it brings an HTTP client

    made = [s for j in work.workflow.jobs for s in j.stages]
    if made:
        handover.remember(work.ws, _plan_for(work, made), _wanted(work))
    said = proposing.from_job(work.ws, work.workflow.event, work.job.gates, work.job.reports)
    print(terminal.style(said, "bold"))
    return 0


def _wanted(work: _Work) -> list[str]:
    """The stages that gates and reports read."""
    gates = [s for g in work.pipeline.gates if g.name in work.job.gates for s in g.stages]
    return gates + [s for r in work.pipeline.reports if r.name in work.job.reports for s in r.stages]


# --- plan


def _plan(work: _Work) -> int:
    idle = _refresh(work)
    deep = handover.foresee(work.ws)
    planned = [s for j in work.workflow.jobs for s in j.stages]
    for stage in planned:
        if deep[stage] is None:
            raise _blocked(work.ws, stage)
    jobs = [j for j in work.workflow.jobs if j.kind is JobKind.STAGES]
    here = {j.id for j in jobs if handover.here(work.ws, j, deep, work.arrived)}
    remote = _in_remote(work, [j for j in jobs if j.skippable and j.id not in here])
    _show_plan(
        work, deep, {**dict.fromkeys(here, "here"), **{j: "in the remote" for j in remote if remote[j]}}
    )
    if work.link is not None:
        work.link.close()
    if idle:
        print(_idle(work.workflow))
    target, form = work.asked.outputs, work.asked.form
    if target is not None and form is not None:
        lines = handover.outputs(work.pipeline, work.workflow, deep, here, remote, form, idle)
        text = "".join(f"{name}={value}\n" for name, value in lines)
        try:
            with target.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as e:
            raise Failure(f"cannot write `{target}`: {e.strerror}") from e
    work.ws.index.flush()
    return 0


def _refresh(work: _Work) -> bool:
    """Takes in what the event refreshes, and hands it on; whether nothing of it is fresh."""
    names = work.workflow.event.refresh
    if not names:
        return False
    ws, link = work.ws, work.link
    done = feeding.fetcher(ws).update(names)
    for updated in done:
        print(feeding.said(updated))
    fresh = tuple(u.data.name for u in done if u.fresh)
    shared = None
    if link is not None and link.place.trust.unasked:
        link.push([pins.record_of(u.pin) for u in done if u.fresh])
        shared = link.holds
    handover.hand_on(ws, names, fresh, shared)
    return not fresh


def _idle(workflow: Workflow) -> str:
    what = ", ".join(workflow.event.refresh)
    return terminal.style(f"nothing fresh: {what} came as pinned; there is nothing to do", "bold")


def _in_remote(work: _Work, jobs: list[Job]) -> dict[str, bool]:
    """Of jobs whether their results are in the remote; nothing of those that it cannot tell about.

    A remote that jobs do not write to says nothing by not having a result.
    """
    if work.link is None or not jobs:
        return {}
    plan = make_plan(work.ws, [s for j in jobs for s in j.stages])
    done = {s.stage.id for s in plan.steps if s.action in (Action.KEEP, Action.RESTORE)}
    found = {j.id: done.issuperset(j.stages) for j in jobs}
    if work.link.off or not work.link.place.trust.unasked:
        return {job: True for job, there in found.items() if there and not work.link.off}
    return found


def _blocked(ws: Workspace, stage: str) -> Failure:
    """Why a stage could not even be planned."""
    plan = make_plan(ws, [stage])
    for step in plan.steps:
        if step.action is Action.BLOCKED:
            return Failure(
                f"stage `{step.stage.id}` cannot run: {step.reason}", help="is the file committed?"
            )
    return Failure(f"stage `{stage}` cannot run: an input is not there")


def _show_plan(work: _Work, deep: Mapping[str, str | None], found: Mapping[str, str]) -> None:
    for job in work.workflow.jobs:
        if job.kind is JobKind.PLAN:
            continue
        words = job.title
        if job.kind is JobKind.STAGES:
            here = f" (its results are {found[job.id]})" if job.id in found else ""
            words += f"{here}\n{'':16}{handover.cache_key(work.pipeline, job, deep)}"
        print(f"{terminal.style(f'{job.id:<16}', 'bold')}{words}")


# --- stages and actions


def _plan_for(work: _Work, stages: list[str]) -> Plan:
    """The results of `stages`: nothing is to be done for any."""
    deep = handover.foresee(work.ws)
    return handover.plan_for(work.ws, stages, (), work.workflow, work.arrived, deep)


def _stages(work: _Work) -> int:
    ws, job = work.ws, work.job
    deep = handover.foresee(ws)
    plan = handover.plan_for(ws, job.stages, job.stages, work.workflow, work.arrived, deep)
    if not job.finishes:
        from mlflowc.commands import sweepjob  # most jobs are of no sweep

        return sweepjob.run(ws, job, plan, deep, work.link, _guard(ws, work.asked.sandbox))
    if ws.remote is not None:
        # What is in the remote, the next job takes from there: only what a stage here reads has to come.
        plan = replace(plan, steps=tuple(only_needed(ws, plan.steps, ())))
    result, courier = _run(work.link, ws, plan, work.asked.sandbox, job.part)
    code = _report(ws, result, work.asked)
    _results(work, result)
    _finish(courier, result)
    size = handover.depart(ws, job, plan, result, deep, work.link.holds if work.link else None)
    if work.link is not None:
        work.link.close()
    last = f"{handover.FOLDER}/{job.id}.tar: {progress.size(size)}"
    print(last)
    variables = tuple(i.variable for i in work.workflow.inputs)
    if not work.special:
        _keep(ws, plan, result, work.asked, [last], laststate.Also((handover.FOLDER,), variables))
    return code


def _results(work: _Work, result: RunResult) -> None:
    """Leaves what the service lists beside a pull request, where a stage ran or failed."""
    if any(r.outcome in (Outcome.RAN, Outcome.FAILED) for r in result.stages):
        from mlflowc.runtime import junit  # not for a hit

        path = work.ws.root / junit.PLACE / f"{work.job.id}.xml"
        handover.ignored_folder(work.ws.root / junit.PLACE.parent)
        junit.write(path, work.pipeline.name, junit.of_run(work.pipeline, result))


def _keep(
    ws: Workspace,
    plan: Plan,
    result: RunResult,
    asked: Asked,
    more: list[str],
    also: laststate.Also = laststate.NOTHING_ELSE,
) -> None:
    """Keeps what was said where there was nothing to do: see `mlflowc.quick`."""
    kept = all(r.outcome is Outcome.KEPT for r in result.stages)
    if not (asked.plain and kept and ws.remote is None):
        return
    # Before the state is described, the index has to know what was found out.
    ws.index.flush()
    found = project.fingerprint()
    if found is not None:
        plain, coloured = (
            "".join(f"{line}\n" for line in [*_summary(result, asked, paint), *more])
            for paint in (_plain, terminal.paint)
        )
        name = quick.exec_name(asked.job, asked.event)
        laststate.save(ws, plan.planner, found[1], laststate.Said(plain, coloured), name=name, also=also)


def _finish(courier: Courier, result: RunResult) -> None:
    for line in courier.finish(result, all_good=True):
        print(line)


def _guard(ws: Workspace, sandbox: str) -> Guard | None:
    if sandbox == "off":
        return None
    from mlflowc.commands import sandboxing  # most runs have none

    return sandboxing.guard(ws, sandbox)


def _run(
    link: Link | None, ws: Workspace, plan: Plan, sandbox: str, part: Part | None = None
) -> tuple[RunResult, Courier]:
    courier = Courier(link, ws, progress.Lines(sys.stdout))
    options = execute.Options(guard=_guard(ws, sandbox), part=part)
    return execute.run(ws, plan, options, courier), courier


def _plain(text: str, *_: str) -> str:
    return text


def _summary(result: RunResult, asked: Asked, paint: Callable[..., str]) -> list[str]:
    # Under make, lines of several stages follow each other.
    whose = f"{asked.job}: " if asked.event is None else ""
    return [whose + paint(line, "bold") for line in progress.summary(result)]


def _report(ws: Workspace, result: RunResult, asked: Asked) -> int:
    def left(r: StageResult) -> str:
        return str(r.left.relative_to(ws.root)) if r.left else ""

    if ws.pipeline.sweeps:
        from mlflowc.runtime.sweeping import show  # most pipelines have none

        for trials in show.told(ws, result):
            print("\n".join(show.text(trials, terminal.style)))
    # In one piece: under `make -j` others write to the same place, and output may be unbuffered.
    print("".join(f"{line}\n" for line in _summary(result, asked, terminal.style)), end="")
    sharing.tell_unlike(r.unlike for r in result.stages)
    for message, help in progress.failures(result, left):
        terminal.error(message, help)
    if asked.sandbox == "audit":
        from mlflowc.commands import sandboxing  # most runs have none

        sandboxing.report(ws.root, ws.pipeline, result)
    if result.interrupted:
        raise Failure("interrupted; earlier outputs are as they were", code=130)
    return 0 if result.ok else 1


def _act(work: _Work) -> int:
    from mlflowc.jobs.lower import stages_of
    from mlflowc.runtime.act import act

    action = next(a for a in work.pipeline.actions if a.name == work.job.action)
    plan = _plan_for(work, stages_of(work.pipeline, action))
    work.ws.prepare()
    if work.asked.sandbox != "off":
        print(f"an action is an effect and no stage: {action.name} runs without the sandbox")
    act(work.ws, action, {s.stage.id: s.outputs for s in plan.steps}, progress.Lines(sys.stdout))
    print(terminal.style(f"action {action.name} done", "bold"))
    return 0


# --- without an event


def _local(ws: Workspace, asked: Asked, link: Link | None) -> int:
    """A stage by id, or a gate or a report: the targets of the Makefile."""
    name = asked.job
    stage = ws.stages.get(name)
    if stage is not None:
        plan = handover.plan_for(ws, [name], [name], None)
        result, courier = _run(link, ws, plan, asked.sandbox)
        code = _report(ws, result, asked)
        _finish(courier, result)
        if link is not None:
            link.close()
        _keep(ws, plan, result, asked, [])
        return code
    from mlflowc.commands import checkjob

    gates = tuple(g for g in ws.pipeline.gates if g.name == name)
    reports = tuple(r for r in ws.pipeline.reports if r.name == name)
    if not gates and not reports:
        known = [*ws.stages, *(g.name for g in ws.pipeline.gates), *(r.name for r in ws.pipeline.reports)]
        guess = nearest(name, known)
        help = f"did you mean `{guess}`?" if guess else f"there are: {', '.join(known)}"
        raise Failure(f"there is no stage, gate or report `{name}`", help=help, code=2)
    read = [s for g in gates for s in g.stages] + [s for r in reports for s in r.stages]
    handover.remember(ws, handover.plan_for(ws, read, (), None), read)
    return checkjob.check(ws, tuple(g.name for g in gates), tuple(r.name for r in reports))
