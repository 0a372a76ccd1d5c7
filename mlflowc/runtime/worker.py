"""One stage, from its locks to its record."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlflowc import __version__
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, field, replace
from mlflowc.ir.model import Stage, StageOutput
from mlflowc.runtime import (
    assets,
    checked,
    childenv,
    commands,
    endings,
    environments,
    pins,
    placing,
    publish,
    unlike,
)
from mlflowc.runtime.claim import Claim
from mlflowc.runtime.events import Listener, Outcome, StageResult
from mlflowc.runtime.identity import steps as credentials
from mlflowc.runtime.index import Run
from mlflowc.runtime.lockfile import NAME as LOCK
from mlflowc.runtime.locks import Held
from mlflowc.runtime.logs import Log
from mlflowc.runtime.plan import Action, Outputs, Planner, Step
from mlflowc.runtime.ports import Command, Container, Exit
from mlflowc.runtime.records import OutputRecord, Record, made_text
from mlflowc.runtime.sandbox.model import Finding
from mlflowc.runtime.steady import Steady
from mlflowc.runtime.workspace import Workspace

if TYPE_CHECKING:
    from mlflowc.runtime.sandbox.guard import Guard

# Runs a stage at a place of its own: given what is to be done there.
Apart: TypeAlias = Callable[[Step, Callable[[Workspace], StageResult]], StageResult]

_PREEMPTIONS = 3
_LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Shared:
    """What the workers of one run have in common. `commit` is that of the checkout; `cancel` ends
    everything, and `hurry` then does not wait for it; `guard` is the sandbox, None without one.

    A trial of a sweep runs `apart`: that makes a place which stands for the project folder, `desk` from then
    on. Its command runs and writes there, so trials at the same paths are not in each other's way. `again`:
    a result that is there does not count. `writers` are what writes the outputs of stages that have no
    commands; they say how many seconds these took to make, since when, and lines for the log.
    """

    ws: Workspace
    planner: Planner
    listener: Listener
    commit: Callable[[], str | None]
    cancel: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    prepared: dict[str, dict[str, str]] = field(default_factory=dict)
    preparing: threading.Lock = field(default_factory=threading.Lock)
    guard: Guard | None = None
    apart: Apart | None = None
    desk: Workspace | None = None
    again: bool = False
    writers: dict[str, Callable[[], tuple[float, float, list[str]]]] = field(default_factory=dict)

    @property
    def at(self) -> Workspace:
        """Where outputs are written."""
        return self.desk or self.ws

    def decide(self, stage: Stage, upstream: Mapping[str, Outputs | None]) -> Step:
        """What becomes of a stage. A trial leaves nothing in the project: its result is known or not."""
        if self.apart is None:
            return self.planner.decide(stage, upstream)
        step = self.planner.decide(stage, upstream, lazy=True)
        run = self.again or (step.action is Action.BLOCKED and bool(step.key))
        return replace(step, action=Action.RUN, reason="") if run else step


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a command: why it failed (None: it did not), how long it took, the log that was kept.

    A sweep's `seconds` are those of all its trials, known ones too; `took` is how long it had us wait."""

    failure: Failure | None
    seconds: float
    log: Path | None
    published: publish.Published | None = None
    again: bool = False
    preempted: bool = False
    findings: tuple[Finding, ...] = ()
    took: float | None = None


def work(
    shared: Shared, step: Step, upstream: Mapping[str, Outputs | None], gpus: tuple[str, ...] | None = None
) -> StageResult:
    """Brings one stage up to date. Failures of all kinds are in the result; only bugs raise."""
    stage = step.stage
    try:
        return _work(shared, step, upstream, gpus)
    except Failure as e:
        return StageResult(stage.id, Outcome.FAILED, step.key, message=e.message, help=e.help)
    except OSError as e:
        failure = endings.disk(e)
        return StageResult(stage.id, Outcome.FAILED, step.key, message=failure.message, help=failure.help)


