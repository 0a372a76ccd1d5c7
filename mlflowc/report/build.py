"""Makes a report's document from the pipeline, the lock file, the store and the baselines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mlflowc.ir import model as ir
from mlflowc.report import plots
from mlflowc.report.model import (
    Baseline,
    Data,
    DataRow,
    Document,
    Gates,
    Image,
    Inserted,
    MetricRow,
    Metrics,
    ParamRow,
    Params,
    Picture,
    Plot,
    Section,
    StageRow,
    Stages,
    Text,
)
from mlflowc.report.points import Sheet
from mlflowc.report.words import literal
from mlflowc.runtime import baseline, tables, targets
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.events import Outcome, RunResult
from mlflowc.runtime.gate_table import number
from mlflowc.runtime.gates import GateResult
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.plan import Action, Planner
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.store import Store

if TYPE_CHECKING:
    from mlflowc.runtime.workspace import Workspace

_MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
_LARGEST_IMAGE = 10_000_000  # bytes; beyond that a page cannot be sent around


@dataclass(frozen=True)
class _Facts:
    """What the sections are made from."""

    root: Path
    store: Store
    pipeline: ir.Pipeline
    lock: LockFile
    now: Snapshot
    before: Callable[[str], Snapshot]
    rows: tuple[StageRow, ...]
    several_metrics: bool = False

    @functools.cached_property
    def outputs(self) -> dict[tuple[str, str], ir.Output]:
        return {(s.id, o.name): o for s in self.pipeline.stages for o in s.outputs}

    def compared(self, revision: str | None) -> tuple[Snapshot | None, Baseline | None]:
        """The snapshot of a revision and its description; both None where nothing is compared."""
        if revision is None:
            return None, None
        snapshot = self.before(revision)
        return (snapshot if snapshot.found else None), Baseline(
            revision, snapshot.commit, snapshot.note, snapshot.found
        )


def build(
    ws: Workspace,
    report: ir.Report,
    vs: str | None = None,
    *,
    gates: Sequence[GateResult] = (),
    states: Mapping[str, StageRow] | None = None,
) -> Document:
    """The document of `report` on what the lock file holds now.

    `vs` takes the place of every revision that the report names, and of none. `gates` are results to show on
    top. `states` says what the run that reports did; other stages are `current`, `changed` or `missing`.
    """
    rows = _stage_rows(ws, report.stages, states or {})
    facts = _Facts(
        ws.root,
        ws.store,
        ws.pipeline,
        ws.lock,
        Snapshot(stages=ws.lock.stages()),
        functools.cache(lambda revision: baseline.at(ws.root, revision, tip=vs is not None)),
        rows,
        sum(item.kind == "metrics" for item in report.items) > 1,
    )
    sections: list[Section] = [Gates(tuple(gates))] if gates else []
    sections += [_SECTIONS[item.kind](facts, item, vs or item.vs) for item in report.items]
    missing = tuple(r.stage for r in rows if r.state == "missing")
    changed = tuple(r.stage for r in rows if r.state == "changed")
    return Document(
        pipeline=ws.pipeline.name,
        name=report.name,
        sections=tuple(sections),
        commit=baseline.head(ws.root),
        edited=baseline.edited(ws.root, [o.path for s in ws.pipeline.stages for o in s.outputs]),
        missing=missing,
        changed=changed,
        help=_command((*missing, *changed), ws.pipeline),
        notes=_notes(sections),
    )


def _notes(sections: Sequence[Section]) -> tuple[str, ...]:
    bases = (s.baseline for s in sections if isinstance(s, Metrics | Params | Plot | Image))
    return tuple(dict.fromkeys(b.note for b in bases if b is not None and b.note))


def states(result: RunResult) -> dict[str, StageRow]:
    """What a run did, for `build`: good stages `ran` or were `cached`, with the time that the result took."""
    rows = {}
    for stage in result.stages:
        if stage.outcome.good:
            ran = stage.outcome is Outcome.RAN
            seconds = stage.seconds if ran else stage.saved or None
            rows[stage.stage] = StageRow(stage.stage, "ran" if ran else "cached", seconds)
    return rows


def _command(stages: Sequence[str], pipeline: ir.Pipeline) -> str:
    """The command that runs what the report lacks: by declared names, all instances of an `each` at once."""
    names = {s.id: s.name for s in pipeline.stages}
    return "mlpipec run " + " ".join(dict.fromkeys(names.get(s, s) for s in stages)) if stages else ""


def _metrics(facts: _Facts, item: ir.ReportItem, vs: str | None) -> Section:
    before, base = facts.compared(vs)
    rows: list[MetricRow] = []
    for ref in item.refs:
        declared = facts.outputs.get((ref.stage, ref.output))
        names = [c.name for c in declared.type.columns] if declared else []
        for snapshot in (facts.now, before):
            entry = snapshot.stages.get(ref.stage) if snapshot else None
            names += sorted(n for n in (entry.metrics.get(ref.output, {}) if entry else {}) if n not in names)
        for name in names:
            now = facts.now.metric(ref.stage, ref.output, name)
            old = before.metric(ref.stage, ref.output, name) if before else None
            rows.append(MetricRow(ref.stage, ref.output, name, now, old))
    return Metrics(tuple(rows), base, _title(item.refs) if facts.several_metrics else "")


def _params(facts: _Facts, item: ir.ReportItem, vs: str | None) -> Section:
    used = {name for s in facts.pipeline.stages for name in s.params}
    now = {p.name: _plain(p.value) for p in facts.pipeline.params if p.name in used}
    before, base = facts.compared(vs)
    if before is None:
        return Params(tuple(ParamRow(n, v, known=False) for n, v in sorted(now.items())), 0, base)
    old: dict[str, ir.Value] = {}
    for entry in before.stages.values():
        old |= {n: _plain(v) for n, v in entry.params.items()}
    rows = []
    for name in sorted(now.keys() | old.keys()):
        if name in now and name in old and now[name] == old[name]:
            continue
        rows.append(ParamRow(name, now.get(name), old.get(name), name in old, name not in now))
    return Params(tuple(rows), len(now.keys() | old.keys()) - len(rows), base)


def _plain(value: object) -> ir.Value:
    """A value in which lists are tuples, as in the IR: the lock file has them as lists."""
    if isinstance(value, list | tuple):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    assert value is None or isinstance(value, int | float | str | bool)
    return value


def _plot(facts: _Facts, item: ir.ReportItem, vs: str | None) -> Section:
    options = dict(item.options)
    before, base = facts.compared(vs)
    title = str(options.get("title") or _title(item.refs))
    notes: list[str] = []
    if item.refs and facts.outputs[item.refs[0].stage, item.refs[0].output].type.kind == "metrics":
        return _plot_of_metrics(facts, item, title, before, base)
    sheets: list[Sheet] = []
    old: list[Sheet] = []
    columns: tuple[ir.Column, ...] = ()
    for ref in item.refs:
        declared = facts.outputs[ref.stage, ref.output]
        columns = declared.type.columns
        series = _instance(ref.stage) if len(item.refs) > 1 else ""
        path = _file(facts, facts.now, ref, notes, "")
        if path is None:
            continue
        sheets.append(Sheet(path, declared.type.kind, series, label=declared.path))
        if before is None or base is None:
            continue
        then, now = before.output(ref.stage, ref.output), facts.now.output(ref.stage, ref.output)
        if then and now and then.hash == now.hash:
            notes.append(f"{ref.stage}.{ref.output} is the same at `{base.revision}`")
            continue
        earlier = _file(facts, before, ref, notes, base.revision)
        if earlier is not None:
            old.append(Sheet(earlier, declared.type.kind, series, True, declared.path))
    return plots.draw(title, columns, [*sheets, *old], options, baseline=base, notes=tuple(notes))


def _plot_of_metrics(
    facts: _Facts, item: ir.ReportItem, title: str, before: Snapshot | None, base: Baseline | None
) -> Section:
    """Bars of numbers; `y` picks fields, without it all are drawn."""
    asked = dict(item.options).get("y")
    wanted = asked if isinstance(asked, tuple) else (asked,) if asked else ()
    values = []
    for snapshot in (facts.now, *([before] if before else [])):
        for ref in item.refs:
            entry = snapshot.stages.get(ref.stage)
            found = entry.metrics.get(ref.output, {}) if entry else {}
            fields = {f: v for f, v in found.items() if not wanted or f in wanted}
            name = _instance(ref.stage) if len(item.refs) > 1 else ""
            values.append((name, snapshot is before, fields))
    return plots.metrics(title, values, baseline=base)


def _file(facts: _Facts, of: Snapshot, ref: ir.StageOutput, notes: list[str], revision: str) -> Path | None:
    """The file of an output in `of`; where there is none, a note says why."""
    at = f" at `{revision}`" if revision else ""
    output = of.output(ref.stage, ref.output)
    if output is None:
        notes.append(f"there is no {ref.stage}.{ref.output}{at}" if at else f"`{ref.stage}` has not run yet")
        return None
    if output.kind != "file":
        notes.append(f"{ref.stage}.{ref.output}{at} is a folder")
        return None
    path = baseline.locate(facts.root, facts.store, output)
    if path is None:
        notes.append(f"the content of {ref.stage}.{ref.output}{at} is not in the cache here")
    return path


def _image(facts: _Facts, item: ir.ReportItem, vs: str | None) -> Section:
    before, base = facts.compared(vs)
    title = str(dict(item.options).get("title") or _title(item.refs))
    notes: list[str] = []
    pictures: list[Picture] = []
    for ref in item.refs:
        caption = _instance(ref.stage) if len(item.refs) > 1 else ""
        pictures += _picture(facts, facts.now, ref, notes, "", " · ".join(p for p in (caption, "now") if p))
        if before is None or base is None:
            continue
        now, then = facts.now.output(ref.stage, ref.output), before.output(ref.stage, ref.output)
        if now and then and now.hash == then.hash:
            notes.append(f"{ref.stage}.{ref.output} is the same at `{base.revision}`")
        else:
            words = " · ".join(p for p in (caption, base.revision) if p)
            pictures += _picture(facts, before, ref, notes, base.revision, words)
    if len(pictures) == 1:
        only = pictures[0]
        pictures = [Picture(only.media, only.name, only.data)]
    return Image(title, tuple(pictures), tuple(notes), base)


def _picture(
    facts: _Facts, of: Snapshot, ref: ir.StageOutput, notes: list[str], revision: str, caption: str
) -> Iterable[Picture]:
    path = _file(facts, of, ref, notes, revision)
    output = of.output(ref.stage, ref.output)
    if path is None or output is None:
        return
    name = PurePosixPath(output.path)
    media = _MEDIA.get(name.suffix.lower())
    if media is None:
        notes.append(f"`{name.name}` is not an image that a page can show: " + " ".join(sorted(_MEDIA)))
    elif output.size > _LARGEST_IMAGE:
        notes.append(f"`{name.name}` is too large to be shown ({output.size / 1e6:.0f} MB)")
    else:
        yield Picture(media, name.name, path.read_bytes(), caption)


def _text(facts: _Facts, item: ir.ReportItem, vs: str | None) -> Section:
    notes: list[str] = []
    parts = tuple(p if isinstance(p, str) else Inserted(_slot(facts, p, notes)) for p in item.template)
    return Text(parts, tuple(notes))


def _slot(facts: _Facts, slot: ir.Slot, notes: list[str]) -> str:
    if slot.kind == "param":
        found = [p.value for p in facts.pipeline.params if p.name == slot.name]
        return literal(found[0]) if found else "?"
    stage = max(
        (s.id for s in facts.pipeline.stages if slot.name.startswith(s.id + ".")), key=len, default=""
    )
    rest = slot.name[len(stage) + 1 :]
    if slot.kind == "metric":
        name, _, field = rest.partition(".")
        value = facts.now.metric(stage, name, field)
        if value is None:
            notes.append(f"{slot.name} has no value yet")
            return "?"
        return number(value)
    if slot.kind == "rows":
        path = _file(facts, facts.now, ir.StageOutput(stage, rest), notes, "")
        if path is None:
            return "?"
        try:
            return f"{tables.count(path, facts.outputs[stage, rest].type.kind):,}"
        except tables.TableError as e:
            notes.append(str(e))
            return "?"
    output = facts.outputs.get((stage, rest))
    return output.path if output else slot.name


def _stages(facts: _Facts, item: ir.ReportItem, vs: str | None) -> Section:
    return Stages(facts.rows)


def _data(facts: _Facts, item: ir.ReportItem, vs: str | None) -> Section:
    rows = []
    for data in facts.pipeline.data:
        pin = facts.lock.get("data", data.name) or {}
        digest, size = pin.get("hash"), pin.get("size")
        args = dict(data.args)
        if size is None and data.source == "path":
            path = facts.root / str(args.get("path", ""))
            size = path.stat().st_size if path.is_file() else None
        words = ", ".join(f'"{v}"' if isinstance(v, str) else literal(v) for v in args.values())
        rows.append(
            DataRow(
                data.name,
                f"{data.source}({words})",
                digest if isinstance(digest, str) else None,
                size if isinstance(size, int) else None,
            )
        )
    return Data(tuple(rows))


_SECTIONS: dict[str, Callable[[_Facts, ir.ReportItem, str | None], Section]] = {
    "metrics": _metrics,
    "params": _params,
    "plot": _plot,
    "image": _image,
    "text": _text,
    "stages": _stages,
    "data": _data,
}


def _stage_rows(ws: Workspace, stages: Sequence[str], states: Mapping[str, StageRow]) -> tuple[StageRow, ...]:
    """A row for each stage that the report shows, in the pipeline's order."""
    wanted = set(stages)
    asked = [s.id for s in ws.pipeline.stages if s.id in wanted and s.id not in states]
    stale = _stale(ws, asked) if asked else frozenset()
    rows = []
    for stage in (s.id for s in ws.pipeline.stages if s.id in wanted):
        entry = ws.lock.stage(stage)
        if stage in states:
            rows.append(states[stage])
        elif entry is None:
            rows.append(StageRow(stage, "missing"))
        else:
            record = ws.store.record(entry.key)
            seconds = record.seconds if record else None
            rows.append(StageRow(stage, "changed" if stage in stale else "current", seconds))
    return tuple(rows)


def _stale(ws: Workspace, stages: Sequence[str]) -> frozenset[str]:
    """Those of `stages` whose entry in the lock is not what a run would give now, wherever its content is."""
    planner = Planner(ws)
    known: dict[str, tuple[OutputRecord, ...] | None] = {}
    stale = set()
    for stage in targets.closure(ws.pipeline, stages):
        step = planner.decide(stage, known, lazy=True)
        there = step.action in (Action.KEEP, Action.RESTORE)
        known[stage.id] = step.outputs if there else None
        locked = ws.lock.stage(stage.id)
        if not there or locked is None or locked.key != step.key:
            stale.add(stage.id)
    return frozenset(stale)


def _title(refs: Sequence[ir.StageOutput]) -> str:
    if not refs:
        return ""
    stage = refs[0].stage if len(refs) == 1 else refs[0].stage.split("[")[0] + "[*]"
    return f"{stage}.{refs[0].output}"


def _instance(stage: str) -> str:
    """`de` for `train[de]`."""
    return stage.partition("[")[2].rstrip("]") or stage
