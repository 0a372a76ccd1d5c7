"""Event → job graph. Pure, and free of heavy imports: `mlpipec exec` does this on every start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlflowc.frozen import dataclass, replace
from mlflowc.ir import feeds, identity, sweeps
from mlflowc.ir.model import Action, DataRef, Event, Pipeline, Runner, Stage, StageOutput, Sweep
from mlflowc.ir.sweeps import Part
from mlflowc.jobs.graph import Wanted, fuse, wanted
from mlflowc.jobs.model import Job, JobKind, Workflow, WorkflowInput
from mlflowc.jobs.names import Names, slug, variable

# What a job does around its stages' own time: check out, install, restore, hand over. Seconds.
OVERHEAD = 600
# The longest that planning, and that gates and reports, may take. Seconds.
PLAN_TIMEOUT, CHECK_TIMEOUT = 1800, 3600


@dataclass(frozen=True, slots=True)
class _Run:
    """What `run = [...]` of an event names, sorted out. Names that are none of these are the checker's."""

    stages: tuple[str, ...]
    gates: tuple[str, ...]
    reports: tuple[str, ...]
    actions: tuple[str, ...]


def lower(pipeline: Pipeline, event: Event) -> Workflow:
    """The job graph of `event`: a `plan` job, the stages fused into jobs, a `check` job, one that
    proposes the results, the actions."""
    run = _sort_out(pipeline, event.run)
    gates = {g.name: g for g in pipeline.gates if g.name in run.gates}
    reports = {r.name: r for r in pipeline.reports if r.name in run.reports}
    actions = tuple(a for a in pipeline.actions if a.name in run.actions)
    targets = [*run.stages]
    targets += [s for g in gates.values() for s in g.stages]
    targets += [s for r in reports.values() for s in r.stages]
    targets += [s for a in actions for s in stages_of(pipeline, a)]

    names = Names(("plan", "check", *(("propose",) if event.propose else ())))
    graph = wanted(pipeline, targets)
    jobs = [_plan_job(pipeline, event), *_stage_jobs(pipeline, graph, names)]
    job_of = {stage: job.id for job in jobs for stage in job.stages}
    if gates or reports:
        read = [s for g in gates.values() for s in g.stages] + [s for r in reports.values() for s in r.stages]
        imports = _jobs(job_of, read)
        jobs.append(
            Job(
                "check",
                JobKind.CHECK,
                ", ".join([*gates, *reports]),
                gates=tuple(gates),
                reports=tuple(reports),
                needs=("plan", *imports),
                imports=imports,
                timeout=CHECK_TIMEOUT,
                history=True,
                comments=bool(reports) and event.kind == "pull_request" and pipeline.ci.comments,
                statuses=bool(gates) and event.kind == "pull_request" and pipeline.ci.statuses,
            )
        )
    if event.propose:
        read = [s for r in reports.values() for s in r.stages]
        jobs.append(_propose_job(jobs, tuple(gates), tuple(reports), _jobs(job_of, read)))
    jobs += _action_jobs(pipeline, actions, job_of, names, checked=bool(gates or reports))
    if event.refresh:
        # Which data is fresh, and what it is pinned as now, every job hears from the plan.
        jobs = [j if j.kind is JobKind.PLAN else replace(j, imports=("plan", *j.imports)) for j in jobs]
    jobs = [replace(j, auths=_auths(pipeline, event, j)) for j in jobs]
    return Workflow(event.id, event, tuple(jobs), _inputs(event))


def _auths(pipeline: Pipeline, event: Event, job: Job) -> tuple[str, ...]:
    """The providers whose credentials a job takes: see `mlflowc.ir.identity`. One that takes the trials of a
    sweep together runs none of them."""
    if not pipeline.auths:
        return ()
    runs = job.part is None or not job.finishes
    steps: list[Stage | Action] = [s for s in pipeline.stages if runs and s.id in job.stages]
    steps += [a for a in pipeline.actions if a.name == job.action]
    fetched = [d for d in pipeline.data if job.kind is JobKind.PLAN and d.name in event.refresh]
    return identity.of_job(pipeline, event, steps, fetched)


def _plan_job(pipeline: Pipeline, event: Event) -> Job:
    """The first job. Where it takes in fresh data, it is given what that needs, and hands it on."""
    read = [d for d in pipeline.data if d.name in event.refresh]
    secrets = tuple(dict.fromkeys(name for d in read for name in feeds.secrets(d)))
    title = f"plan, refresh {', '.join(event.refresh)}" if event.refresh else "plan"
    return Job("plan", JobKind.PLAN, title, secrets=secrets, timeout=PLAN_TIMEOUT)


