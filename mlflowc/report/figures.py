"""Plots, pictures and notebooks of a report: of files that stages wrote, now and at the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from mlflowc.ir import model as ir
from mlflowc.report import folders, given, notebook, plots
from mlflowc.report.facts import Facts, file_of, instance_of, title_of
from mlflowc.report.model import Baseline, Chart, Image, Notebook, Picture, Plot, Section
from mlflowc.report.points import Sheet
from mlflowc.runtime.baseline import Snapshot

_MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
_LARGEST_IMAGE = 10_000_000  # bytes; beyond that a page cannot be sent around


def plot(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    """The plot of a table, of metrics or of a specification; of a folder, one of each table in it."""
    options = dict(item.options)
    before, base = facts.compared(vs)
    title = str(options.get("title") or title_of(item.refs))
    kind = facts.outputs[item.refs[0].stage, item.refs[0].output].type.kind if item.refs else ""
    if kind == "metrics":
        return [_of_metrics(facts, item, title, before, base)]
    if kind == "dir":
        return _of_folder(facts, item, title, before, base)
    notes: list[str] = []
    sheets: list[Sheet] = []
    old: list[Sheet] = []
    columns: tuple[ir.Column, ...] = ()
    for ref in item.refs:
        declared = facts.outputs[ref.stage, ref.output]
        columns = declared.type.columns
        series = instance_of(ref.stage) if len(item.refs) > 1 else ""
        path = file_of(facts, facts.now, ref, notes, "")
        if path is None:
            continue
        sheets.append(Sheet(path, declared.type.kind, series, label=declared.path))
        if before is None or base is None:
            continue
        then, now = before.output(ref.stage, ref.output), facts.now.output(ref.stage, ref.output)
        if then and now and then.hash == now.hash:
            notes.append(f"{ref.stage}.{ref.output} is the same at `{base.revision}`")
            continue
        earlier = file_of(facts, before, ref, notes, base.revision)
        if earlier is not None:
            old.append(Sheet(earlier, declared.type.kind, series, True, declared.path))
    return [_drawn(title, columns, [*sheets, *old], options, base, tuple(notes))]


def _drawn(
    title: str,
    columns: tuple[ir.Column, ...],
    sheets: list[Sheet],
    options: Mapping[str, ir.Value],
    base: Baseline | None,
    notes: tuple[str, ...],
) -> Plot:
    """A plot of tables, or the specifications that the files are."""
    specs = [(s, folders.specification(s.path)) for s in sheets if s.kind == "json"]
    if not any(spec for _, spec in specs):
        return plots.draw(title, columns, sheets, options, baseline=base, notes=notes)
    charts = []
    for sheet, spec in specs:
        if spec is None:
            notes = (*notes, f"`{sheet.label}` is no Vega-Lite specification")
            continue
        tame, left_out = given.tame(spec)
        wrong = given.problem(tame)
        notes = (*notes, *left_out, *([wrong] if wrong else []))
        version = base.revision if sheet.old and base else "now" if any(s.old for s, _ in specs) else ""
        caption = " · ".join(p for p in (sheet.series, version) if p)
        if not wrong:
            charts.append(Chart(tame, caption, given=True))
    return Plot(title, tuple(charts), f"a plot that {sheets[0].label} specifies", None, notes, base)


def _of_folder(
    facts: Facts, item: ir.ReportItem, title: str, before: Snapshot | None, base: Baseline | None
) -> list[Section]:
    options = {k: v for k, v in dict(item.options).items() if k not in ("path", "title")}
    pattern = dict(item.options).get("path")
    asked = str(pattern) if pattern is not None else None
    notes: list[str] = []
    now: dict[str, list[Sheet]] = {}
    pictures: dict[str, list[Picture]] = {}
    for of in (facts.now, *([before] if before is not None else [])):
        old = of is before
        for ref in item.refs:
            series = instance_of(ref.stage) if len(item.refs) > 1 else ""
            found = facts.folder(of, ref, notes, base.revision if old and base else "")
            for name in folders.plots(list(found), asked):
                if old and name not in now:
                    continue
                kind = folders.KINDS.get(PurePosixPath(name).suffix.lower(), "")
                if kind and not (old and _same(now[name], found[name], series)):
                    now.setdefault(name, []).append(Sheet(found[name], kind, series, old, name))
            if asked is None:
                for name in folders.chosen(list(found), None, folders.IMAGES):
                    words = " · ".join(p for p in (series, base.revision if old and base else "now") if p)
                    if not old or name in pictures:
                        pictures.setdefault(name, []).append(_read(name, found[name], words))
    made: list[Section] = [
        _drawn(_joined(title, name, item), (), sheets, options, base, ())
        for name, sheets in list(now.items())[: folders.MOST]
    ]
    made += [
        Image(_joined(title, n, item), tuple(p), (), base) for n, p in list(pictures.items())[: folders.MOST]
    ]
    if len(now) > folders.MOST:
        notes.append(f"the first {folders.MOST} of {len(now)} plots")
    if not made and not notes:
        notes.append("there is no table in it to draw" + (f" that matches `{asked}`" if asked else ""))
    return [*made, *([Plot(title, notes=tuple(notes), baseline=base)] if notes else [])]


def _joined(title: str, name: str, item: ir.ReportItem) -> str:
    own = folders.title(name)
    return f"{title}: {own}" if dict(item.options).get("title") else own


def _same(sheets: list[Sheet], path: Path, series: str) -> bool:
    """Whether the file of now is that one: the store has equal contents once."""
    return any(s.path == path and s.series == series for s in sheets)


def _read(name: str, path: Path, caption: str) -> Picture:
    pure = PurePosixPath(name)
    return Picture(_MEDIA[pure.suffix.lower()], pure.name, path.read_bytes()[:_LARGEST_IMAGE], caption)


def notebook_of(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    """What the cells of notebooks put out."""
    sections: list[Section] = []
    for ref in item.refs:
        title = str(dict(item.options).get("title") or f"{ref.stage}.{ref.output}")
        notes: list[str] = []
        path = file_of(facts, facts.now, ref, notes, "")
        sections.append(
            notebook.read(title, path) if path is not None else Notebook(title, notes=tuple(notes))
        )
    return sections


def _of_metrics(
    facts: Facts, item: ir.ReportItem, title: str, before: Snapshot | None, base: Baseline | None
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
            name = instance_of(ref.stage) if len(item.refs) > 1 else ""
            values.append((name, snapshot is before, fields))
    return plots.metrics(title, values, baseline=base)


def image(facts: Facts, item: ir.ReportItem, vs: str | None) -> list[Section]:
    """Images now, and before where the report compares and they were others."""
    before, base = facts.compared(vs)
    title = str(dict(item.options).get("title") or title_of(item.refs))
    notes: list[str] = []
    pictures: list[Picture] = []
    if item.refs and facts.outputs[item.refs[0].stage, item.refs[0].output].type.kind == "dir":
        return _images(facts, item, title, before, base)
    for ref in item.refs:
        caption = instance_of(ref.stage) if len(item.refs) > 1 else ""
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
    return [Image(title, tuple(pictures), tuple(notes), base)]


def _images(
    facts: Facts, item: ir.ReportItem, title: str, before: Snapshot | None, base: Baseline | None
) -> list[Section]:
    """Each image of a folder, beside what it was."""
    pattern = dict(item.options).get("path")
    notes: list[str] = []
    found: dict[str, list[Picture]] = {}
    for of in (facts.now, *([before] if before is not None else [])):
        old = of is before
        for ref in item.refs:
            series = instance_of(ref.stage) if len(item.refs) > 1 else ""
            files = facts.folder(of, ref, notes, base.revision if old and base else "")
            for name in folders.chosen(list(files), str(pattern) if pattern else None, folders.IMAGES):
                version = (base.revision if old and base else "now") if before is not None else ""
                caption = " · ".join(p for p in (series, version) if p)
                if PurePosixPath(name).suffix.lower() in _MEDIA and (not old or name in found):
                    found.setdefault(name, []).append(_read(name, files[name], caption))
    if len(found) > folders.MOST:
        notes.append(f"the first {folders.MOST} of {len(found)} images")
    made: list[Section] = [
        Image(_joined(title, n, item), tuple(p), (), base) for n, p in list(found.items())[: folders.MOST]
    ]
    if not made and not notes:
        notes.append("there is no image in it")
    return [*made, *([Image(title, notes=tuple(notes), baseline=base)] if notes else [])]


def _picture(
    facts: Facts, of: Snapshot, ref: ir.StageOutput, notes: list[str], revision: str, caption: str
) -> Iterable[Picture]:
    path = file_of(facts, of, ref, notes, revision)
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
