"""A finished sweep for a reader: its best trials, and the parameters of the best."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from typing import Any

from mlflowc.frozen import dataclass
from mlflowc.ir import sweeps
from mlflowc.ir.model import Stage, Sweep
from mlflowc.runtime import baseline
from mlflowc.runtime.events import Outcome, RunResult
from mlflowc.runtime.gate_table import number
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.workspace import Workspace

_MOST = 10


@dataclass(frozen=True, slots=True)
class Trials:
    """The table of a sweep: `titles` of its columns, `rows` in the order of the trials.

    `goal` is the column that the goal is about, `params` those of what is varied, by parameter.
    """

    sweep: Sweep
    titles: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    goal: str
    params: dict[str, str]

    @property
    def ranked(self) -> list[dict[str, str]]:
        """The trials that have a value, the best first."""
        sign = -1 if self.sweep.goal == "maximize" else 1
        valued = [r for r in self.rows if r["state"] == sweeps.STATES[0] and _finite(r[self.goal])]
        return sorted(valued, key=lambda r: (sign * float(r[self.goal]), int(r["trial"])))

    @property
    def failed(self) -> int:
        """How many failed."""
        return sum(r["state"] != sweeps.STATES[0] for r in self.rows)


def read(ws: Workspace, stage: Stage, outputs: tuple[OutputRecord, ...]) -> Trials | None:
    """The trials of the sweep that `stage` carries out, from its result; None where that is not here."""
    found = next((o for o in outputs if o.name == sweeps.TRIALS), None)
    path = baseline.locate(ws.root, ws.store, found) if found is not None else None
    if path is None or stage.sweep is None:
        return None
    sweep = ws.sweeps[stage.sweep]
    base, params = ws.stage(sweep.stage), {p.name: p for p in ws.pipeline.params}
    varied = [(v.param, params[v.param].type) for v in sweep.vary]
    columns = sweeps.columns(varied, [(o.name, o.type) for o in base.outputs])
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = tuple(reader)
        titles = tuple(reader.fieldnames or ())
    goal = columns[f"{sweep.output}.{sweep.field}"].name
    named = {v.param: columns[v.param].name for v in sweep.vary}
    if not {goal, "trial", "state", *named.values()} <= set(titles):
        return None
    return Trials(sweep, titles, rows, goal, named)


def told(ws: Workspace, result: RunResult, names: Collection[str] = ()) -> list[Trials]:
    """The trials of sweeps that a run brought to an end or back, and of those among `names`."""
    found = [
        (ws.stage(r.stage), r.outputs)
        for r in result.stages
        if r.outcome.good and ws.stage(r.stage).sweep and (r.outcome is not Outcome.KEPT or r.stage in names)
    ]
    return [t for stage, outputs in found if (t := read(ws, stage, outputs)) is not None]


def text(trials: Trials, colour: Callable[..., str]) -> list[str]:
    """Lines: the best trials as a table, and the best in words."""
    ranked = trials.ranked
    titles = ["trial", *trials.params.values(), trials.goal]
    titles += [t for t in trials.titles if t not in (*titles, "state", "seconds")]
    if "seconds" in trials.titles:
        titles.append("seconds")
    cells = [titles, *([_shown(r.get(t, "")) for t in titles] for r in ranked[:_MOST])]
    widths = [max(len(row[n]) for row in cells) for n in range(len(titles))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines[0] = colour(lines[0], "bold")
    if len(ranked) > _MOST:
        more = f"… and {len(ranked) - _MOST} more in {sweeps.FOLDER}/{trials.sweep.name}/{sweeps.TRIALS}.csv"
        lines.append(colour(more, "dim"))
    if ranked:
        best = ranked[0]
        values = ", ".join(f"{name} = {best[title]}" for name, title in trials.params.items())
        failed = f", {trials.failed} failed" if trials.failed else ""
        lines.append(
            f"sweep {colour(trials.sweep.name, 'bold')}: trial {best['trial']} of {len(trials.rows)} is the "
            f"best{failed}: {trials.sweep.output}.{trials.sweep.field} {_shown(best[trials.goal])} "
            f"with {colour(values, 'bold')}"
        )
    return lines


def as_json(trials: Trials) -> dict[str, Any]:
    """For machines: everything in the table, numbers as numbers."""
    ranked = trials.ranked
    return {
        "sweep": trials.sweep.name,
        "goal": [trials.sweep.goal, f"{trials.sweep.output}.{trials.sweep.field}"],
        "best": int(ranked[0]["trial"]) if ranked else None,
        "trials": [{t: _value(t, r.get(t, "")) for t in trials.titles} for r in trials.rows],
    }


def _value(title: str, cell: str) -> Any:
    if cell == "":
        return None
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(cell, cell)


def _shown(cell: str) -> str:
    value = _value("", cell)
    return number(value, digits=6) if isinstance(value, float) else cell


def _finite(cell: str) -> bool:
    return bool(cell) and abs(float(cell)) < float("inf")