def _work(
    shared: Shared, step: Step, upstream: Mapping[str, Outputs | None], gpus: tuple[str, ...] | None
) -> StageResult:
    ws, stage = shared.ws, step.stage
    if not step.key:
        step = shared.decide(stage, upstream)
    if step.action is Action.KEEP:
        return _kept(shared, step)
    if not step.key:
        raise Failure(f"cannot run: {step.reason}", help=f"`mlpipec update` pins data in `{LOCK}`")
    inputs = _inputs(ws, stage, upstream)
    waited: list[str] = []

    def note(text: str) -> None:
        shared.listener.note(stage.id, text)

    def waiting(holder: str) -> None:
        waited.append(holder)
        shared.listener.note(stage.id, f"waiting: {holder} works on it")

    written = () if shared.apart is not None else stage.outputs
    own = [f"key {step.key}", *(f"path {o.path.rstrip('/')}" for o in written)]
    claim = Claim(ws, own, inputs, shared.cancel, waiting)
    held = claim.take()
    while held is not None:
        done = _with_locks(shared, step, upstream, gpus, claim, held, look_again=bool(waited))
        if done is not None:
            return done
        held = claim.fill(lambda missing: placing.provide(ws, missing, note))
        waited.append("for inputs")
    return StageResult(stage.id, Outcome.CANCELLED, step.key)


def _with_locks(
    shared: Shared,
    step: Step,
    upstream: Mapping[str, Outputs | None],
    gpus: tuple[str, ...] | None,
    claim: Claim,
    held: Held,
    *,
    look_again: bool,
) -> StageResult | None:
    """Decides anew if others may have been at work, and does it. None: inputs have to be put in place first.

    The locks are let go."""
    ws, stage = shared.ws, step.stage
    try:
        # What another process made since, without our having to wait, is not made twice.
        made = step.action is Action.RUN and ws.store.record(step.key) is not None
        if look_again or made or not _inputs_same(ws, step):
            _forget(ws, step)
            step = shared.decide(stage, upstream)
        if step.action is Action.KEEP:
            return _kept(shared, step)
        if step.action is Action.BLOCKED:
            raise Failure(f"cannot run: {step.reason}", help="restore the file, or correct the pipeline")
        if step.action is Action.RESTORE:
            restored = _restore(shared, step)
            if restored is not None:
                return restored
            step = replace(
                step,
                action=Action.RUN,
                reason="its result in the cache is damaged, or not what its types say",
            )
        if claim.missing():
            return None
        inputs = _inputs(ws, stage, upstream)
        descriptors = held.descriptors
        if shared.apart is None:
            return _run(shared, step, inputs, gpus, descriptors)
        return shared.apart(
            step, lambda desk: _run(replace(shared, desk=desk), step, inputs, gpus, descriptors)
        )
    finally:
        held.release()


def _kept(shared: Shared, step: Step) -> StageResult:
    saved = step.record.seconds if step.record else 0.0
    return StageResult(step.stage.id, Outcome.KEPT, step.key, step.outputs, step.metrics, saved=saved)


def _restore(shared: Shared, step: Step) -> StageResult | None:
    ws = shared.ws
    began = ws.clock.monotonic()
    wanted = tuple(o for o in step.outputs if step.only is None or o.name in step.only)
    ws.checkout.disturb()
    if not placing.bring(ws, wanted):
        return None
    if checked.unfit(ws, checked.outputs(step.stage, wanted), step.record, step.key):
        return None
    if ws.shared is not None:
        # The history is this project's alone.
        ws.store.touch(step.key)
    seconds = ws.clock.monotonic() - began
    saved = step.record.seconds if step.record else 0.0
    other = unlike.restored(ws, step.record, step.stage.id, step.key, step.outputs, step.metrics)
    done = StageResult(step.stage.id, Outcome.RESTORED, step.key, step.outputs, step.metrics, seconds, saved)
    return _told(shared, step.stage, replace(done, unlike=other) if other else done)


def _told(shared: Shared, stage: Stage, done: StageResult) -> StageResult:
    """Puts it into the history."""
    ws, good = shared.ws, done.outcome.good
    note = done.message or (done.unlike.note if done.unlike else "")
    made = made_text(done.outputs, done.metrics, ws.values(stage)) if good else None
    word, now, commit = done.outcome.value if good else "failed", ws.clock.now(), shared.commit()
    ws.index.remember_run(
        Run(done.stage, done.key, now, done.seconds, word, commit=commit, note=note, made=made)
    )
    return done


def _upstream_outputs(stage: Stage, upstream: Mapping[str, Outputs | None]) -> list[OutputRecord]:
    wanted = [s for i in stage.inputs for s in i.sources if isinstance(s, StageOutput)]
    return [o for w in wanted for o in upstream[w.stage] or () if o.name == w.output]


def _inputs_same(ws: Workspace, step: Step) -> bool:
    return all(ws.checkout.same(seen, source=source, mark=True) for seen, source in step.seen)


