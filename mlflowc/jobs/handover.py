"""What goes from job to job: bundles in, the results of earlier jobs, bundles out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from blake3 import blake3

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, replace
from mlflowc.ir.model import Pipeline
from mlflowc.jobs.model import Job, JobKind, Workflow
from mlflowc.runtime import bundle, execute, measured, pins, publish, targets
from mlflowc.runtime.bundle import Bundle, BundleError
from mlflowc.runtime.events import Outcome, RunResult, StageResult
from mlflowc.runtime.foreseen import deep_keys
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.plan import Action, Outputs, Plan, Planner, Step, expect, pin_environments
from mlflowc.runtime.records import Record
from mlflowc.runtime.unlike import Unlike
from mlflowc.runtime.workspace import STATE, Workspace

FOLDER = "mlpipe-bundles"
PLAN = "plan"

_PLACES = (
    "its bundle is not in `mlpipe-bundles/`: that job did not run, or what it made is gone from the cache"
)
_FORK = "(jobs with a GPU, own machines or secrets are never started for a pull request from a fork)"


@dataclass(frozen=True, slots=True)
class Arrived:
    """Bundles that were taken in.

    `deep` holds for each job the deep keys that its bundles name, a mapping for each. `keys` gives the key
    of the result that came for a stage and its deep key. `bad` has words about what was left out, `unlike`
    results that are other ones here. `fresh` names the data that the plan found to have other content than
    before; None where no plan that refreshed data spoke.
    """

    deep: Mapping[str, tuple[Mapping[str, str], ...]]
    keys: Mapping[tuple[str, str], str]
    bad: tuple[str, ...] = ()
    unlike: tuple[Unlike, ...] = ()
    fresh: tuple[str, ...] | None = None

    def has(self, job: Job, deep: Mapping[str, str | None]) -> bool:
        """Whether there is a bundle of exactly the results that `job` would make now."""
        wanted = {s: deep.get(s) for s in job.stages}
        return any({s: found.get(s) for s in wanted} == wanted for found in self.deep.get(job.id, ()))


NOTHING = Arrived({}, {})


def refuse_committed(root: Path) -> None:
    """Raises `Failure` where the repository has files in the folders that only jobs write.

    Whoever sends a change in could have made them, for results that nobody ran: merged, they would be
    believed by the jobs of the protected branch. Where git cannot say, nothing is refused.
    """
    try:
        asked = subprocess.run(
            ["git", "ls-files", "-z", "--", FOLDER, STATE],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    found = [name for name in os.fsdecode(asked.stdout).split("\0") if name]
    if asked.returncode == 0 and found:
        raise Failure(
            f"`{found[0]}` is committed: what is in `{FOLDER}` and `{STATE}` counts as made by jobs",
            help=f"take it out of the repository: git rm -r --cached {FOLDER} {STATE}",
        )


def arrive(ws: Workspace, refresh: Collection[str] = ()) -> Arrived:
    """Takes in every bundle below `mlpipe-bundles/`; of the plan's also the pins of the data `refresh`."""
    deep: dict[str, tuple[Mapping[str, str], ...]] = {}
    keys: dict[tuple[str, str], str] = {}
    bad: list[str] = []
    others: dict[str, Unlike] = {}
    stages: set[str] = set()
    fresh: tuple[str, ...] | None = None
    paths = sorted((ws.root / FOLDER).rglob("*.tar"))
    if paths:
        ws.prepare()
    for path in paths:
        try:
            got = bundle.read(path, ws.store, ws.fs)
        except BundleError as e:
            bad.append(f"{path.relative_to(ws.root).as_posix()} {e}; it is left out")
            continue
        deep[got.job] = (*deep.get(got.job, ()), got.deep)
        keys |= {(stage, digest): got.keys[stage] for stage, digest in got.deep.items() if stage in got.keys}
        stages.update(got.stages)
        if got.job == PLAN and refresh:
            fresh = got.fresh
            pins.save(ws, {name: entry for name, entry in got.pins.items() if name in refresh})
        # Every bundle behind a stage speaks of it.
        others = {other.key: other for other in got.unlike} | others
    if stages:
        # What was committed may come from another machine, which made something else from the same key.
        # What the jobs of this run hand over belongs together: where they speak, the lock does not.
        kept = {k: e for k, e in ws.lock.entries.items() if k[0] != "stage" or k[1] not in stages}
        ws.lock = LockFile(kept)
    return Arrived(deep, keys, tuple(bad), tuple(others.values()), fresh)


def cache_key(pipeline: Pipeline, job: Job, deep: Mapping[str, str | None]) -> str:
    """The key of a job's results in a service's cache: known before anything ran."""
    parts = "\n".join(f"{s} {deep[s]}" for s in job.stages)
    return f"mlpipe-{pipeline.name}-{job.id}-{blake3(parts.encode()).hexdigest()}"


def foresee(ws: Workspace) -> dict[str, str | None]:
    """The deep keys of all stages; see `mlflowc.runtime.keys`."""
    pin_environments(ws)
    return deep_keys(ws)


