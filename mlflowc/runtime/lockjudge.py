"""Which of two entries of a lock belongs to the checkout: the judge of `mlflowc.runtime.lockmerge`."""

from __future__ import annotations

from mlflowc.errors import Failure
from mlflowc.runtime import environments, lockmerge, pins, targets
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.lockmerge import Judge, Side
from mlflowc.runtime.plan import Outputs, Planner
from mlflowc.runtime.workspace import Workspace


def judge(ws: Workspace, base: LockFile, ours: LockFile, theirs: LockFile) -> Judge:
    """Says which side an environment, data or a stage belongs to, where one does and the other does not."""
    both = {Side.OURS: ours, Side.THEIRS: theirs}
    known = {("env", name): _env_side(ws, name, both) for name in ws.envs}
    known |= {(pins.KIND, name): _data_side(ws, name, both) for name in ws.pinned}

    def of_input(kind: str, name: str, mine: LockFile, other: LockFile) -> Side | None:
        return known.get((kind, name))

    # With the right environments and data, keys can be computed without resolving anything anew.
    ws.lock = lockmerge.merge(base, ours, theirs, of_input).lock
    stages = _stage_sides(ws, both)

    def of_all(kind: str, name: str, mine: LockFile, other: LockFile) -> Side | None:
        return stages.get(name) if kind == "stage" else of_input(kind, name, mine, other)

    return of_all


def _env_side(ws: Workspace, name: str, both: dict[Side, LockFile]) -> Side | None:
    fits = [side for side, lock in both.items() if environments.is_current(ws.root, ws.envs[name], lock)]
    return fits[0] if len(fits) == 1 else None


def _data_side(ws: Workspace, name: str, both: dict[Side, LockFile]) -> Side | None:
    """The side whose pin is of the source as it is declared in the checkout."""
    fits = []
    for side, lock in both.items():
        ws.lock = lock
        if pins.current(ws, ws.sources[name]) is not None:
            fits.append(side)
    return fits[0] if len(fits) == 1 else None


def _stage_sides(ws: Workspace, both: dict[Side, LockFile]) -> dict[str, Side]:
    """For each stage the side whose key is that of the checkout, from the first stages to the last: what one
    made decides the keys of those behind it.
    """
    planner = Planner(ws)
    sides: dict[str, Side] = {}
    known: dict[str, Outputs | None] = {}
    for stage in ws.pipeline.stages:
        known[stage.id] = None
        key = _key(ws, planner, stage.id, known)
        for side, lock in both.items():
            entry = lock.stage(stage.id)
            if entry is not None and key == entry.key:
                sides.setdefault(stage.id, side)
                known[stage.id] = known[stage.id] or entry.outputs
    return sides


def _key(ws: Workspace, planner: Planner, stage_id: str, known: dict[str, Outputs | None]) -> str:
    """The stage's key in the checkout; empty where it cannot be known without running or resolving."""
    stage = ws.stage(stage_id)
    env = ws.envs.get(stage.env or "")
    if env is not None and not environments.is_current(ws.root, env, ws.lock):
        return ""
    if any(known[s] is None for s in targets.upstream(stage)):
        return ""
    try:
        return planner.decide(stage, known, lazy=True).key
    except Failure:
        return ""
