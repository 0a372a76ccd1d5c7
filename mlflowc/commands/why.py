"""`mlpipec why STAGE`: what is different from the nearest earlier run, component by component."""

from __future__ import annotations

import json
from typing import Any

import click

from mlflowc import project, terminal
from mlflowc.commands import complete, sharing
from mlflowc.commands.options import file_option, overrides, remote_option, set_option
from mlflowc.errors import Failure
from mlflowc.ir.model import Pipeline
from mlflowc.runtime import codechange, progress, targets
from mlflowc.runtime.explain import changes, nearest_record
from mlflowc.runtime.plan import Action, Outputs, Plan, Step
from mlflowc.runtime.sincelock import SinceLock
from mlflowc.runtime.workspace import Workspace, open_workspace


@click.command("why")
@click.argument("stage", required=False, shell_complete=complete.stages)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@set_option
@remote_option
@file_option
def command(
    stage: str | None, as_json: bool, settings: tuple[str, ...], remote: str | None, file: str | None
) -> int:
    """Say why a stage would run: which parameter, file, environment or command is different.

    Compares with the nearest of its earlier results, else with what the lock and Git tell. Of a stage that
    waits for others, says what is different already, whatever these will make. Without STAGE, all stages
    that are not up to date are explained.
    """
    loaded = project.load(file, overrides=overrides(settings))
    named = stages_named(loaded.pipeline, stage) if stage is not None else ()
    stages = named or tuple(s.id for s in loaded.pipeline.stages)
    ws = open_workspace(loaded.root, loaded.pipeline)
    link = sharing.attach(ws, remote)
    try:
        plan = sharing.plan(ws, stages)
        explainer = _Explainer(ws, plan)
        answers = [
            explainer.answer(s) for s in plan.steps if s.stage.id in named or s.action is not Action.KEEP
        ]
    finally:
        ws.close()
        if link is not None:
            link.close()
    if as_json:
        print(json.dumps({"stages": answers}, indent=2, ensure_ascii=False))
        return 0
    for answer in answers:
        print(f"{terminal.style(str(answer['stage']), 'bold')}: {answer['says']}")
        for line in answer["changes"]:
            print(f"  {line}")
    same = len(plan.steps) - len(answers)
    if stage is None and same:
        print(f"{progress.count(same, 'stage')} up to date" + ("" if answers else ": nothing to explain"))
    return 0


def stages_named(pipeline: Pipeline, name: str) -> tuple[str, ...]:
    """The ids of the stage of that id or name. Raises `Failure` for anything else."""
    wanted = targets.resolve(pipeline, [name])
    if wanted.gates or wanted.reports or wanted.actions:
        raise Failure(
            f"`{name}` is not a stage", help=f"its stages: {', '.join(wanted.stages) or 'none'}", code=2
        )
    return wanted.stages


class _Explainer:
    """Says of the steps of one plan why they are what they are."""

    def __init__(self, ws: Workspace, plan: Plan) -> None:
        self._ws = ws
        self._planner = plan.planner
        self._since = SinceLock(ws)
        locked = {s.stage.id: ws.lock.stage(s.stage.id) for s in plan.steps}
        self._locked: dict[str, Outputs | None] = {n: e.outputs if e else None for n, e in locked.items()}

    def answer(self, step: Step) -> dict[str, Any]:
        """The stage, what becomes of it, a sentence, and a line for each change."""
        says, lines = step.reason, list[str]()
        if step.action is Action.RUN:
            than, lines = self._changes(step) if step.key else ("", [])
            says = f"would run; different from {than}:" if lines else f"would run: {step.reason}"
        elif step.action is Action.RESTORE:
            where = "cache" if all(map(self._ws.store.has_output, step.outputs)) else "remote"
            says = f"its result is in the {where} ({step.reason}); it would be restored, not run"
        elif step.action is Action.KEEP:
            says = step.reason or "up to date"
        elif step.action is Action.WAIT:
            says, lines = self._waiting(step)
        elif step.action is Action.BLOCKED:
            says = f"cannot run: {step.reason}"
        return {"stage": step.stage.id, "action": step.action.name.lower(), "says": says, "changes": lines}

    def _changes(self, step: Step) -> tuple[str, list[str]]:
        """What the stage's key is compared with, and what is different."""
        ws = self._ws
        locked = ws.lock.stage(step.stage.id)
        if locked is not None and locked.key == step.key:
            return "", []  # nothing is different: its result is lost
        before = nearest_record(ws, step.stage, step.components, step.key)
        if before is not None:
            found = changes(before.components, step.components, ws.envs.get(step.stage.env or ""))
            lines = [codechange.text(ws.root, c, before.commit) for c in found]
            of_lock = locked is not None and locked.key == before.key
            return f"the result {before.key[:12]}" + (" of the lock" if of_lock else ""), lines
        if locked is None:
            return "", []
        return "the lock", self._since.reasons(step)

    def _waiting(self, step: Step) -> tuple[str, list[str]]:
        """As `_changes`, if the stages before made again what the lock says that they made."""
        locked = self._ws.lock.stage(step.stage.id)
        if locked is None or any(self._locked.get(s) is None for s in targets.upstream(step.stage)):
            return step.reason, []
        then = self._planner.decide(step.stage, self._locked, lazy=True)
        if not then.key or then.key == locked.key:
            return step.reason, []
        than, lines = self._changes(then)
        return (f"{step.reason}; already different from {than}:" if lines else step.reason), lines
