"""What a sweep leaves: copies of what its best trial wrote, that trial's parameters, the table of all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlflowc.errors import Failure
from mlflowc.frozen import replace
from mlflowc.ir import sweeps
from mlflowc.ir.model import Param, Stage, Sweep, Value
from mlflowc.runtime.keys import canonical
from mlflowc.runtime.sweeping.driver import Done, Driver, nothing_good
from mlflowc.runtime.workspace import Workspace


def has_content(ws: Workspace, done: Done) -> bool:
    """Whether what a trial wrote is to be had."""
    if all(ws.store.has_output(o) for o in done.outputs):
        return True
    return ws.remote is not None and ws.remote.fetch(done.outputs)


def write(ws: Workspace, stage: Stage, driver: Driver) -> tuple[float, list[str]]:
    """Writes the outputs of `stage`, which carries the sweep out; gives the seconds of all its trials, and
    lines about them.

    Raises `Failure` where no trial went well, `OSError`.
    """
    best = driver.best()
    if best is None:
        raise nothing_good(driver)
    made = {f"{sweeps.BEST}.{o.name}": o for o in best.outputs}
    for output in stage.outputs:
        target = ws.root / output.path.rstrip("/")
        ws.fs.make_folder(target.parent)
        if output.name == sweeps.TRIALS:
            ws.fs.write(target, table(driver.sweep, stage, ws, driver.done).encode())
        elif output.name == sweeps.PARAMS:
            ws.fs.write(target, (json.dumps(_nested(best.trial.point), indent=2) + "\n").encode())
        elif not ws.store.restore(replace(made[output.name], path=output.path.rstrip("/")), target):
            raise Failure(
                f"the cache has lost `{made[output.name].path}` of trial {best.trial.number}",
                help="run the sweep again",
            )
    return sum(d.seconds or 0.0 for d in driver.done), [_line(driver, d) for d in driver.done]


def _line(driver: Driver, done: Done) -> str:
    values = ", ".join(f"{name} = {_cell(value)}" for name, value in done.trial.point.items())
    if not done.good:
        return f"trial {done.trial.number}: {values}: {done.message}"
    known = " (known)" if done.cached else ""
    return f"trial {done.trial.number}: {values}: {driver.sweep.field} {driver.value(done)}{known}"


def table(sweep: Sweep, stage: Stage, ws: Workspace, done: Sequence[Done]) -> str:
    """The table of trials as CSV, in the order of their numbers."""
    base, params = ws.stage(sweep.stage), {p.name: p for p in ws.pipeline.params}
    titles = _titles(sweep, base, params, done)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(titles.values())
    for one in sorted(done, key=lambda d: d.trial.number):
        known: dict[str, Any] = {
            "trial": one.trial.number,
            "state": sweeps.STATES[0 if one.good else 1],
            "seconds": None if one.seconds is None else round(one.seconds, 3),
            **one.trial.point,
            **{f"{output}.{f}": v for output, fields in one.metrics.items() for f, v in fields.items()},
        }
        writer.writerow([_cell(known.get(name)) for name in titles])
    return out.getvalue()


def _titles(sweep: Sweep, base: Stage, params: Mapping[str, Param], done: Sequence[Done]) -> dict[str, str]:
    """The title of each column by what it holds: what is declared, then what else was measured."""
    varied = [(v.param, params[v.param].type) for v in sweep.vary]
    known = {n: c.name for n, c in sweeps.columns(varied, [(o.name, o.type) for o in base.outputs]).items()}
    found = {f"{output}.{f}" for d in done for output, fields in d.metrics.items() for f in fields}
    more = sorted(found - known.keys())
    return known | sweeps.titles(more, known.values())


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return canonical(value)


def _nested(point: Mapping[str, Value]) -> dict[str, Any]:
    """As a parameter file has them: `train.lr` is `lr` in `train`."""
    found: dict[str, Any] = {}
    for name, value in point.items():
        *sections, last = name.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return found
