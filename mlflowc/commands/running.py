"""Running the stages and deciding the gates, for `mlpipec run`: imported only when there may be work."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflowc import project, terminal
from mlflowc.commands import feeding, sharing
from mlflowc.commands.courier import Courier
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass
from mlflowc.ir.model import Data, Pipeline, Rows
from mlflowc.runtime import execute, laststate, progress, targets
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.events import Listener, Outcome, RunResult, StageResult
from mlflowc.runtime.gates import GateResult, check, kinds_of
from mlflowc.runtime.plan import Action, Plan
from mlflowc.runtime.sweeping import foresee, show
from mlflowc.runtime.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from mlflowc.runtime.sandbox.guard import Guard

# So many stages are named in a line.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says; see `mlpipec run --help`."""

    names: tuple[str, ...] = ()
    jobs: int | None = None
    settings: dict[str, str] | None = None
    event: str | None = None
    force: bool = False
    keep_going: bool = False
    dry: bool = False
    as_json: bool = False
    file: str | None = None
    gpus: int | None = None
    sandbox: str = "off"
    fix: bool = False
    remote: str | None = None
    locked: bool = False
    junit: Path | None = None


def bring_up_to_date(asked: Asked) -> int:
    """Plans, runs, decides gates and tells; returns the exit code. Raises `Failure`."""
    loaded = project.load(asked.file, overrides=asked.settings or {})
    pipeline, names = _under_event(loaded.pipeline, asked)
    ws = open_workspace(loaded.root, pipeline)
    link = sharing.attach(ws, asked.remote)
    shared: list[str] = []
    try:
        guard = _guard(ws, asked)
        if not asked.dry:
            feeding.attach(ws, locked="--locked was given" if asked.locked else None)
            _refresh(ws, asked)
        plan = sharing.plan(ws, names, force=asked.force)
        if asked.dry:
            _show_plan(foresee.told(ws, plan), asked.as_json)
            ws.index.flush()
            return 0
        _demand(ws, plan)
        options = execute.Options(asked.jobs, asked.keep_going, guard, asked.gpus)
        courier = Courier(link, ws, _listener(ws, plan, asked))
        result = execute.run(ws, plan, options, courier)
        git = laststate.git_looks(ws.root) if ws.pipeline.gates else None
        gates = _gates(ws, plan) if result.ok else []
        undecided = _undecided(ws, plan, result)
        if result.ok and len(plan.steps) == len(targets.plain(ws.pipeline)) and not asked.force:
            _keep_state(ws, plan, asked, gates, git)
        shared = courier.finish(result)
    finally:
        ws.close()
        if link is not None:
            link.close()
    sharing.tell_unlike(r.unlike for r in result.stages)
    if asked.junit is not None:
        from mlflowc.runtime import junit  # only for those who ask

        junit.write(asked.junit, pipeline.name, [*junit.of_run(pipeline, result), *junit.of_gates(gates)])
    if asked.as_json:
        shown = _as_json(plan, result, gates)
        if undecided:
            shown["undecided"] = undecided
        if ws.pipeline.sweeps:
            shown["sweeps"] = [show.as_json(t) for t in show.told(ws, result, names)]
        if asked.sandbox == "audit":
            shown["undeclared"] = _audit(ws, result, asked)
        print(json.dumps(shown, indent=2))
    else:
        for trials in show.told(ws, result, names):
            progress.write(sys.stdout, "".join(f"{line}\n" for line in show.text(trials, terminal.style)))
        _show(ws, result, gates, undecided)
        for name in plan.wanted.actions:
            print(f"action {name} was not run: the job of an event does that, `mlpipec exec JOB --on EVENT`")
        if result.ok:
            for name in plan.wanted.reports:
                print(f"`mlpipec report {name}` shows the report")
        for line in shared:
            print(line)
        if asked.sandbox == "audit":
            _audit(ws, result, asked)
    if result.interrupted:
        raise Failure("interrupted; earlier outputs are as they were", code=130)
    return 0 if result.ok and all(g.passed for g in gates) else 1


def _keep_state(
    ws: Workspace, plan: Plan, asked: Asked, gates: list[GateResult], git: tuple[object, ...] | None
) -> None:
    """Keeps what the next run says when nothing changes: that nothing is to be done, and the gates."""
    if asked.event is not None or asked.names:
        return
    kinds = {k for g in ws.pipeline.gates for r in g.requirements for k in kinds_of(r.expr)}
    based = Snapshot in kinds
    if Data in kinds:
        return
    # Where a baseline or a table was not to be had, that may have reasons which cannot be watched.
    if (based and git is None) or (kinds & {Snapshot, Rows} and any(r.note for g in gates for r in g.rows)):
        return
    # Before the state is described, the index has to know what was found out.
    ws.index.flush()
    found = project.fingerprint(asked.file, overrides=asked.settings or {})
    if found is not None:
        also = laststate.Also(git=git if based else None)
        laststate.save(ws, plan.planner, found[1], _said(plan, gates), also=also)


def _said(plan: Plan, gates: list[GateResult]) -> laststate.Said:
    last = laststate.nothing_to_do(len(plan.steps))
    failed = _not_passed(gates)
    if not gates:
        return laststate.Said(f"{last}\n", terminal.paint(last, "bold") + "\n")
    # Tables of gates are only for those who have gates.
    from mlflowc.runtime.gate_table import render

    width = terminal.width()
    plain = "".join(render(g, width) for g in gates)
    coloured = "".join(render(g, width, colour=terminal.paint) for g in gates)
    return laststate.Said(
        f"{plain}{last}\n", f"{coloured}{terminal.paint(last, 'bold')}\n", failed, width, 1 if failed else 0
    )


