"""Which results `cache push`, `pull` and `export` are about, and what they say of those that are not here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflowc.runtime import pins, targets
from mlflowc.runtime.plan import Action, Outputs, Plan, Step, make_plan
from mlflowc.runtime.progress import count
from mlflowc.runtime.records import Record
from mlflowc.runtime.workspace import Workspace


@dataclass(slots=True)
class Chosen:
    """`records` are the results that are here. Ids of stages without one: `absent`, the cache has none;
    `in_place`, their outputs stand in their places, and the cache has none; `unknown`, which result is theirs
    depends on what the stage that is named will make. `left` tells of another cache that may have them.
    `failed`: what was asked for is not here.
    """

    records: list[Record] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    in_place: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    failed: bool = False

    @property
    def missing(self) -> list[str]:
        """All stages without a result here."""
        return [*self.absent, *self.in_place, *self.unknown]

    @property
    def lines(self) -> list[str]:
        """For people."""
        lines = [f"no result here: {', '.join(self.absent)}"] if self.absent else []
        if self.in_place:
            lines.append(
                f"in place, but not in the cache: {', '.join(self.in_place)}; "
                f"`mlpipec run --force {' '.join(self.in_place)}` makes the results anew"
            )
        return [*lines, *not_known(self.unknown), *self.left]

    @property
    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"absent": self.missing, "in_place": self.in_place}


def not_known(unknown: dict[str, str]) -> list[str]:
    """A line about stages whose result depends on that of another, by these."""
    if not unknown:
        return []
    causes = ", ".join(f"`{c}`" for c in dict.fromkeys(unknown.values()))
    verb = "follows" if len(unknown) == 1 else "follow"
    return [f"not known: {', '.join(unknown)} ({verb} what {causes} will make)"]


def choose(ws: Workspace, names: Sequence[str], *, everything: bool) -> Chosen:
    """The results of targets (default: of all stages), or everything that is in the cache."""
    if everything:
        found = list(ws.store.records())
        return Chosen(found, failed=not found)
    # Where results stand is of no interest: they come from the cache.
    plan = make_plan(ws, names, stored=True)
    chosen = Chosen()
    for step in followed(ws, plan):
        stage = step.stage.id
        good = step.action in (Action.KEEP, Action.RESTORE)
        record = (step.record or ws.store.record(step.key)) if good else None
        if record is not None:
            chosen.records.append(record)
        elif good:
            chosen.in_place.append(stage)
        elif step.action is Action.WAIT:
            chosen.unknown[stage] = cause(step, chosen.unknown, chosen.absent)
        else:
            chosen.absent.append(stage)
    # The data that they read comes along, as far as it was fetched here.
    chosen.records += pins.held(ws, (s.stage for s in plan.steps))
    asked = set(plan.wanted.stages) if names else set()
    missing = chosen.missing
    chosen.failed = not asked.isdisjoint(missing) or (bool(missing) and not chosen.records)
    chosen.left = left_behind(ws) if missing else []
    return chosen


def left_behind(ws: Workspace) -> list[str]:
    """A line about results in the project's own cache, where it uses a shared one that lacks them."""
    # Most never have one: a push should not wait for what reads them.
    from mlflowc.runtime.takeover import OWN, left_behind

    left = left_behind(ws) if ws.shared is not None else 0
    if not left:
        return []
    return [
        f"`{OWN}` still holds {count(left, 'result')} of before the shared cache: "
        f"`mlpipec cache import {OWN}` takes {'it' if left == 1 else 'them'} over"
    ]


def followed(ws: Workspace, plan: Plan) -> Iterator[Step]:
    """The plan's steps. A result that is not here does not hide those behind it: where the lock, or its
    record, says what it was, that is what they are made from.
    """
    known: dict[str, Outputs | None] = {}
    for planned in plan.steps:
        step = planned
        if step.action is Action.WAIT:
            step = plan.planner.decide(step.stage, known)
        good = step.action in (Action.KEEP, Action.RESTORE)
        known[step.stage.id] = step.outputs if good else _said(ws, step)
        yield step


def cause(step: Step, unknown: dict[str, str], absent: Sequence[str]) -> str:
    """The stage that has to run before anybody knows the result of this one."""
    before = targets.upstream(step.stage)
    first = next((s for s in before if s in unknown), None)
    if first is not None:
        return unknown[first]
    return next((s for s in before if s in absent), before[0])


def _said(ws: Workspace, step: Step) -> Outputs | None:
    """The outputs of a result whose content is not here; None where nobody says them."""
    if not step.key:
        return None
    locked = ws.lock.stage(step.stage.id)
    if locked is not None and locked.key == step.key:
        return locked.outputs
    record = ws.store.record(step.key)
    return record.outputs if record is not None else None