def _propose_job(
    jobs: list[Job], gates: tuple[str, ...], reports: tuple[str, ...], shown: tuple[str, ...]
) -> Job:
    """The job that proposes the results of `jobs`: after all of them, and after gates that hold.

    It reads the last jobs, whose bundles tell of all before, and those whose contents reports show.
    """
    made = [j for j in jobs if j.kind is JobKind.STAGES]
    read = {i for j in made for i in j.imports}
    imports = tuple(j.id for j in made if j.id not in read or j.id in shown)
    needs = tuple(j.id for j in jobs if j.kind is not JobKind.STAGES or j.id in imports)
    return Job(
        "propose",
        JobKind.PROPOSE,
        "propose the results",
        gates=gates,
        reports=reports,
        needs=needs,
        imports=imports,
        trusted=True,
        timeout=CHECK_TIMEOUT,
        history=True,
    )


def secrets_of(pipeline: Pipeline, step: Stage | Action) -> tuple[str, ...]:
    """The secrets of a stage or an action, and those with which the data that it reads is fetched."""
    read = {s.data for i in step.inputs for s in i.sources if isinstance(s, DataRef)}
    of_data = (name for d in pipeline.data if d.name in read for name in feeds.secrets(d))
    return tuple(dict.fromkeys((*step.secrets, *of_data)))


