"""A report as GitHub-flavoured Markdown: a file with pictures beside it, a job's summary, or a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Literal

from mlflowc.report import mermaid, pictures
from mlflowc.report.marks import Style, code, escape, fenced, fill, spoken, table
from mlflowc.report.model import (
    Baseline,
    Data,
    Document,
    Gates,
    Graph,
    Image,
    Metrics,
    Notebook,
    Params,
    Plot,
    Section,
    Stages,
    Table,
    Text,
    trimmed,
)
from mlflowc.report.words import (
    checks,
    difference,
    digest,
    duration,
    literal,
    many,
    measured,
    money,
    size,
    states,
    tally,
    trend,
)
from mlflowc.runtime.gate_table import number, signed
from mlflowc.runtime.gate_table import render as gate_table

Images = Literal["files", "mermaid", "none"]

_MOST_ROWS, _TERMINAL_ROWS, _FEWER = 2000, 200, (200, 50, 20, 8)
_FOLDED = 12  # rows of a long table that are shown unasked where a service can fold


def render(
    document: Document,
    *,
    images: Images = "none",
    stem: str = "report",
    limit_bytes: int | None = None,
    width: int | None = None,
) -> str:
    """The document as Markdown that ends with a line break.

    `images` "files" refers to the files that `pictures.files(document, stem)` gives; "none" has each plot as
    a small table, "mermaid" a diagram before it where the plot can be one. With `limit_bytes` what does not
    fit in that many bytes of UTF-8 is left out: rows of long tables, then sections from the end, and a line
    says so. `width` is for a
    terminal: nothing is escaped, lines and tables keep within it.
    """
    document = trimmed(document)
    style = Style(stem if images == "files" else None, width, images == "mermaid", _MOST_ROWS)
    if width is not None:
        style = style._replace(rows=_TERMINAL_ROWS)
    if limit_bytes is None:
        return _joined(_blocks(document, style))
    for most in (style.rows, *_FEWER):
        text = _joined(_blocks(document, style._replace(rows=most)))
        if len(text.encode()) <= limit_bytes:
            return text
    return _within(_blocks(document, style._replace(rows=_FEWER[-1])), limit_bytes)


def _blocks(document: Document, style: Style) -> list[str]:
    sections = enumerate(document.sections, 1)
    return [_head(document, style), *(_SECTIONS[type(s)](s, style, n) for n, s in sections)]


def _joined(blocks: Sequence[str]) -> str:
    return "\n\n".join(b.strip("\n") for b in blocks if b.strip()) + "\n"


def _within(blocks: list[str], limit: int) -> str:
    """The first blocks that fit, and how many did not."""
    whole = [len(b.strip("\n").encode()) + 2 for b in blocks]
    for kept in range(len(blocks), 0, -1):
        if sum(whole[:kept]) > limit + 2:
            continue
        left = len(blocks) - kept
        more = [] if not left else [f"*{left} more section{'s' if left > 1 else ''} did not fit here.*"]
        text = _joined([*blocks[:kept], *more])
        if len(text.encode()) <= limit:
            return text
    return blocks[0].encode()[: max(0, limit)].decode("utf-8", "ignore")


def _head(document: Document, style: Style) -> str:
    lines = [f"# {escape(document.pipeline, style)}: {escape(document.name, style)}"]
    if document.missing:
        lines += ["", fill(f"Not run yet: {_names(document.missing)}.", style)]
    if document.changed:
        lines += ["", fill(f"Out of date, shown as last made: {_names(document.changed)}.", style)]
    if document.help:
        lines += ["", f"To bring this up to date: `{document.help}`"]
    return "\n".join(lines) + _notes(document.notes, style)


def _names(stages: Sequence[str]) -> str:
    shown = ", ".join(f"`{s}`" for s in stages[:12])
    return shown + (f" and {len(stages) - 12} more" if len(stages) > 12 else "")


def _gates(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Gates)
    blocks = []
    for result in section.results:
        if style.width is not None:
            blocks.append(gate_table(result, style.width).rstrip("\n"))
            continue
        held = sum(r.passed for r in result.rows)
        words = "passed" if result.passed else "failed"
        head = f"## Gate `{result.name}`: {words}, {held} of {len(result.rows)}"
        rows = [
            (
                "ok" if r.passed else "**FAIL**",
                code(r.text, style),
                escape(r.found, style),
                escape(r.required, style),
                "" if r.baseline is None else number(r.baseline, r.unit),
                "" if r.difference is None else signed(r.difference, r.unit),
            )
            for r in result.rows
        ]
        names = ("", "requirement", "found", "required", "baseline", "change")
        notes = [f"{r.text}: {t}" for r in result.rows for t in (r.detail, r.note) if t]
        blocks.append(head + "\n\n" + table(names, rows, "llrrrr", style) + _notes(notes, style))
    return "\n\n".join(blocks)


def _metrics(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Metrics)
    base = section.baseline
    of = f" of {escape(section.title, style)}" if section.title else ""
    head = f"## Metrics{of}" + _against(base, style)
    if not section.rows:
        return head + ("\n\nNo values yet." if not section.notes else "") + _notes(section.notes, style)
    rows = section.rows
    if style.rows is not None and len(rows) > style.rows:
        # What changed is what one looks for.
        rows = tuple(sorted(rows, key=lambda r: not r.difference))
    if base is None or not base.found:
        plain = [(code(r.name, style), measured(r.now, r.unit)) for r in rows]
        return head + "\n\n" + table(("metric", "now"), plain, "lr", style) + _notes(section.notes, style)
    wide = [
        (code(r.name, style), measured(r.now, r.unit), measured(r.before, r.unit), *difference(r), trend(r))
        for r in rows
    ]
    names = ("metric", "now", escape(base.revision, style), "change", "", "")
    return head + "\n\n" + table(names, wide, "lrrrrl", style) + _notes(section.notes, style)


def _params(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Params)
    base = section.baseline
    head = "## Parameters" + _against(base, style)
    if base is None or not base.found:
        rows = [(code(r.name, style), code(literal(r.now), style)) for r in section.rows]
        body = table(("parameter", "value"), rows, "ll", style) if rows else "None."
        return head + "\n\n" + body
    same = f"{section.unchanged} unchanged." if section.unchanged else ""
    if not section.rows:
        return head + "\n\n" + (f"No parameter changed; {same}" if same else "None.")
    changed = [
        (
            code(r.name, style),
            "(gone)" if r.gone else code(literal(r.now), style),
            code(literal(r.before), style) if r.known else "(new)",
        )
        for r in section.rows
    ]
    body = table(("parameter", "now", escape(base.revision, style)), changed, "lll", style)
    return head + "\n\n" + body + _notes([same] if same else [], style)


def _plot(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Plot)
    head = f"## {escape(section.title, style)}" + _against(section.baseline, style)
    body = []
    if style.stem is not None:
        for name, chart in zip(pictures.names(section, style.stem, at), section.charts, strict=True):
            caption = f"{section.alt} ({chart.caption})" if chart.caption else section.alt
            body.append(f"![{escape(caption, style)}]({name})")
    else:
        if style.diagrams and (drawn := mermaid.diagram(section)) is not None:
            body.append(drawn)
        if section.digest is not None:
            body.append(_digest(section.digest, style))
    return "\n\n".join([head, *body]) + _notes(section.notes, style)


def _digest(figures: Table, style: Style) -> str:
    rows = digest(figures)
    most = min(20, style.rows or 20)
    shown = [tuple(escape(c, style) for c in r) for r in rows]
    align = "".join("r" if _numeric(r[n] for r in rows) else "l" for n in range(len(figures.columns)))
    names = tuple(escape(c.strip(), style) for c in figures.columns)
    return table(names, shown, align, style._replace(rows=most))


def _numeric(column: object) -> bool:
    return all(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|", str(c)) for c in column)  # type: ignore[attr-defined]


def _image(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Image)
    body = []
    for name, picture in zip(pictures.names(section, style.stem or "", at), section.pictures, strict=True):
        words = f"{section.title} ({picture.caption})" if picture.caption else section.title
        if style.stem is not None:
            body.append(f"![{escape(words, style)}]({name})")
        else:
            kept = f" ({escape(picture.caption, style)})" if picture.caption else ""
            body.append(f"Image `{picture.name}`{kept}, {size(len(picture.data))}.")
    return "\n\n".join([f"## {escape(section.title, style)}", *body]) + _notes(section.notes, style)


def _text(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Text)
    text = "".join(p if isinstance(p, str) else escape(p.text, style) for p in section.parts).strip("\n")
    if style.width is not None and not re.search(r"^(\s|```|\||#|[-*+] |\d+[.)] |>)", text, re.M):
        text = "\n\n".join(fill(" ".join(p.split()), style) for p in re.split(r"\n\s*\n", text))
    return text + _notes(section.notes, style)


def _stages(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Stages)
    head = "## Stages" + _against(section.baseline, style)
    if not section.rows:
        return head + "\n\nNone."
    rows = [
        (code(r.stage, style), states(r.state), duration(r.seconds), money(r.cost), spoken(r.why, style))
        for r in section.rows
    ]
    text = table(("stage", "", "took", "cost", "why"), rows, "llrrl", style)
    said = tally(section)
    if style.diagrams and len(rows) > _FOLDED:
        return f"{head}\n\n{_folded(said, text)}"
    return f"{head}\n\n{text}\n\n{said}"


def _data(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Data)
    head = "## Data" + _against(section.baseline, style)
    if not section.rows:
        return head + "\n\nNone."
    rows = [
        (
            code(r.name, style), code(r.source, style), (r.hash or "")[:12], size(r.size), many(r.rows),
            many(r.columns), checks(r.checked),
        )
        for r in section.rows
    ]  # fmt: skip
    text = table(("name", "source", "content", "size", "rows", "columns", "checked"), rows, "lllrrrl", style)
    blocks = [head, text]
    for r in section.rows:
        lines = [*r.findings, *r.changes]
        if lines:
            name = code(r.name, style) if style.width is None else r.name
            blocks.append("\n".join(_bullet(f"{name}: ", line, style) for line in lines))
        if style.diagrams and r.profile is not None and r.profile.rows:
            blocks.append(_folded(f"Columns of {escape(r.name, style)}", _digest(r.profile, style)))
    return "\n\n".join(blocks)


def _bullet(lead: str, text: str, style: Style) -> str:
    if style.width is None:
        return f"- {lead}{escape(text, style)}"
    return textwrap.fill(f"- {lead}{text}", style.width, subsequent_indent="  ", break_on_hyphens=False)


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _notebook(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Notebook)
    blocks = [f"## {escape(section.title, style)}"]
    names = iter(pictures.names(section, style.stem or "", at))
    for part in section.parts:
        if isinstance(part, str):
            blocks.append(fenced(part) if style.width is None else _indented(part, style.width))
            continue
        name = next(names)
        if style.stem is not None:
            blocks.append(f"![{escape(f'{section.title} ({part.caption})', style)}]({name})")
        else:
            blocks.append(f"Image of {escape(part.caption, style)}, {size(len(part.data))}.")
    return "\n\n".join(blocks) + _notes(section.notes, style)


def _indented(text: str, width: int) -> str:
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in text.split("\n")]
    return "\n".join("    " + line[: width - 4] for line in lines)


def _graph(section: Section, style: Style, at: int) -> str:
    assert isinstance(section, Graph)
    if style.diagrams:
        drawn = fenced(section.mermaid.strip(), "mermaid")
        return f"## Graph\n\n{_folded(escape(section.summary, style), drawn)}"
    text = section.text.rstrip()
    return "## Graph\n\n" + (fenced(text) if style.width is None else _indented(text, style.width))


_SECTIONS: dict[type[Section], Callable[[Section, Style, int], str]] = {
    Gates: _gates,
    Metrics: _metrics,
    Params: _params,
    Plot: _plot,
    Image: _image,
    Text: _text,
    Notebook: _notebook,
    Stages: _stages,
    Data: _data,
    Graph: _graph,
}


# --- parts ---------------------------------------------------------------------------------------


def _against(base: Baseline | None, style: Style) -> str:
    if base is None or not base.found or base.commit is None:
        return ""
    commit = "" if base.commit.startswith(base.revision) else f" ({base.commit[:9]})"
    return f" against {escape(base.revision, style)}{commit}"


def _notes(notes: Sequence[str], style: Style) -> str:
    if not notes:
        return ""
    if style.width is not None:
        return "\n\n" + "\n".join(
            textwrap.fill(n, style.width, initial_indent="  ", subsequent_indent="  ") for n in notes
        )
    return "\n\n" + "  \n".join(f"*{spoken(n, style)}*" for n in notes)
