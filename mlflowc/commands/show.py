"""`mlpipec show STAGE`: all that there is to know of a stage."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from typing import Any

import click

from mlflowc import project, terminal
from mlflowc.commands import complete
from mlflowc.commands.log import cut
from mlflowc.commands.options import file_option, overrides, set_option
from mlflowc.commands.why import stages_named
from mlflowc.ir.model import AssetRef, DataRef, GlobRef, InputSource, PathRef, Stage, StageOutput
from mlflowc.project import Project
from mlflowc.render.columns import plain
from mlflowc.runtime import progress
from mlflowc.runtime.explain import shown_command
from mlflowc.runtime.keys import canonical
from mlflowc.runtime.plan import Step, make_plan
from mlflowc.runtime.publish import failed_folder
from mlflowc.runtime.records import Record
from mlflowc.runtime.sweeping import show
from mlflowc.runtime.workspace import Workspace, open_workspace

_HASH = re.compile(r"\b[0-9a-f]{64}\b")


@click.command("show")
@click.argument("stage", required=False, shell_complete=complete.stages)
@click.option("--log", is_flag=True, help="Print the log of the last run, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@set_option
@file_option
def command(stage: str | None, log: bool, as_json: bool, settings: tuple[str, ...], file: str | None) -> int:
    """Show a stage: its parts, the components of its key, outputs, metrics, last runs and log.

    Without STAGE, the stages are listed, each with its state.
    """
    loaded = project.load(file, overrides=overrides(settings))
    if stage is None:
        if log:
            raise click.UsageError("--log is that of a stage: name it")
        return _list(loaded, as_json)
    stages = stages_named(loaded.pipeline, stage)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        steps = {s.stage.id: s for s in make_plan(ws, stages).steps}
        shown = [_facts(ws, steps[s]) for s in stages]
        if log:
            return _print_logs(ws, [steps[s] for s in stages])
    finally:
        ws.close()
    if as_json:
        for facts in shown:
            if facts["sweep"]:
                del facts["sweep"]["text"]
        print(json.dumps({"stages": shown}, indent=2, ensure_ascii=False))
        return 0
    for n, facts in enumerate(shown):
        print("\n" * bool(n) + _text(facts), end="")
    return 0


def _list(loaded: Project, as_json: bool) -> int:
    """All stages: where they are declared and what a run would do."""
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        steps = make_plan(ws, [s.id for s in loaded.pipeline.stages]).steps
    finally:
        ws.close()
    if as_json:
        listed = [{"stage": s.stage.id, "state": s.action.value, "reason": s.reason} for s in steps]
        print(json.dumps({"stages": listed}, indent=2, ensure_ascii=False))
        return 0
    wide = max((len(s.stage.id) for s in steps), default=0)
    for s in steps:
        place = f"{s.stage.place.file}:{s.stage.place.line}"
        print(f"{terminal.style(s.stage.id.ljust(wide), 'bold')}  {place}  {s.action.value}")
    return 0


def _facts(ws: Workspace, step: Step) -> dict[str, Any]:
    stage = step.stage
    record = _record(ws, step)
    runs = ws.index.history(stage.id, 10)
    failed = failed_folder(ws, stage)
    return {
        "stage": stage.id,
        "declared": f"{stage.place.file}:{stage.place.line}",
        "state": step.action.value,
        "reason": step.reason,
        "key": step.key or None,
        "inputs": {i.name: [_source(ws, s) for s in i.sources] for i in stage.inputs},
        "params": ws.values(stage),
        "outputs": {
            o.name: {
                "path": o.path,
                "type": o.type.name or o.type.kind,
                **({"hash": r.hash, "size": r.size} if (r := _output(step, record, o.name)) else {}),
            }
            for o in stage.outputs
        },
        "env": stage.env,
        "runner": stage.runner,
        "timeout": stage.timeout,
        "retry": stage.retry,
        "commands": shown_command(step.components["command"])
        if step.components
        else _commands(ws.stage(ws.sweeps[stage.sweep].stage) if stage.sweep else stage),
        "sweep": _sweep(ws, step, record),
        "components": dict(sorted(step.components.items())),
        "metrics": step.metrics or (record.metrics if record else {}),
        "record": {
            "key": record.key,
            "started": record.started,
            "seconds": record.seconds,
            "host": record.host,
            "commit": record.commit,
            "log": record.log,
        }
        if record
        else None,
        "runs": [
            {
                "outcome": r.outcome,
                "finished": r.finished,
                "seconds": r.seconds,
                "key": r.key,
                "note": r.note or None,
            }
            for r in runs
        ],
        "failed": str(failed.relative_to(ws.root)) if failed.is_dir() else None,
    }


def _sweep(ws: Workspace, step: Step, record: Record | None) -> dict[str, Any] | None:
    """The trials of a sweep's last result."""
    if step.stage.sweep is None:
        return None
    trials = show.read(ws, step.stage, step.outputs or (record.outputs if record else ()))
    if trials is None:
        return None
    return {**show.as_json(trials), "text": show.text(trials, terminal.style)}


