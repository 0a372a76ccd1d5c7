"""Actions: commands that do something to the world. Never cached, never tried again by themselves."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from mlflowc.errors import Failure
from mlflowc.ir.model import Action, Stage, StageOutput
from mlflowc.runtime import childenv, commands, environments, pins, placing, publish
from mlflowc.runtime.events import Listener
from mlflowc.runtime.identity import steps as credentials
from mlflowc.runtime.logs import Log
from mlflowc.runtime.plan import Action as Todo
from mlflowc.runtime.plan import Outputs, Planner
from mlflowc.runtime.ports import Command
from mlflowc.runtime.workspace import Workspace


def act(ws: Workspace, action: Action, upstream: Mapping[str, Outputs | None], listener: Listener) -> None:
    """Runs `action` on what stages made. Raises `Failure` when it cannot, or does not end well."""
    stage = _as_stage(action)
    step = Planner(ws, frozenset({stage.id})).decide(stage, upstream)
    if step.action is Todo.BLOCKED or not step.key:
        raise Failure(f"action `{action.name}` cannot run: {step.reason}")
    read = {(s.stage, s.output) for i in action.inputs for s in i.sources if isinstance(s, StageOutput)}
    for name, outputs in upstream.items():
        for made in outputs or ():
            if (name, made.name) in read and not publish.restore(ws, (made,)):
                help = "get the bundle of the job that makes it, or run that stage again"
                raise Failure(
                    f"action `{action.name}` cannot run: `{made.path}` is not in the cache", help=help
                )
    wanted = [p for d in pins.used(ws, [stage]).values() if (p := pins.current(ws, d)) is not None]
    placing.put(ws, wanted, lambda text: listener.note(stage.id, text))
    env = ws.envs.get(action.env or "")
    prepared = environments.prepare(ws.root, env, ws.lock, lambda text: listener.note(stage.id, text))
    variables = childenv.variables(stage, env, prepared)
    variables |= credentials.variables(f"action `{action.name}`", action.auth, ws.identity)
    listener.started(stage.id, "named by the event")
    hidden, more = credentials.hide(stage, ws.identity)
    path = ws.state / "tmp" / f"{os.urandom(8).hex()}-act.log"
    log = Log(path, lambda lines: listener.output(stage.id, lines), hidden, more)
    text = commands.script([commands.render(c, step.values) for c in stage.commands])
    timeout = action.timeout
    if timeout is None and action.runner is not None:
        timeout = ws.runners[action.runner].timeout
    runner = ws.runners.get(action.runner or "")
    seen = [ws.root, *credentials.folders(action.auth, ws.identity)]
    container = environments.container(env, ws.lock, runner, seen)
    command = Command(text, ws.root / (action.dir or ""), variables, timeout, container=container)
    end = ws.runner.run(command, log, threading.Event())
    kept = log.close()
    if kept is not None:
        # Nothing names the log of an action: who started it has seen it.
        ws.fs.remove(kept)
    if end.timed_out:
        raise Failure(f"action `{action.name}` ran longer than its timeout of {timeout} s, and was ended")
    if end.code:
        raise Failure(f"action `{action.name}` ended with exit code {end.code}")


def _as_stage(action: Action) -> Stage:
    """What an action has in common with a stage; no output, so there is nothing to keep."""
    return Stage(
        action.name,
        action.name,
        action.place,
        inputs=action.inputs,
        params=action.params,
        env=action.env,
        runner=action.runner,
        timeout=action.timeout,
        secrets=action.secrets,
        dir=action.dir,
        commands=action.commands,
        auth=action.auth,
    )