def _refresh(ws: Workspace, asked: Asked) -> None:
    """What the event does first: it takes in fresh data."""
    event = targets.event(ws.pipeline, asked.event) if asked.event else None
    if event is not None and event.refresh:
        for updated in feeding.fetcher(ws).update(event.refresh):
            feeding.tell(feeding.said(updated))


def _under_event(pipeline: Pipeline, asked: Asked) -> tuple[Pipeline, tuple[str, ...]]:
    if asked.event is None:
        return pipeline, asked.names
    event = targets.event(pipeline, asked.event)
    return targets.under_event(pipeline, event, keep=asked.settings or {}), asked.names or tuple(event.run)


def _guard(ws: Workspace, asked: Asked) -> Guard | None:
    if asked.sandbox == "off" and not asked.fix:
        return None
    from mlflowc.commands import sandboxing  # most runs have none

    return sandboxing.guard(ws, asked.sandbox, fix=asked.fix)


def _audit(ws: Workspace, result: RunResult, asked: Asked) -> list[dict[str, Any]]:
    from mlflowc.commands import sandboxing  # most runs have none

    fix = sandboxing.objecting(asked.file, asked.settings or {}) if asked.fix else None
    return sandboxing.as_json(sandboxing.report(ws.root, ws.pipeline, result, fix))


def _listener(ws: Workspace, plan: Plan, asked: Asked) -> Listener:
    if asked.as_json:
        return progress.Lines(sys.stderr)
    if not plan.idle and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        # Only for a person who watches.
        from mlflowc.runtime.live import LiveLines

        return LiveLines(sys.stdout, ws.index.lasted(), asked.jobs or os.cpu_count() or 1)
    return progress.Lines(sys.stdout)


def _gates(ws: Workspace, plan: Plan) -> list[GateResult]:
    wanted = set(plan.wanted.gates)
    return [check(ws, g) for g in ws.pipeline.gates if g.name in wanted]


def _undecided(ws: Workspace, plan: Plan, result: RunResult) -> dict[str, str]:
    """The gates that were asked for and could not be decided, with why."""
    if result.ok:
        return {}
    wanted = set(plan.wanted.gates)
    return {g.name: _lacking(result, g.stages) for g in ws.pipeline.gates if g.name in wanted}


def _lacking(result: RunResult, stages: Sequence[str]) -> str:
    """Of these stages those without a result, in words."""
    of_these = [r for r in result.stages if r.stage in stages and not r.outcome.good]
    failed = [r.stage for r in of_these if r.outcome is Outcome.FAILED]
    lacking = failed or [r.stage for r in of_these]
    if not lacking:
        return "the run was interrupted" if result.interrupted else "another stage failed"
    names = ", ".join(lacking[:_NAMED]) + (f" and {len(lacking) - _NAMED} more" if lacking[_NAMED:] else "")
    return f"{names} {'failed' if failed else 'did not run'}"


def _show(ws: Workspace, result: RunResult, gates: list[GateResult], undecided: dict[str, str]) -> None:
    def left(r: StageResult) -> str:
        return str(r.left.relative_to(ws.root)) if r.left else ""

    _show_gates(gates)
    for gate, why in undecided.items():
        progress.write(sys.stdout, f"gate {gate}: not decided ({why})\n")
    for line in progress.summary(result):
        progress.write(sys.stdout, terminal.style(line, "bold") + "\n")
    for message, help in progress.failures(result, left):
        terminal.error(message, help)
    _gate_failures(gates)


def _show_gates(gates: list[GateResult]) -> None:
    if gates:
        # Tables of gates are only for those who have gates.
        from mlflowc.runtime.gate_table import render

        for gate in gates:
            progress.write(sys.stdout, render(gate, terminal.width(), colour=terminal.style))


def _gate_failures(gates: list[GateResult]) -> int:
    failed = _not_passed(gates)
    if failed:
        terminal.error(failed)
    return 1 if failed else 0


def _not_passed(gates: list[GateResult]) -> str:
    failed = [g.name for g in gates if not g.passed]
    return f"gate{'s' if len(failed) > 1 else ''} not passed: {', '.join(failed)}" if failed else ""


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"stages": plan.as_json()}, indent=2))
        return
    lines = progress.plan_lines(plan)
    for word, stage, reason in lines:
        print(f"would {word} {terminal.style(stage, 'bold')}: {reason}")
    same = len(plan.steps) - len(lines)
    if not lines:
        print(f"nothing to do: {progress.count(same, 'stage')} up to date")
    elif same:
        print(f"{progress.count(same, 'stage')} up to date")


def _demand(ws: Workspace, plan: Plan) -> None:
    """Raises `Failure` for what a sweep would miss only when the stages before it are done."""
    guided = {s.name for s in ws.pipeline.sweeps if s.search == "tpe"}
    if any(s.stage.id in guided and s.action in (Action.RUN, Action.WAIT) for s in plan.steps):
        from mlflowc.runtime.sweeping import tpe  # only for such sweeps

        tpe.demand()


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
                **({"unlike": r.unlike.as_json()} if r.unlike else {}),
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
                        "baseline": r.baseline,
                        "difference": r.difference,
                        "detail": r.detail,
                        "note": r.note,
                    }
                    for r in g.rows
                ],
            }
            for g in gates
        ],
    }
