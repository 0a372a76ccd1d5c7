"""`mlpipec status`: what a run would do, by the same planner."""

from __future__ import annotations

import json

import click

from mlflowc import project, terminal
from mlflowc.commands import complete, sharing
from mlflowc.commands.options import file_option, overrides, remote_option, set_option
from mlflowc.commands.running import plan_as_json
from mlflowc.runtime.plan import Action
from mlflowc.runtime.progress import count
from mlflowc.runtime.workspace import open_workspace

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
@set_option
@remote_option
@file_option
def command(
    names: tuple[str, ...],
    as_json: bool,
    exit_code: bool,
    settings: tuple[str, ...],
    remote: str | None,
    file: str | None,
) -> int:
    """Say what a run would do, and why."""
    loaded = project.load(file, overrides=overrides(settings))
    ws = open_workspace(loaded.root, loaded.pipeline)
    link = sharing.attach(ws, remote)
    try:
        plan = sharing.plan(ws, names)
    finally:
        ws.close()
        if link is not None:
            link.close()
    if as_json:
        print(json.dumps({"idle": plan.idle, "stages": plan_as_json(plan)}, indent=2))
    else:
        width = max((len(s.stage.id) for s in plan.steps), default=0)
        for step in plan.steps:
            word, colour = _WORDS[step.action]
            print(
                f"{step.stage.id:<{width}}  {terminal.style(f'{word:<12}', colour)}  {step.reason}".rstrip()
            )
        todo = sum(s.action is not Action.KEEP for s in plan.steps)
        done = "nothing to do" if plan.idle else f"{count(todo, 'stage')} to do; `mlpipec run` does it"
        print(terminal.style(done, "bold"))
    return 1 if exit_code and not plan.idle else 0