def _trust(pipeline: Pipeline, step: Stage) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The secrets and the credentials of a stage: stages that differ in them share no job."""
    auths = identity.of_step(pipeline, step) if pipeline.auths else ()
    return secrets_of(pipeline, step), auths


def lower_all(pipeline: Pipeline) -> tuple[Workflow, ...]:
    """The job graphs of all events, in the order declared."""
    return tuple(lower(pipeline, e) for e in pipeline.events)


def _sort_out(pipeline: Pipeline, run: Iterable[str]) -> _Run:
    names = set(run)
    return _Run(
        tuple(s.id for s in pipeline.stages if s.id in names or s.name in names),
        tuple(g.name for g in pipeline.gates if g.name in names),
        tuple(r.name for r in pipeline.reports if r.name in names),
        tuple(a.name for a in pipeline.actions if a.name in names),
    )


def stages_of(pipeline: Pipeline, action: Action) -> list[str]:
    """The stages whose results an action reads or comes after."""
    read = [s.stage for i in action.inputs for s in i.sources if isinstance(s, StageOutput)]
    return read + [s.id for s in pipeline.stages if s.id in action.after or s.name in action.after]


def _jobs(job_of: Mapping[str, str], stages: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(job_of[s] for s in stages if s in job_of))


def _stage_jobs(pipeline: Pipeline, graph: Wanted, names: Names) -> list[Job]:
    runners = {r.name: r for r in pipeline.runners}
    chains = fuse(graph, lambda s: (s.runner, s.env, _trust(pipeline, s), s.sweep))
    swept = {s.name: s for s in pipeline.sweeps}
    ids = [names.take(slug(chain[-1].id)) for chain in chains]
    job_of = {s.id: id for id, chain in zip(ids, chains, strict=True) for s in chain}
    jobs = []
    for id, chain in zip(ids, chains, strict=True):
        runner = runners.get(chain[0].runner or "")
        secrets = tuple(dict.fromkeys(name for s in chain for name in secrets_of(pipeline, s)))
        costly = bool(secrets) or bool(_trust(pipeline, chain[0])[1]) or _special(runner)
        imports = tuple(i for i in _jobs(job_of, (p for s in chain for p in graph.before[s.id])) if i != id)
        job = Job(
            id,
            JobKind.STAGES,
            ", ".join(s.id for s in chain),
            stages=tuple(s.id for s in chain),
            runner=runner.name if runner else None,
            needs=("plan", *imports),
            imports=imports,
            secrets=secrets,
            trusted=costly,
            skippable=costly,
            timeout=_timeout(chain, runner),
        )
        sweep = swept.get(chain[0].sweep or "")
        jobs += [job] if sweep is None else _sweep_jobs(job, sweep, chain[0], runner, names)
    return jobs


def _sweep_jobs(job: Job, sweep: Sweep, stage: Stage, runner: Runner | None, names: Names) -> list[Job]:
    """The jobs of a sweep: those of its trials, round by round, and `job`, which takes them together.

    Each hands on what the jobs before it found out, so those of one round are all that the next waits for.
    """
    rounds = sweeps.parts(sweep)
    if not rounds:
        return [replace(job, timeout=_sweep_timeout(stage, runner, sweeps.count(sweep)))]
    jobs: list[Job] = []
    before: tuple[str, ...] = ()
    for number, parts in enumerate(rounds, 1):
        made = []
        for part in parts:
            at = f"{number}-{(part.index or 0) + 1}" if len(rounds) > 1 else f"{(part.index or 0) + 1}"
            words = f"round {number} of {len(rounds)}, part" if len(rounds) > 1 else "part"
            imports = (*job.imports, *before)
            made.append(
                replace(
                    job,
                    id=names.take(slug(f"{job.id}-{at}")),
                    title=f"{job.title}: {words} {(part.index or 0) + 1} of {part.of}",
                    needs=("plan", *imports),
                    imports=imports,
                    timeout=_sweep_timeout(stage, runner, sweeps.share(sweep, part)),
                    part=part,
                )
            )
        jobs += made
        before = tuple(j.id for j in made)
    imports = (*job.imports, *before)
    end = replace(
        job,
        title=f"{job.title}: the best of {sweeps.count(sweep)} trials",
        runner=None,
        needs=("plan", *imports),
        imports=imports,
        secrets=(),
        trusted=False,
        skippable=False,
        timeout=CHECK_TIMEOUT,
        part=Part(len(rounds) - 1, None, len(rounds[-1])),
    )
    return [*jobs, end]


def _sweep_timeout(stage: Stage, runner: Runner | None, trials: int) -> int | None:
    limit = runner.timeout if runner else None
    if stage.timeout is None:
        return limit
    total = stage.timeout * (stage.retry + 1) * trials + OVERHEAD
    return min(total, limit) if limit is not None else total


def _special(runner: Runner | None) -> bool:
    """Whether a runner is not a service's ordinary machine: it costs, or it is the user's own."""
    return runner is not None and (runner.gpu is not None or runner.cloud is not None or bool(runner.labels))


def _timeout(chain: list[Stage], runner: Runner | None) -> int | None:
    limit = runner.timeout if runner else None
    known = [s.timeout * (s.retry + 1) for s in chain if s.timeout is not None]
    if len(known) < len(chain):
        return limit
    total = sum(known) + OVERHEAD
    return min(total, limit) if limit is not None else total


def _action_jobs(
    pipeline: Pipeline, actions: tuple[Action, ...], job_of: Mapping[str, str], names: Names, checked: bool
) -> list[Job]:
    runners = {r.name: r for r in pipeline.runners}
    ids = {a.name: names.take(slug(a.name)) for a in actions}
    jobs = []
    for action in _after_order(actions):
        runner = runners.get(action.runner or "")
        imports = _jobs(job_of, stages_of(pipeline, action))
        # A gate of the same event must hold before anything is done to the world.
        after = [ids[n] for n in action.after if n in ids]
        needs = ("plan", *imports, *(["check"] if checked else []), *after)
        jobs.append(
            Job(
                ids[action.name],
                JobKind.ACTION,
                action.name,
                action=action.name,
                runner=runner.name if runner else None,
                needs=needs,
                imports=imports,
                secrets=secrets_of(pipeline, action),
                trusted=True,
                timeout=(action.timeout + OVERHEAD)
                if action.timeout
                else (runner.timeout if runner else None),
                approve=action.approve,
            )
        )
    return jobs


def _after_order(actions: tuple[Action, ...]) -> list[Action]:
    """Actions with those that come after others behind them; a cycle is the checker's, and ends the wait."""
    ordered: list[Action] = []
    waiting = list(actions)
    while waiting:
        names = {a.name for a in waiting}
        ready = [a for a in waiting if not names & set(a.after)] or waiting[:1]
        ordered += ready
        waiting = [a for a in waiting if a not in ready]
    return ordered


def _inputs(event: Event) -> tuple[WorkflowInput, ...]:
    ids, variables = Names(), Names()
    return tuple(
        WorkflowInput(
            i.name,
            ids.take(slug(i.name)),
            variables.take("MLPIPE_INPUT_" + variable(i.name), "_"),
            i.type,
            i.default,
        )
        for i in event.inputs
    )