def _record(ws: Workspace, step: Step) -> Record | None:
    """The record of the current key; else of the last run that succeeded."""
    candidates = [step.key] if step.key else []
    locked = ws.lock.stage(step.stage.id)
    candidates += [locked.key] if locked else []
    candidates += [r.key for r in ws.index.history(step.stage.id) if r.outcome != "failed"]
    return next((r for k in candidates if (r := ws.store.record(k))), None)


def _output(step: Step, record: Record | None, name: str) -> Any:
    now = next((o for o in step.outputs if o.name == name), None)
    return now or (record.output(name) if record else None)


def _source(ws: Workspace, source: InputSource) -> str:
    match source:
        case StageOutput(stage, output):
            return f"{stage}.{output}"
        case DataRef(data):
            return f"{data} ({ws.data.get(data, '?')})"
        case PathRef(path):
            return path
        case GlobRef(pattern):
            return f"glob({pattern})"
        case AssetRef(name):
            return f"std/{name}"


def _commands(stage: Stage) -> str:
    return shown_command(
        canonical(
            [*([p if isinstance(p, str) else [p.kind, p.name] for p in c] for c in stage.commands), stage.dir]
        )
    )


def _print_logs(ws: Workspace, steps: list[Step]) -> int:
    for step in steps:
        failed = failed_folder(ws, step.stage) / "log.txt"
        record = _record(ws, step)
        runs = ws.index.history(step.stage.id, 1)
        if failed.is_file() and (record is None or (runs and runs[0].outcome == "failed")):
            sys.stdout.buffer.write(failed.read_bytes())
        elif record is not None and record.log and (stored := ws.store.file(record.log)) is not None:
            sys.stdout.buffer.write(stored.read_bytes())
        else:
            terminal.error(
                f"there is no log of `{step.stage.id}` here", "it has not run here, or wrote nothing"
            )
            return 1
    sys.stdout.flush()
    return 0


def _text(facts: dict[str, Any]) -> str:
    # Behind what `_section` writes before each line.
    room = max(40, terminal.width() - 4)
    lines = [f"{terminal.style(facts['stage'], 'bold')}  {terminal.style(facts['declared'], 'dim')}"]
    lines.append(f"  {facts['state']}" + (f": {facts['reason']}" if facts["reason"] else ""))
    lines += _section("inputs", [f"{n} = {', '.join(s)}" for n, s in facts["inputs"].items()])
    lines += _section("parameters", [f"{n} = {canonical(v)}" for n, v in facts["params"].items()])
    lines += _section("command", [facts["commands"]])
    lines += _section(
        "runs in", [f"{n} {facts[n]}" for n in ("env", "runner", "timeout", "retry") if facts[n]]
    )
    outputs = []
    for name, o in facts["outputs"].items():
        known = f"  {progress.size(o['size'])}  {o['hash'][:12]}" if "hash" in o else ""
        outputs.append(f"{name}: {o['type']} = {o['path']}{known}")
    lines += _section("outputs", outputs)
    lines += _section("trials", facts["sweep"]["text"] if facts["sweep"] else [], styled=True)
    metrics = [f"{o}.{f} = {v}" for o, fields in facts["metrics"].items() for f, v in fields.items()]
    lines += _section("metrics", metrics)
    components = [_component(n, t, room) for n, t in facts["components"].items()]
    lines += _section(f"key {facts['key'][:12] if facts['key'] else '(not known yet)'}", components or ["-"])
    record = facts["record"]
    if record:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["started"]))
        commit = f", at commit {record['commit'][:12]}" if record["commit"] else ""
        took = progress.duration(record["seconds"])
        took = f"its trials took {took}" if facts["sweep"] else took
        ran = f"{when} on {record['host']}, {took}{commit}, key {record['key'][:12]}"
        lines += _section("result from", [ran])
    runs = [
        f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(r['finished']))}  {r['outcome']:<8}  "
        f"{progress.duration(r['seconds'])}  {r['key'][:12]}" + (f"  {plain(r['note'])}" if r["note"] else "")
        for r in facts["runs"]
    ]
    lines += _section("last runs", runs)
    if facts["failed"]:
        lines += _section("failed run left", [facts["failed"]])
    if record and record["log"]:
        lines += _section("log", [f"mlpipec show {shlex.quote(facts['stage'])} --log"])
    return "\n".join(lines) + "\n"


def _section(title: str, entries: list[str], *, styled: bool = False) -> list[str]:
    """Names of parameters, metrics and files may hold anything: only what we styled goes out as it is."""
    shown = entries if styled else map(terminal.visible, entries)
    return [terminal.style(f"  {title}", "cyan"), *(f"    {e}" for e in shown)] if entries else []


def _component(name: str, text: str, columns: int) -> str:
    """In one line: hashes by their first digits, as everywhere, and no more than there is room for."""
    text = _HASH.sub(lambda found: found[0][:12], text)
    return cut(terminal.visible(f"{name}  {text}"), columns)