def plan_for(
    ws: Workspace,
    stages: Iterable[str],
    own: Collection[str],
    workflow: Workflow | None,
    arrived: Arrived = NOTHING,
    deep: Mapping[str, str | None] | None = None,
) -> Plan:
    """What is to be done for the stages of `own` among `stages`; those before them only give their results.

    A stage that is not deterministic, and was made anew while what follows was not, leaves a result whose key
    no longer fits. The job was left out because of its deep key, so a result that came with that deep key is
    taken too. Raises `Failure` that names the job which makes what is missing.
    """
    pin_environments(ws)
    planner = Planner(ws)
    known: dict[str, Outputs | None] = {}
    steps = []
    concerned = targets.closure(ws.pipeline, stages)
    pins.ensure(ws, [s for s in concerned if s.id in own])
    expect(ws, concerned)
    for stage in concerned:
        mine = stage.id in own
        step = planner.decide(stage, known, lazy=not mine)
        if not mine and step.action is not Action.KEEP:
            step = _by_deep_key(ws, step, arrived, deep or {})
            if step.action is not Action.KEEP:
                raise missing(step, workflow)
        known[stage.id] = step.outputs if step.action in (Action.KEEP, Action.RESTORE) else None
        steps.append(step)
    wanted = targets.Wanted(tuple(s for s in known if s in own) or tuple(known))
    return Plan(tuple(steps), wanted, planner, exact=True)


def _by_deep_key(ws: Workspace, step: Step, arrived: Arrived, deep: Mapping[str, str | None]) -> Step:
    """`step` as kept, where a result with the stage's deep key arrived."""
    key = arrived.keys.get((step.stage.id, deep.get(step.stage.id) or ""))
    record = ws.store.record(key) if key else None
    if record is None:
        return step
    return replace(
        step,
        action=Action.KEEP,
        key=record.key,
        components=record.components,
        outputs=record.outputs,
        metrics=measured.of_result(ws, step.stage, record.key, record.outputs, record.metrics),
        record=record,
    )


def remember(ws: Workspace, plan: Plan, read: Collection[str]) -> None:
    """Writes results that others made into `mlpipe.lock`: gates and reports read it.

    Raises `Failure` for numbers of the stages `read` that nothing but a record tells.
    """
    for step in plan.steps:
        told = step.record if step.stage.id in read else None
        path = measured.unfounded(ws, told) if told is not None else None
        if path is not None:
            raise Failure(
                f"`{path}` of `{step.stage.id}` is not here, so its numbers cannot be checked",
                help="the bundle of the job that makes it did not come along",
            )
    kept = [StageResult(s.stage.id, Outcome.KEPT, s.key, s.outputs, s.metrics) for s in plan.steps]
    execute.remember(ws, plan, RunResult(tuple(kept), 0.0))


def missing(step: Step, workflow: Workflow | None) -> Failure:
    """What to say when the result of an earlier stage is not here."""
    stage = step.stage.id
    if step.action is Action.BLOCKED and not step.key:
        return Failure(
            f"stage `{stage}` cannot run: {step.reason}", help="restore the file, or correct the pipeline"
        )
    job = workflow.making(stage) if workflow else None
    if job is None:
        return Failure(f"`{stage}` has no result here", help=f"make it with `mlpipec run '{stage}'`")
    help = f"{_PLACES}\n{_FORK}" if job.trusted else _PLACES
    return Failure(f"`{stage}` has no result here: the job `{job.id}` makes it", help=help)


def depart(
    ws: Workspace,
    job: Job,
    plan: Plan,
    result: RunResult,
    deep: Mapping[str, str | None],
    shared: Callable[[Record], bool] | None = None,
) -> int:
    """Writes the job's bundle with what went well; returns its size in bytes. Raises `Failure`.

    Results that are `shared` go without their contents: the next job takes what it reads from the remote.
    """
    own: list[Record] = []
    upstream: list[Record] = []
    for step in plan.steps:
        done = result.stage(step.stage.id)
        if done is None or not done.outcome.good:
            continue
        record = _record(ws, step, done)
        if step.stage.id in job.stages and not (shared is not None and shared(record)):
            own.append(_with_content(ws, step, record))
        else:
            upstream.append(record)
    keys = {r.stage: k for r in (*upstream, *own) if (k := deep.get(r.stage)) is not None}
    path = ws.root / FOLDER / f"{job.id}.tar"
    try:
        ignored_folder(ws.root / FOLDER)
        return bundle.write(Bundle(job.id, tuple(own), tuple(upstream), keys), path, ws.store)
    except BundleError as e:
        raise Failure(f"cannot hand over the results of `{job.id}`: {e}", help="run the job again") from e
    except OSError as e:
        raise Failure(f"cannot write `{FOLDER}/{job.id}.tar`: {e.strerror}") from e


