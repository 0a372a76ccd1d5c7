"""What can be said of every stage without running one: its deep key, and whether the lock belongs to it."""

from __future__ import annotations

from mlflowc.runtime import measured, pins, targets
from mlflowc.runtime.explain import nearest_record, reason_to_run
from mlflowc.runtime.plan import Action, Outputs, Planner, Step, pin_environments
from mlflowc.runtime.sincelock import SinceLock
from mlflowc.runtime.workspace import Workspace


def deep_keys(ws: Workspace) -> dict[str, str | None]:
    """Every stage's deep key by id; None where an input is not there, or behind such a stage."""
    pin_environments(ws)
    planner = Planner(ws)
    known: dict[str, str | None] = {}
    for stage in ws.pipeline.stages:
        before = {s: known[s] for s in targets.upstream(stage)}
        complete = {s: k for s, k in before.items() if k is not None}
        known[stage.id] = planner.deep_key(stage, complete) if len(complete) == len(before) else None
    return known


def verify(ws: Workspace) -> dict[str, str]:
    """Where `mlpipe.lock` and the checkout disagree: stage id -> in what. Reads no output of any
    stage but the files of metrics that are here.
    """
    planner = Planner(ws)
    problems: dict[str, str] = {}
    known: dict[str, Outputs | None] = {}
    plain = frozenset(targets.plain(ws.pipeline))
    since = SinceLock(ws)
    for stage in ws.pipeline.stages:
        if stage.id not in plain:
            continue
        locked = ws.lock.stage(stage.id)
        known[stage.id] = locked.outputs if locked else None
        if locked is None:
            problems[stage.id] = "the lock has no entry for it"
            continue
        step = planner.decide(stage, known, lazy=True)
        if step.key and step.key != locked.key:
            problems[stage.id] = _told(ws, since, step)
        elif step.action is Action.BLOCKED:
            problems[stage.id] = step.reason
        elif step.key and ws.values(stage) != locked.params:
            problems[stage.id] = "the lock holds other values of its parameters"
        elif path := measured.misstated(ws, stage, locked):
            problems[stage.id] = f"the lock says other numbers of `{path}` than are in it"
    for kind, name in ws.lock.entries:
        if kind == "stage" and name not in ws.stages:
            problems[name] = "the lock has an entry for it, and the pipeline has no such stage"
    return problems | _unsettled(ws)


def _told(ws: Workspace, since: SinceLock, step: Step) -> str:
    """What changed: by the records that are here, else by the lock and git."""
    if nearest_record(ws, step.stage, step.components, step.key) is None:
        reasons = since.reasons(step)
        if reasons:
            return "; ".join(reasons)
    return reason_to_run(ws, step.stage, step.key, step.components)


def _unsettled(ws: Workspace) -> dict[str, str]:
    """The pinned data that stages read, and whose pin does not belong to the checkout."""
    problems: dict[str, str] = {}
    for name, data in pins.used(ws, ws.pipeline.stages).items():
        pin = pins.current(ws, data)
        if pin is None:
            problems[f"data {name}"] = pins.unpinned(data, ws.lock)
        elif pin.type != pins.type_of(data):
            problems[f"data {name}"] = "it was pinned when its type said something else"
    return problems
