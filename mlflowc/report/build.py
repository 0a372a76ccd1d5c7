"""Makes a report's document from the pipeline, the lock file, the store and the baselines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlflowc.ir import direction
from mlflowc.ir import model as ir
from mlflowc.report import dataitem, figures, folders, graphitem, stagerows
from mlflowc.report.facts import Facts, file_of, title_of
from mlflowc.report.model import (
    Baseline,
    Data,
    Document,
    Gates,
    Image,
    Inserted,
    MetricRow,
    Metrics,
    ParamRow,
    Params,
    Plot,
    Section,
    StageRow,
    Stages,
    Text,
)
from mlflowc.report.stagerows import states
from mlflowc.report.words import literal
from mlflowc.runtime import baseline, commits, measured, metrics, tables
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.gate_table import number
from mlflowc.runtime.gates import GateResult

if TYPE_CHECKING:
    from mlflowc.runtime.workspace import Workspace

__all__ = ["build", "states"]

_UNITS = {"duration": "s", "size": "B"}


def build(
    ws: Workspace,
    report: ir.Report,
    vs: str | None = None,
    *,
    gates: Sequence[GateResult] = (),
    states: Mapping[str, StageRow] | None = None,
) -> Document:
    """The document of `report` on what the lock file holds now; numbers are those of content that is here.

    `vs` takes the place of every revision that the report names, and of none. `gates` are results to show on
    top. `states` says what the run that reports did; other stages are `current`, `changed` or `missing`.
    """
    before = functools.cache(lambda revision: baseline.at(ws.root, revision, tip=vs is not None))
    compared = next((vs or item.vs for item in report.items if item.kind == "stages"), None)
    snapshot = before(compared) if compared is not None else None
    rows = stagerows.rows(ws, report.stages, states or {}, snapshot if snapshot and snapshot.found else None)
    facts = Facts(
        ws,
        Snapshot(stages={**ws.lock.stages(), **measured.entries(ws, report.stages)}),
        before,
        rows,
        sum(item.kind == "metrics" for item in report.items) > 1,
    )
    sections: list[Section] = [Gates(tuple(gates))] if gates else []
    for item in report.items:
        sections += _SECTIONS[item.kind](facts, item, vs or item.vs)
    missing = tuple(r.stage for r in rows if r.state == "missing")
    changed = tuple(r.stage for r in rows if r.state == "changed")
    return Document(
        pipeline=ws.pipeline.name,
        name=report.name,
        sections=tuple(sections),
        commit=commits.checked_out(ws.root),
        edited=baseline.edited(ws.root, [o.path for s in ws.pipeline.stages for o in s.outputs]),
        missing=missing,
        changed=changed,
        help=_command((*missing, *changed), ws.pipeline),
        notes=_notes(sections),
    )


def _notes(sections: Sequence[Section]) -> tuple[str, ...]:
    bases = (s.baseline for s in sections if isinstance(s, Metrics | Params | Plot | Image | Data | Stages))
    return tuple(dict.fromkeys(b.note for b in bases if b is not None and b.note))


def _command(stages: Sequence[str], pipeline: ir.Pipeline) -> str:
    """The command that runs what the report lacks: by declared names, all instances of an `each` at once."""
    names = {s.id: s.name for s in pipeline.stages}
    return "mlpipec run " + " ".join(dict.fromkeys(names.get(s, s) for s in stages)) if stages else ""


def _metrics(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    before, base = facts.compared(vs)
    rows: list[MetricRow] = []
    notes: list[str] = []
    for ref in item.refs:
        declared = facts.outputs.get((ref.stage, ref.output))
        if declared is not None and declared.type.kind == "dir":
            rows += _of_folder(facts, item, ref, before, base, notes)
            continue
        columns = {c.name: c for c in declared.type.columns} if declared else {}
        names = list(columns)
        for snapshot in (facts.now, before):
            entry = snapshot.stages.get(ref.stage) if snapshot else None
            names += sorted(n for n in (entry.metrics.get(ref.output, {}) if entry else {}) if n not in names)
        for name in names:
            now = facts.now.metric(ref.stage, ref.output, name)
            old = before.metric(ref.stage, ref.output, name) if before else None
            lower = direction.lower_is_better(columns[name]) if name in columns else direction.by_name(name)
            unit = _UNITS.get(columns[name].type.name, "") if name in columns else ""
            rows.append(MetricRow(ref.stage, ref.output, name, now, old, lower, unit))
    title = str(dict(item.options).get("title") or (title_of(item.refs) if facts.several_metrics else ""))
    return [Metrics(tuple(rows), base, title, tuple(dict.fromkeys(notes)))]


def _of_folder(
    facts: Facts,
    item: ir.ReportItem,
    ref: ir.StageOutput,
    before: Snapshot | None,
    base: Baseline | None,
    notes: list[str],
) -> list[MetricRow]:
    """The numbers of the metrics files in a folder, as DVCLive writes it."""
    pattern = dict(item.options).get("path")
    values: list[dict[str, float]] = [{}, {}]
    for n, of in enumerate((facts.now, before)):
        if of is None:
            continue
        files = facts.folder(of, ref, notes, base.revision if n and base else "")
        paths = folders.metrics(list(files), str(pattern) if pattern is not None else None)
        for path in paths:
            prefix = f"{folders.title(path)}: " if len(paths) > 1 else ""
            try:
                numbers = metrics.read(files[path], PurePosixPath(path).suffix.lower())
            except metrics.UnreadableError as e:
                notes.append(f"`{path}`: {e}")
                continue
            values[n] |= {prefix + name: float(v) for name, v in numbers.items()}
        if not paths and files and not n:
            notes.append(f"there is no file of metrics in {ref.stage}.{ref.output}")
    names = [*values[0], *(n for n in values[1] if n not in values[0])]
    return [
        MetricRow(ref.stage, ref.output, n, values[0].get(n), values[1].get(n), direction.by_name(n))
        for n in names
    ]


def _params(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    used = {name for s in facts.pipeline.stages for name in s.params}
    now = {p.name: _plain(p.value) for p in facts.pipeline.params if p.name in used}
    before, base = facts.compared(vs)
    if before is None:
        return [Params(tuple(ParamRow(n, v, known=False) for n, v in sorted(now.items())), 0, base)]
    old: dict[str, ir.Value] = {}
    for entry in before.stages.values():
        old |= {n: _plain(v) for n, v in entry.params.items()}
    rows = []
    for name in sorted(now.keys() | old.keys()):
        if name in now and name in old and now[name] == old[name]:
            continue
        rows.append(ParamRow(name, now.get(name), old.get(name), name in old, name not in now))
    return [Params(tuple(rows), len(now.keys() | old.keys()) - len(rows), base)]


def _plain(value: object) -> ir.Value:
    """A value in which lists are tuples, as in the IR: the lock file has them as lists."""
    if isinstance(value, list | tuple):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    assert value is None or isinstance(value, int | float | str | bool)
    return value


def _text(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    notes: list[str] = []
    parts = tuple(p if isinstance(p, str) else Inserted(_slot(facts, p, notes)) for p in item.template)
    return [Text(parts, tuple(notes))]


def _slot(facts: Facts, slot: ir.Slot, notes: list[str]) -> str:
    if slot.kind == "param":
        found = [p.value for p in facts.pipeline.params if p.name == slot.name]
        return literal(found[0]) if found else "?"
    stage = max(
        (s.id for s in facts.pipeline.stages if slot.name.startswith(s.id + ".")), key=len, default=""
    )
    rest = slot.name[len(stage) + 1 :]
    if slot.kind == "metric":
        # The outputs of a sweep have names of two parts.
        names = (o.name for s in facts.pipeline.stages if s.id == stage for o in s.outputs)
        name = max((n for n in names if rest.startswith(n + ".")), key=len, default="")
        field = rest[len(name) + 1 :]
        value = facts.now.metric(stage, name, field)
        if value is None:
            notes.append(f"{slot.name} has no value yet")
            return "?"
        return number(value)
    if slot.kind == "rows":
        path = file_of(facts, facts.now, ir.StageOutput(stage, rest), notes, "")
        if path is None:
            return "?"
        try:
            return f"{tables.count(path, facts.outputs[stage, rest].type.kind):,}"
        except tables.TableError as e:
            notes.append(str(e))
            return "?"
    output = facts.outputs.get((stage, rest))
    return output.path if output else slot.name


def _stages(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    return [Stages(facts.rows, facts.compared(vs)[1])]


def _data(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    return [dataitem.section(facts.ws, facts, vs)]


def _graph(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    return [graphitem.section(facts.pipeline)]


_SECTIONS: dict[str, Callable[[Facts, ir.ReportItem, str | None], list[Section]]] = {
    "metrics": _metrics,
    "params": _params,
    "plot": figures.plot,
    "image": figures.image,
    "notebook": figures.notebook_of,
    "text": _text,
    "stages": _stages,
    "data": _data,
    "graph": _graph,
}