def _forget(ws: Workspace, step: Step) -> None:
    for seen, _ in step.seen:
        ws.checkout.forget(seen.path)
    for output in step.stage.outputs:
        ws.checkout.forget(output.path)


# --- running


def _run(
    shared: Shared,
    step: Step,
    inputs: list[OutputRecord],
    gpus: tuple[str, ...] | None,
    descriptors: tuple[int, ...],
) -> StageResult:
    ws, stage = shared.ws, step.stage
    if _reads(stage):
        shared.listener.started(stage.id, step.reason)
    read = _checked_inputs(shared, step)
    checked.demand(ws, read)
    assets.provide(ws, stage)
    steady = Steady(ws, step, inputs)
    ws.checkout.disturb()
    variables = _variables(shared, stage, gpus) if _reads(stage) else {}
    started = ws.clock.now()
    publish.move_aside(shared.at, stage)
    log: Path | None = None
    try:
        tried = _tries(shared, step, steady, variables, descriptors)
        log = tried.log
        if tried.failure is None and tried.published is not None:
            try:
                return _finish(shared, step, tried, started)
            except OSError as e:
                tried = replace(tried, failure=endings.disk(e))
        failure = tried.failure or Failure(endings.INTERRUPTED)
        outcome = Outcome.CANCELLED if shared.cancel.is_set() else Outcome.FAILED
        left = publish.put_back(shared.at, stage, log)
        failed = StageResult(
            stage.id,
            outcome,
            step.key,
            seconds=tried.seconds,
            message=failure.message,
            help=failure.help,
            left=left,
            findings=tried.findings,
        )
        return _told(shared, stage, failed)
    except BaseException:
        publish.put_back(shared.at, stage, log)
        raise


def _finish(shared: Shared, step: Step, tried: Try, started: float) -> StageResult:
    """Writes the log and the record: from then on the result exists. Raises `OSError`."""
    ws, stage = shared.ws, step.stage
    assert tried.published is not None
    log = None
    if tried.log is not None:
        log = ws.store.put_log(tried.log)
    items = (*_checked_inputs(shared, step), *checked.outputs(stage, tried.published.outputs))
    record = Record(
        key=step.key,
        stage=stage.id,
        components=dict(step.components),
        outputs=tried.published.outputs,
        metrics=tried.published.metrics,
        params=ws.values(stage),
        started=started,
        seconds=tried.seconds,
        host=os.uname().nodename,
        commit=shared.commit(),
        log=log,
        tool=__version__,
        checked=tuple(sorted(item.name for item in items)),
    )
    if stage.sweep is not None:
        # Its trials were compared, and how long they took is never the same.
        ws.store.put_record(record)
        other = None
    else:
        other = unlike.put(ws, record, forced=shared.planner.forces(stage.id) or shared.again)
    publish.forget_aside(shared.at, stage)
    done = StageResult(
        stage.id,
        Outcome.RAN,
        step.key,
        record.outputs,
        record.metrics,
        tried.seconds if tried.took is None else tried.took,
        findings=tried.findings,
        unlike=other,
    )
    return _told(shared, stage, done)


def _reads(stage: Stage) -> bool:
    """Whether bringing it up to date opens its inputs: a sweep's trials did that."""
    return stage.sweep is None


def _inputs(ws: Workspace, stage: Stage, upstream: Mapping[str, Outputs | None]) -> list[OutputRecord]:
    """What others made or fetched, and must be in place."""
    return [*_upstream_outputs(stage, upstream), *pins.inputs(ws, stage)] if _reads(stage) else []


def _checked_inputs(shared: Shared, step: Step) -> list[checked.Item]:
    if not _reads(step.stage):
        return []
    return checked.inputs(shared.ws, step.stage, step.seen, shared.planner.paths)


def _variables(shared: Shared, stage: Stage, gpus: tuple[str, ...] | None) -> dict[str, str]:
    env = shared.ws.envs.get(stage.env) if stage.env else None
    with shared.preparing:
        name = stage.env or ""
        if name not in shared.prepared:
            shared.prepared[name] = environments.prepare(
                shared.ws.root, env, shared.ws.lock, lambda text: shared.listener.note(stage.id, text)
            )
    variables = childenv.variables(stage, env, shared.prepared[name])
    variables |= credentials.variables(f"stage `{stage.id}`", stage.auth, shared.ws.identity)
    if gpus is not None:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return variables


def _container(shared: Shared, stage: Stage) -> Container | None:
    ws = shared.ws
    env = ws.envs.get(stage.env or "")
    seen = [ws.root, shared.at.root, ws.store.root, *credentials.folders(stage.auth, ws.identity)]
    return environments.container(env, ws.lock, ws.runners.get(stage.runner or ""), seen)


