"""The stages of a report: what ran, what was cached, why, how long it took and what that cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflowc.ir import model as ir
from mlflowc.report.model import StageRow
from mlflowc.report.words import literal
from mlflowc.runtime import commits, explain, targets
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.events import Outcome, RunResult
from mlflowc.runtime.lockfile import StageEntry
from mlflowc.runtime.plan import Action, Planner, Step
from mlflowc.runtime.records import OutputRecord, Record

if TYPE_CHECKING:
    from mlflowc.runtime.workspace import Workspace

_SHOWN = 3  # reasons of one stage; `mlpipec why` says all of them


def states(result: RunResult) -> dict[str, StageRow]:
    """What a run did, for `build`: good stages `ran` or were `cached`, with the time that the result took."""
    rows = {}
    for stage in result.stages:
        if stage.outcome.good:
            ran = stage.outcome is Outcome.RAN
            seconds = stage.seconds if ran else stage.saved or None
            rows[stage.stage] = StageRow(stage.stage, "ran" if ran else "cached", seconds)
    return rows


def of_commit(ws: Workspace, stages: Sequence[str]) -> dict[str, StageRow]:
    """What the jobs of the commit that is checked out did, by the records they left: a result that was made
    at this commit ran, any other one was cached. Nothing outside of git."""
    head = commits.checked_out(ws.root)
    rows = {}
    for stage in stages if head else ():
        record = _record(ws, ws.lock.stage(stage))
        if record is not None and record.commit:
            rows[stage] = StageRow(
                stage, "ran" if record.commit == head else "cached", record.seconds or None
            )
    return rows


def rows(
    ws: Workspace, stages: Sequence[str], given: Mapping[str, StageRow], before: Snapshot | None
) -> tuple[StageRow, ...]:
    """A row for each stage that the report shows, in the pipeline's order. `before` is what results are
    explained by, else the nearest earlier ones."""
    wanted = set(stages)
    asked = [s.id for s in ws.pipeline.stages if s.id in wanted and s.id not in given]
    stale = _stale(ws, asked) if asked else {}
    made = []
    for stage in (s for s in ws.pipeline.stages if s.id in wanted):
        entry = ws.lock.stage(stage.id)
        record = _record(ws, entry)
        if stage.id in given:
            row = given[stage.id]
        elif entry is None:
            row = StageRow(stage.id, "missing", why=stale.get(stage.id, ""))
        elif stage.id in stale:
            row = StageRow(stage.id, "changed", record.seconds if record else None, stale[stage.id])
        else:
            row = StageRow(stage.id, "current", record.seconds if record else None)
        if not row.why and entry is not None:
            row = replace(row, why=_why(ws, stage, entry, record, before))
        made.append(replace(row, cost=_cost(ws.pipeline, stage, row)))
    return tuple(made)


def _record(ws: Workspace, entry: StageEntry | None) -> Record | None:
    return ws.store.record(entry.key) if entry is not None else None


def _why(
    ws: Workspace, stage: ir.Stage, entry: StageEntry, record: Record | None, before: Snapshot | None
) -> str:
    """Why the result is another one than before."""
    if before is not None:
        old = before.stages.get(stage.id)
        if old is None:
            return f"new since `{before.revision}`"
        if old.key == entry.key:
            return f"the same as at `{before.revision}`"
        then = _record(ws, old)
        if then is None or record is None:
            return _by_params(old.params, entry.params)
    else:
        then = explain.nearest_record(ws, stage, record.components, entry.key) if record else None
    if then is None or record is None:
        return ""
    env = ws.envs.get(stage.env or "")
    lines = [change.text for change in explain.changes(then.components, record.components, env)]
    more = f" (and {len(lines) - _SHOWN} more)" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more


def _by_params(old: Mapping[str, ir.Value], now: Mapping[str, ir.Value]) -> str:
    """All that two lines of the lock file tell."""
    changed = [
        f"parameter `{n}` changed: {literal(old.get(n))} → {literal(now.get(n))}"
        for n in sorted(old.keys() | now.keys())
        if old.get(n) != now.get(n)
    ]
    return "; ".join(changed[:_SHOWN]) or "an input, the code, the command or the environment changed"


def _cost(pipeline: ir.Pipeline, stage: ir.Stage, row: StageRow) -> float | None:
    """What the run cost by its runner's price an hour: 0 for what was cached."""
    price = next((r.price for r in pipeline.runners if r.name == stage.runner), None)
    if price is None or row.seconds is None or row.state not in ("ran", "cached"):
        return None
    return price * row.seconds / 3600 if row.state == "ran" else 0.0


def _stale(ws: Workspace, stages: Sequence[str]) -> dict[str, str]:
    """Those of `stages` whose entry in the lock is not what a run would give now, wherever its content is;
    with the reason."""
    planner = Planner(ws)
    known: dict[str, tuple[OutputRecord, ...] | None] = {}
    stale = {}
    for stage in targets.closure(ws.pipeline, stages):
        step = planner.decide(stage, known, lazy=True)
        there = step.action in (Action.KEEP, Action.RESTORE)
        known[stage.id] = step.outputs if there else None
        locked = ws.lock.stage(stage.id)
        if not there or locked is None or locked.key != step.key:
            stale[stage.id] = _reason(ws, step)
    return stale


def _reason(ws: Workspace, step: Step) -> str:
    """Why it is out of date, as `mlpipec status` says it: that its result is not here says nothing."""
    if step.action is Action.BLOCKED and step.key:
        return explain.reason_to_run(ws, step.stage, step.key, step.components)
    return step.reason
