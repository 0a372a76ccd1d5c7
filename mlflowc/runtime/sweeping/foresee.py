"""What a sweep has before it, before anything runs."""

from __future__ import annotations

from dataclasses import replace

from mlflowc.ir import sweeps
from mlflowc.runtime import targets
from mlflowc.runtime.plan import Action, Plan, Step
from mlflowc.runtime.sweeping import points
from mlflowc.runtime.workspace import Workspace


def told(ws: Workspace, plan: Plan) -> Plan:
    """The plan, with the number of trials among the reasons of sweeps."""
    if not any(s.stage.sweep for s in plan.steps):
        return plan
    return replace(plan, steps=tuple(_told(ws, plan, s) for s in plan.steps))


def _told(ws: Workspace, plan: Plan, step: Step) -> Step:
    if step.stage.sweep is None or step.action not in (Action.RUN, Action.WAIT):
        return step
    return replace(step, reason=f"{step.reason} ({_words(ws, plan, step)})")


def _words(ws: Workspace, plan: Plan, step: Step) -> str:
    """`12 trials, 8 of them known`."""
    assert step.stage.sweep is not None
    sweep = ws.sweeps[step.stage.sweep]
    total = sweeps.count(sweep)
    text = f"{total} trial{'' if total == 1 else 's'}"
    if step.action is Action.WAIT or sweep.search == "tpe" or plan.planner.forces(step.stage.id):
        return text
    base = ws.stage(sweep.stage)
    whole = frozenset(p.name for p in ws.pipeline.params if p.type.name == "int")
    chosen = points.grid(sweep) if sweep.search == "grid" else points.random(sweep, total, whole)
    before = {s: found.outputs for s in targets.upstream(base) if (found := plan.step(s)) is not None}
    known = sum(
        plan.planner.decide(sweeps.trial(sweep, base, n, point), before, lazy=True).action is Action.KEEP
        for n, point in enumerate(chosen, 1)
    )
    return f"{text}, {known} of them known" if known else text
