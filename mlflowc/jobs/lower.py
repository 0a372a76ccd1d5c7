"""Event → job graph. Pure, and free of heavy imports: `mlpipec exec` does this on every start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlflowc.frozen import dataclass
from mlflowc.ir.model import Action, Event, Pipeline, Runner, Stage, StageOutput
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
    """The job graph of `event`: a `plan` job, the stages fused into jobs, a `check` job, the actions."""
    run = _sort_out(pipeline, event.run)
    gates = {g.name: g for g in pipeline.gates if g.name in run.gates}
    reports = {r.name: r for r in pipeline.reports if r.name in run.reports}
    actions = tuple(a for a in pipeline.actions if a.name in run.actions)
    targets = [*run.stages]
    targets += [s for g in gates.values() for s in g.stages]
    targets += [s for r in reports.values() for s in r.stages]
    targets += [s for a in actions for s in stages_of(pipeline, a)]

    names = Names(("plan", "check"))
    graph = wanted(pipeline, targets)
    jobs = [Job("plan", JobKind.PLAN, "plan", timeout=PLAN_TIMEOUT), *_stage_jobs(pipeline, graph, names)]
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
    jobs += _action_jobs(pipeline, actions, job_of, names, checked=bool(gates or reports))
    return Workflow(event.id, event, tuple(jobs), _inputs(event))


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
    chains = fuse(graph, lambda s: (s.runner, s.env, s.secrets))
    ids = [names.take(slug(chain[-1].id)) for chain in chains]
    job_of = {s.id: id for id, chain in zip(ids, chains, strict=True) for s in chain}
    jobs = []
    for id, chain in zip(ids, chains, strict=True):
        runner = runners.get(chain[0].runner or "")
        secrets = tuple(dict.fromkeys(name for s in chain for name in s.secrets))
        costly = bool(secrets) or _special(runner)
        imports = tuple(i for i in _jobs(job_of, (p for s in chain for p in graph.before[s.id])) if i != id)
        jobs.append(
            Job(
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
        )
    return jobs


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
                secrets=action.secrets,
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