def hand_on(
    ws: Workspace,
    names: Iterable[str],
    fresh: tuple[str, ...],
    shared: Callable[[Record], bool] | None = None,
) -> int:
    """Writes the bundle of a plan that refreshed the data `names`; returns its size. Raises `Failure`.

    Along goes the content of what is `fresh`: by the time that a job would fetch it, the source may have
    something else. What is `shared` is in the remote, and goes without.
    """
    found = {name: pins.current(ws, ws.sources[name]) for name in names}
    entries = {name: ws.lock.get(pins.KIND, name) for name in names}
    records = [pins.record_of(p) for n, p in found.items() if p is not None and n in fresh]
    whole = tuple(r for r in records if not (shared is not None and shared(r)))
    rest = tuple(r for r in records if r not in whole)
    try:
        ignored_folder(ws.root / FOLDER)
        made = Bundle(PLAN, whole, rest, {}, entries, fresh)
        return bundle.write(made, ws.root / FOLDER / f"{PLAN}.tar", ws.store)
    except BundleError as e:
        raise Failure(f"cannot hand over fresh data: {e}", help="run the job again") from e
    except OSError as e:
        raise Failure(f"cannot write `{FOLDER}/{PLAN}.tar`: {e.strerror}") from e


def nothing_fresh(workflow: Workflow, arrived: Arrived) -> bool:
    """Whether a job has nothing to do: no data that its event refreshes is fresh. Raises `Failure`."""
    if not workflow.event.refresh:
        return False
    if arrived.fresh is None:
        raise Failure(
            "which data is fresh is not known here: the job `plan` says it",
            help=f"its bundle `{FOLDER}/{PLAN}.tar` did not come along",
        )
    return not arrived.fresh


def _record(ws: Workspace, step: Step, done: StageResult) -> Record:
    """The record of a result; made up where only the lock speaks of it."""
    there = ws.store.record(done.key)
    if there is not None and there.outputs == done.outputs:
        return there
    params = ws.values(step.stage)
    return Record(done.key, done.stage, dict(step.components), done.outputs, done.metrics, params)


def _with_content(ws: Workspace, step: Step, record: Record) -> Record:
    """The record of a result whose content is in the store, put there from its place where it was not."""
    if all(ws.store.has_output(o) for o in record.outputs):
        return record
    found = publish.publish(ws, step.stage).outputs
    if {o.name: o.hash for o in found} != {o.name: o.hash for o in record.outputs}:
        raise Failure(
            f"the outputs of `{step.stage.id}` changed while they were handed over", help="run the job again"
        )
    return record


def ignored_folder(path: Path) -> None:
    """Makes a folder that git does not see. Raises `OSError`."""
    path.mkdir(exist_ok=True)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def here(ws: Workspace, job: Job, deep: Mapping[str, str | None], arrived: Arrived) -> bool:
    """Whether the results that `job` would make arrived, their contents too (or are in the remote)."""
    if not arrived.has(job, deep):
        return False
    if not job.finishes:
        return True  # all that it found out came along
    records = [ws.store.record(arrived.keys.get((s, deep.get(s) or ""), "")) for s in job.stages]
    return all(r is not None and _whole(ws, r) for r in records)


def _whole(ws: Workspace, record: Record) -> bool:
    return all(ws.store.has_output(o) for o in record.outputs) or (
        ws.remote is not None and ws.remote.available(record.key, record.outputs)
    )


def outputs(
    pipeline: Pipeline,
    workflow: Workflow,
    deep: Mapping[str, str | None],
    here: Collection[str],
    remote: Mapping[str, bool],
    format: str,
    idle: bool = False,
) -> Iterator[tuple[str, str]]:
    """What the plan tells the service about each job, as names and values in the service's own form.

    `github`: `key-JOB` (the cache key) and `run-JOB`; `dotenv`: `KEY_JOB` and `RUN_JOB`; `bitbucket`:
    `RUN_JOB`. `run` is `true` where the results are neither `here` (jobs whose bundle came) nor in the
    remote, else `false`. `github` has `remote-JOB` too, for jobs that `remote` tells about. Where the event
    refreshes data there is `fresh` (`FRESH`), too; it is `false` when the plan is `idle`: nothing is to run.
    """
    from mlflowc.jobs.names import variable

    if workflow.event.refresh:
        yield "fresh" if format == "github" else "FRESH", "false" if idle else "true"
    for job in workflow.jobs:
        if job.kind is not JobKind.STAGES:
            continue
        run = "false" if idle or job.id in here or remote.get(job.id) else "true"
        if format == "github":
            yield f"key-{job.id}", cache_key(pipeline, job, deep)
            yield f"run-{job.id}", run
            if job.id in remote:
                yield f"remote-{job.id}", "true" if remote[job.id] else "false"
        elif format == "dotenv":
            yield f"KEY_{variable(job.id)}", cache_key(pipeline, job, deep)
            yield f"RUN_{variable(job.id)}", run
        elif job.skippable:
            yield f"RUN_{variable(job.id)}", run
