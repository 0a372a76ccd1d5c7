"""`mlpipec why STAGE`: what is different from the nearest earlier run, component by component."""

from __future__ import annotations

import json
from typing import Any

import click

from mlflowc import project, terminal
from mlflowc.commands import complete
from mlflowc.commands.options import file_option, overrides, set_option
from mlflowc.errors import Failure
from mlflowc.ir.model import Pipeline
from mlflowc.runtime import codechange, progress, targets
from mlflowc.runtime.explain import changes, nearest_record
from mlflowc.runtime.plan import Action, Step, make_plan
from mlflowc.runtime.sincelock import SinceLock
from mlflowc.runtime.workspace import Workspace, open_workspace


@click.command("why")
@click.argument("stage", required=False, shell_complete=complete.stages)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@set_option
@file_option
def command(stage: str | None, as_json: bool, settings: tuple[str, ...], file: str | None) -> int:
    """Say why a stage would run: which parameter, file, environment or command is different.

    Compares with the nearest of its earlier results. Where the stage waits for others, says what is different
    there. Without STAGE, all stages that are not up to date are explained.
    """
    loaded = project.load(file, overrides=overrides(settings))
    named = stages_named(loaded.pipeline, stage) if stage is not None else ()
    stages = named or tuple(s.id for s in loaded.pipeline.stages)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        plan = make_plan(ws, stages)
        since = SinceLock(ws)
        answers = [
            _answer(ws, since, s) for s in plan.steps if s.stage.id in named or s.action is not Action.KEEP
        ]
    finally:
        ws.close()
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


def _answer(ws: Workspace, since: SinceLock, step: Step) -> dict[str, Any]:
    says = f"{step.action.value}{', ' + step.reason if step.reason else ''}"
    lines: list[str] = []
    if step.action is Action.RUN and step.key:
        before = nearest_record(ws, step.stage, step.components, step.key)
        if before is not None:
            found = changes(before.components, step.components)
            lines = [codechange.text(ws.root, c, before.commit) for c in found]
            says = (
                f"would run; different from the result {before.key[:12]}:"
                if lines
                else f"would run: {step.reason}"
            )
        else:
            locked = ws.lock.stage(step.stage.id)
            lines = since.reasons(step) if locked is not None and locked.key != step.key else []
            says = "would run; different from the lock:" if lines else f"would run: {step.reason}"
    elif step.action is Action.RESTORE:
        says = f"its result is in the cache ({step.reason}); it would be restored, not run"
    elif step.action is Action.KEEP:
        says = "up to date"
    elif step.action is Action.WAIT:
        says = step.reason
    elif step.action is Action.BLOCKED:
        says = f"cannot run: {step.reason}"
    return {"stage": step.stage.id, "action": step.action.name.lower(), "says": says, "changes": lines}
