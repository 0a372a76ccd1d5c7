"""One trial: its result where it is known, else a run of the swept stage in a place of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from mlflowc.frozen import replace
from mlflowc.runtime import assets
from mlflowc.runtime.events import Outcome, StageResult
from mlflowc.runtime.plan import Action, Outputs, Step
from mlflowc.runtime.sweeping import desk
from mlflowc.runtime.sweeping.components import failed_key
from mlflowc.runtime.sweeping.driver import Done, Trial
from mlflowc.runtime.worker import Shared, work
from mlflowc.runtime.workspace import Workspace

Upstream = Mapping[str, Outputs | None]


def run(
    shared: Shared, trial: Trial, upstream: Upstream, gpus: tuple[str, ...] | None, *, force: bool
) -> tuple[StageResult, Done]:
    """What came of a trial. With `force` it runs whatever is known. Failures of all kinds are in the
    result."""
    ws, stage = shared.ws, trial.stage
    step = shared.planner.decide(stage, upstream, lazy=True)
    if step.action is Action.KEEP and not (force and trial.own):
        record = step.record or ws.store.record(step.key)
        seconds = record.seconds if record is not None else None
        result = StageResult(
            stage.id, Outcome.KEPT, step.key, step.outputs, step.metrics, saved=seconds or 0.0
        )
        return result, Done(trial, True, step.key, step.metrics, step.outputs, seconds, cached=True)
    if not step.key:
        return _failed(trial, StageResult(stage.id, Outcome.FAILED, message=step.reason))
    if not trial.own:
        known = ws.store.record(failed_key(step.key)) is not None
        why = "failed in its job" if known else "has no result here: the job that runs it left none"
        result = StageResult(stage.id, Outcome.FAILED, step.key, message=why)
        return result, replace(_failed(trial, result)[1], cached=known)
    result = _worked(shared, replace(step, action=Action.RUN, reason=""), upstream, gpus, force)
    if not result.outcome.good:
        return _failed(trial, result)
    record = ws.store.record(result.key)
    seconds = record.seconds if record is not None else None
    return result, Done(trial, True, result.key, result.metrics, result.outputs, seconds)


def _worked(
    shared: Shared, step: Step, upstream: Upstream, gpus: tuple[str, ...] | None, force: bool
) -> StageResult:
    ws, stage = shared.ws, step.stage
    values = ", ".join(f"{n} = {v}" for n, v in stage.bound)

    def apart(step: Step, run: Callable[[Workspace], StageResult]) -> StageResult:
        assets.provide(ws, stage)
        with desk.laid(ws, stage, step.key) as place:
            return _kept_apart(ws, run(place))

    return work(replace(shared, apart=apart, again=force), replace(step, reason=values), upstream, gpus)


def _kept_apart(ws: Workspace, result: StageResult) -> StageResult:
    """What a failed trial left is moved out of its place, which goes away."""
    if result.left is None:
        return result
    target = ws.state / "failed" / result.stage.replace("/", "_")
    with contextlib.suppress(OSError):
        ws.fs.remove(target)
        ws.fs.make_folder(target.parent)
        ws.fs.rename(result.left, target)
        return replace(result, left=target)
    return replace(result, left=None)


def _failed(trial: Trial, result: StageResult) -> tuple[StageResult, Done]:
    message = result.message.partition("\n")[0]
    return result, Done(trial, False, result.key, seconds=result.seconds or None, message=message)
