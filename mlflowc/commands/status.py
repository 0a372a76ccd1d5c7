"""`mlpipec status`: what a run would do, by the same planner."""

from __future__ import annotations

import json
from typing import Any

import click

from mlflowc import project, terminal
from mlflowc.commands import complete, feeding, sharing
from mlflowc.commands.options import file_option, overrides, remote_option, set_option
from mlflowc.runtime import pins
from mlflowc.runtime.plan import Action, Plan
from mlflowc.runtime.progress import count
from mlflowc.runtime.sweeping import foresee
from mlflowc.runtime.workspace import Workspace, open_workspace

_WORDS = {
    Action.KEEP: ("up to date", "green"),
    Action.RESTORE: ("in the cache", "cyan"),
    Action.RUN: ("would run", "yellow"),
    Action.WAIT: ("may run", "yellow"),
    Action.BLOCKED: ("cannot run", "red"),
}


@click.command("status")
@click.argument("names", metavar="[TARGET]...", nargs=-1, shell_complete=complete.targets)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--exit-code", is_flag=True, help="End with exit code 1 when there is something to do.")
@click.option("--sources", is_flag=True, help="Ask the data sources whether they have something newer.")
@set_option
@remote_option
@file_option
def command(
    names: tuple[str, ...],
    as_json: bool,
    exit_code: bool,
    sources: bool,
    settings: tuple[str, ...],
    remote: str | None,
    file: str | None,
) -> int:
    """Say what a run would do, and why."""
    loaded = project.load(file, overrides=overrides(settings))
    ws = open_workspace(loaded.root, loaded.pipeline)
    link = sharing.attach(ws, remote)
    try:
        plan = foresee.told(ws, sharing.plan(ws, names))
        newer = _newer(ws, plan) if sources else []
    finally:
        ws.close()
        if link is not None:
            link.close()
    if as_json:
        shown: dict[str, Any] = {"idle": plan.idle, "stages": plan.as_json()}
        if sources:
            shown["newer"] = newer
        print(json.dumps(shown, indent=2))
    else:
        width = max((len(s.stage.id) for s in plan.steps), default=0)
        for step in plan.steps:
            word, colour = _WORDS[step.action]
            print(
                f"{step.stage.id:<{width}}  {terminal.style(f'{word:<12}', colour)}  {step.reason}".rstrip()
            )
        if not names:
            _apart(ws, plan)
        todo = sum(s.action is not Action.KEEP for s in plan.steps)
        done = "nothing to do" if plan.idle else f"{count(todo, 'stage')} to do; `mlpipec run` does it"
        print(terminal.style(done, "bold"))
        if newer:
            what = "has" if len(newer) == 1 else "have"
            print(f"{', '.join(newer)} {what} something newer: `mlpipec update` takes it in")
        elif sources:
            print("no data source has anything newer")
    return 1 if exit_code and not plan.idle else 0


def _apart(ws: Workspace, plan: Plan) -> None:
    """The sweeps that a plain run leaves alone."""
    for sweep in ws.pipeline.sweeps:
        if plan.step(sweep.name) is None:
            words = f"sweep {sweep.name}: run by its name alone, `mlpipec run {sweep.name}`"
            print(terminal.style(words, "dim"))


def _newer(ws: Workspace, plan: Plan) -> list[str]:
    """The data that the stages read and whose source has another version than is pinned, or may have."""
    used = pins.used(ws, (s.stage for s in plan.steps))
    return [n.data.name for n in feeding.fetcher(ws).news(used) if n.changed is not False]
