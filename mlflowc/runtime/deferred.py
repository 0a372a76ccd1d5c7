"""What of a remote a plan really needs: a stage that only leads to others is fetched when one reads it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlflowc.frozen import replace
from mlflowc.ir.model import StageOutput
from mlflowc.runtime.plan import Action, Step
from mlflowc.runtime.workspace import Workspace


def only_needed(ws: Workspace, steps: Sequence[Step], wanted: Collection[str]) -> list[Step]:
    """The steps, where results that are in the remote alone, and that nobody asked for by name, come only as
    far as a stage that runs (or may run) reads them. What nobody reads stays where it is.
    """
    read: dict[str, set[str]] = {}
    for step in steps:
        if step.action in (Action.RUN, Action.WAIT):
            for entry in step.stage.inputs:
                for source in entry.sources:
                    if isinstance(source, StageOutput):
                        read.setdefault(source.stage, set()).add(source.output)
    return [_lighter(ws, s, read) if s.stage.id not in wanted else s for s in steps]


def _lighter(ws: Workspace, step: Step, read: dict[str, set[str]]) -> Step:
    if step.action is not Action.RESTORE or all(ws.store.has_output(o) for o in step.outputs):
        return step
    names = frozenset(read.get(step.stage.id, ()))
    if not names:
        return replace(step, action=Action.KEEP, reason="its result is in the remote")
    return replace(step, only=names)
