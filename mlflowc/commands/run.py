"""`mlpipec run`: brings stages up to date, then decides the gates."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from mlflowc import project, terminal
from mlflowc.commands.options import file_option, overrides, set_option
from mlflowc.errors import Failure
from mlflowc.runtime import execute, progress, targets
from mlflowc.runtime.events import Listener, RunResult, StageResult
from mlflowc.runtime.gates import GateResult, check
from mlflowc.runtime.plan import Plan, make_plan
from mlflowc.runtime.workspace import Workspace, open_workspace


@click.command("run")
@click.argument("names", metavar="[TARGET]...", nargs=-1)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Run N stages at once (default: one a processor).",
)
@set_option
@click.option(
    "--on",
    "event",
    metavar="EVENT",
    help="With the targets and parameters of this event, as in --on pull-request.",
)
@click.option("--force", is_flag=True, help="Run the targets again, whatever is cached.")
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, run what does not depend on it.")
@click.option("-n", "--dry", is_flag=True, help="Only say what would be done.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the outcome as JSON; output of commands goes to stderr."
)
@file_option
def command(
    names: tuple[str, ...],
    jobs: int | None,
    settings: tuple[str, ...],
    event: str | None,
    force: bool,
    keep_going: bool,
    dry: bool,
    as_json: bool,
    file: str | None,
) -> int:
    """Run what is out of date, restore what is cached.

    TARGET is a stage (by name: all its instances; by id: one, as in 'train[de]'), a gate or a report. Without
    targets, all stages are brought up to date and all gates are decided.
    """
    loaded = project.load(file, overrides=overrides(settings))
    pipeline = loaded.pipeline
    if event is not None:
        chosen = targets.event(pipeline, event)
        pipeline = targets.under_event(pipeline, chosen, keep=overrides(settings))
        names = names or tuple(chosen.run)
    ws = open_workspace(loaded.root, pipeline)
    try:
        plan = make_plan(ws, names, force=force)
        if dry:
            _show_plan(plan, as_json)
            ws.index.flush()
            return 0
        result = execute.run(ws, plan, execute.Options(jobs, keep_going), _listener(plan, as_json))
        gates = _gates(ws, plan) if result.ok else []
    finally:
        ws.close()
    if as_json:
        print(json.dumps(_as_json(plan, result, gates), indent=2))
    else:
        _show(ws, result, gates)
    if result.interrupted:
        raise Failure("interrupted; earlier outputs are as they were", code=130)
    return 0 if result.ok and all(g.passed for g in gates) else 1


def _listener(plan: Plan, as_json: bool) -> Listener:
    if as_json:
        return progress.Lines(sys.stderr)
    if not plan.idle and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        # rich costs as much to import as a small run takes.
        from mlflowc.runtime.live import LiveLines

        return LiveLines(sys.stdout)
    return progress.Lines(sys.stdout)


def _gates(ws: Workspace, plan: Plan) -> list[GateResult]:
    wanted = set(plan.wanted.gates)
    return [check(ws, g) for g in ws.pipeline.gates if g.name in wanted]


def _show(ws: Workspace, result: RunResult, gates: list[GateResult]) -> None:
    def left(r: StageResult) -> str:
        return str(r.left.relative_to(ws.root)) if r.left else ""

    for gate in gates:
        # Tables of gates are only for those who have gates.
        from mlflowc.runtime.gate_table import render

        progress.write(sys.stdout, render(gate, terminal.width(), colour=terminal.style))
    for line in progress.summary(result):
        progress.write(sys.stdout, terminal.style(line, "bold") + "\n")
    for message, help in progress.failures(result, left):
        terminal.error(message, help)
    failed = [g.name for g in gates if not g.passed]
    if failed:
        terminal.error(f"gate{'s' if len(failed) > 1 else ''} not passed: {', '.join(failed)}")


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"stages": plan_as_json(plan)}, indent=2))
        return
    lines = progress.plan_lines(plan)
    for word, stage, reason in lines:
        print(f"would {word} {terminal.style(stage, 'bold')}: {reason}")
    same = len(plan.steps) - len(lines)
    if not lines:
        print(f"nothing to do: {progress.count(same, 'stage')} up to date")
    elif same:
        print(f"{progress.count(same, 'stage')} up to date")


def plan_as_json(plan: Plan) -> list[dict[str, Any]]:
    """The steps of a plan for `--json`."""
    return [
        {"stage": s.stage.id, "action": s.action.name.lower(), "reason": s.reason, "key": s.key or None}
        for s in plan.steps
    ]


def _as_json(plan: Plan, result: RunResult, gates: list[GateResult]) -> dict[str, Any]:
    reasons = {s.stage.id: s.reason for s in plan.steps}
    return {
        "ok": result.ok and all(g.passed for g in gates),
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "stages": [
            {
                "stage": r.stage,
                "outcome": r.outcome.name.lower(),
                "reason": reasons[r.stage],
                "key": r.key or None,
                "seconds": round(r.seconds, 3),
                "saved": round(r.saved, 3),
                "outputs": {o.name: {"path": o.path, "hash": o.hash, "size": o.size} for o in r.outputs},
                "metrics": r.metrics,
                **({"message": r.message, "help": r.help} if r.message else {}),
            }
            for r in result.stages
        ],
        "gates": [
            {
                "gate": g.name,
                "passed": g.passed,
                "requirements": [
                    {
                        "text": r.text,
                        "passed": r.passed,
                        "found": r.found,
                        "required": r.required,
                        "note": r.note,
                    }
                    for r in g.rows
                ],
            }
            for g in gates
        ],
    }