def _tries(
    shared: Shared,
    step: Step,
    steady: Steady,
    variables: dict[str, str],
    descriptors: tuple[int, ...],
) -> Try:
    """Runs the command until it succeeds, or may not be tried again."""
    ws, stage = shared.ws, step.stage
    failures = preemptions = 0
    while True:
        log = _log(shared, stage)
        tried = _try(shared, step, steady, variables, descriptors, log)
        if tried.failure is None or shared.cancel.is_set() or not tried.again:
            return tried
        if tried.preempted:
            preemptions += 1
        else:
            failures += 1
        if failures > stage.retry or preemptions > max(stage.retry, _PREEMPTIONS):
            return tried
        pause = min(_LONGEST_PAUSE, 0.5 * 2 ** (failures + preemptions - 1))
        shared.listener.note(stage.id, f"{tried.failure.message}; trying again in {pause:g} s")
        if ws.clock.wait(pause, shared.cancel):
            return tried
        publish.discard(shared.at, stage)


def _log(shared: Shared, stage: Stage) -> Log:
    path = shared.ws.store.root / "tmp" / f"{os.getpid()}-{os.urandom(8).hex()}.log"
    hidden, more = credentials.hide(stage, shared.ws.identity)
    return Log(path, lambda lines: shared.listener.output(stage.id, lines), hidden, more)


def _try(
    shared: Shared,
    step: Step,
    steady: Steady,
    variables: dict[str, str],
    descriptors: tuple[int, ...],
    log: Log,
) -> Try:
    ws, stage = shared.ws, step.stage
    text = commands.script([commands.render(c, step.values) for c in stage.commands])
    limit = stage.timeout
    if limit is None and stage.runner is not None:
        limit = ws.runners[stage.runner].timeout
    began = ws.clock.monotonic()
    if stage.sweep is not None:
        return _write(shared, stage, log)
    try:
        command = Command(
            text,
            shared.at.root / (stage.dir or ""),
            variables,
            limit,
            descriptors,
            hurry=shared.hurry,
            container=_container(shared, stage),
        )
        end, findings = _in_sandbox(shared, step, command, log)
    except Failure as e:
        return Try(e, ws.clock.monotonic() - began, log.close())
    seconds = ws.clock.monotonic() - began
    failure = endings.failure(end, limit)
    if failure is not None:
        if shared.guard is not None and end.code and not end.cancelled:
            failure = shared.guard.explained(stage, failure)
        log.note(failure.message)
        again, preempted = not end.cancelled, end.code == endings.PREEMPTED
        return Try(failure, seconds, log.close(), again=again, preempted=preempted, findings=findings)
    kept = log.close()
    changed = _changed(steady)
    if changed is not None:
        return Try(changed, seconds, kept, findings=findings)
    try:
        return Try(None, seconds, kept, publish.publish(shared.at, stage), findings=findings)
    except Failure as e:
        return Try(e, seconds, kept, findings=findings)
    except OSError as e:
        return Try(endings.disk(e), seconds, kept, findings=findings)


def _write(shared: Shared, stage: Stage, log: Log) -> Try:
    """The outputs of a stage without commands."""
    try:
        seconds, began, lines = shared.writers[stage.id]()
        for line in lines:
            log.note(line)
        made, took = publish.publish(shared.ws, stage), shared.ws.clock.monotonic() - began
        return Try(None, seconds, log.close(), made, took=took)
    except Failure as e:
        return Try(e, 0.0, log.close())
    except OSError as e:
        return Try(endings.disk(e), 0.0, log.close())


def _in_sandbox(shared: Shared, step: Step, command: Command, log: Log) -> tuple[Exit, tuple[Finding, ...]]:
    if shared.guard is None:
        return shared.ws.runner.run(command, log, shared.cancel), ()
    with shared.guard.at(shared.at).around(step, command) as guarded:
        end = shared.ws.runner.run(guarded.command, log, shared.cancel)
    return end, guarded.findings


def _changed(steady: Steady) -> Failure | None:
    """An input that is not what it was when the key was made: then the result belongs to no key."""
    changed = steady.changed()
    if not changed:
        return None
    names = ", ".join(f"`{p}`" for p in changed[:5])
    return Failure(
        f"{names} changed while the stage ran, so its result was not kept",
        help="a stage may write its outputs and nothing else; if somebody edited the file, run again",
    )
