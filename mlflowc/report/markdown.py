"""A report as GitHub-flavoured Markdown: a file with pictures beside it, a job's summary, or a terminal."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from mlflowc.report import mermaid, pictures
from mlflowc.report.model import (
    Baseline,
    Data,
    Document,
    Gates,
    Image,
    Metrics,
    Params,
    Plot,
    Section,
    Stages,
    Table,
    Text,
)
from mlflowc.report.words import cell, difference, digest, duration, literal, size, states
from mlflowc.runtime.gate_table import number, signed
from mlflowc.runtime.gate_table import render as gate_table

Images = Literal["files", "mermaid", "none"]


class _Style(NamedTuple):
    """`stem` is that of picture files (None: no pictures), `width` a terminal's (None: a file, escaped);
    `diagrams` whether the reader's service draws Mermaid."""

    stem: str | None
    width: int | None
    diagrams: bool = False


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
    fit in that many bytes of UTF-8 is left out from the end, and a last line says so. `width` is for a
    terminal: nothing is escaped, lines and tables keep within it.
    """
    style = _Style(stem if images == "files" else None, width, images == "mermaid")
    blocks = [_head(document, style)]
    blocks += [_SECTIONS[type(s)](s, style, n) for n, s in enumerate(document.sections, 1)]
    if limit_bytes is None:
        return _joined(blocks)
    return _within(blocks, limit_bytes)


def _joined(blocks: Sequence[str]) -> str:
    return "\n\n".join(b.strip("\n") for b in blocks if b.strip()) + "\n"


def _within(blocks: list[str], limit: int) -> str:
    for kept in range(len(blocks), 0, -1):
        left = len(blocks) - kept
        more = [] if not left else [f"*{left} more section{'s' if left > 1 else ''} did not fit here.*"]
        text = _joined([*blocks[:kept], *more])
        if len(text.encode()) <= limit:
            return text
    return blocks[0].encode()[: max(0, limit)].decode("utf-8", "ignore")


def _head(document: Document, style: _Style) -> str:
    lines = [f"# {_escape(document.pipeline, style)}: {_escape(document.name, style)}"]
    if document.missing:
        lines += ["", _fill(f"Not run yet: {_names(document.missing)}.", style)]
    if document.changed:
        lines += ["", _fill(f"Out of date, shown as last made: {_names(document.changed)}.", style)]
    if document.help:
        lines += ["", f"To bring this up to date: `{document.help}`"]
    return "\n".join(lines) + _notes(document.notes, style)


def _names(stages: Sequence[str]) -> str:
    shown = ", ".join(f"`{s}`" for s in stages[:12])
    return shown + (f" and {len(stages) - 12} more" if len(stages) > 12 else "")


def _gates(section: Section, style: _Style, at: int) -> str:
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
                _code(r.text, style),
                _escape(r.found, style),
                _escape(r.required, style),
                "" if r.baseline is None else number(r.baseline),
                "" if r.difference is None else signed(r.difference),
            )
            for r in result.rows
        ]
        names = ("", "requirement", "found", "required", "baseline", "change")
        notes = [f"`{r.text}`: {r.note}" for r in result.rows if r.note]
        blocks.append(head + "\n\n" + _table(names, rows, "llrrrr", style) + _notes(notes, style))
    return "\n\n".join(blocks)


def _metrics(section: Section, style: _Style, at: int) -> str:
    assert isinstance(section, Metrics)
    base = section.baseline
    of = f" of {_escape(section.title, style)}" if section.title else ""
    head = f"## Metrics{of}" + _against(base, style)
    if not section.rows:
        return head + "\n\nNo values yet."
    if base is None or not base.found:
        rows = [(_code(r.name, style), cell(r.now)) for r in section.rows]
        return head + "\n\n" + _table(("metric", "now"), rows, "lr", style)
    wide = [(_code(r.name, style), cell(r.now), cell(r.before), *difference(r)) for r in section.rows]
    names = ("metric", "now", _escape(base.revision, style), "change", "")
    return head + "\n\n" + _table(names, wide, "lrrrr", style)


def _params(section: Section, style: _Style, at: int) -> str:
    assert isinstance(section, Params)
    base = section.baseline
    head = "## Parameters" + _against(base, style)
    if base is None or not base.found:
        rows = [(_code(r.name, style), _code(literal(r.now), style)) for r in section.rows]
        body = _table(("parameter", "value"), rows, "ll", style) if rows else "None."
        return head + "\n\n" + body
    same = f"{section.unchanged} unchanged." if section.unchanged else ""
    if not section.rows:
        return head + "\n\n" + (f"No parameter changed; {same}" if same else "None.")
    changed = [
        (
            _code(r.name, style),
            "(gone)" if r.gone else _code(literal(r.now), style),
            _code(literal(r.before), style) if r.known else "(new)",
        )
        for r in section.rows
    ]
    table = _table(("parameter", "now", _escape(base.revision, style)), changed, "lll", style)
    return head + "\n\n" + table + _notes([same] if same else [], style)


def _plot(section: Section, style: _Style, at: int) -> str:
    assert isinstance(section, Plot)
    head = f"## {_escape(section.title, style)}" + _against(section.baseline, style)
    body = []
    if style.stem is not None:
        for name, chart in zip(pictures.names(section, style.stem, at), section.charts, strict=True):
            caption = f"{section.alt} ({chart.caption})" if chart.caption else section.alt
            body.append(f"![{_escape(caption, style)}]({name})")
    else:
        if style.diagrams and (drawn := mermaid.diagram(section)) is not None:
            body.append(drawn)
        if section.digest is not None:
            body.append(_digest(section.digest, style))
    return "\n\n".join([head, *body]) + _notes(section.notes, style)


def _digest(table: Table, style: _Style) -> str:
    rows = digest(table)
    shown = [tuple(_escape(c, style) for c in r) for r in rows[:20]]
    align = "".join("r" if _numeric(r[n] for r in rows) else "l" for n in range(len(table.columns)))
    text = _table(tuple(_escape(c.strip(), style) for c in table.columns), shown, align, style)
    return text + (f"\n\n{len(rows) - 20} more rows." if len(rows) > 20 else "")


def _numeric(column: object) -> bool:
    return all(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|", str(c)) for c in column)  # type: ignore[attr-defined]


def _image(section: Section, style: _Style, at: int) -> str:
    assert isinstance(section, Image)
    body = []
    for name, picture in zip(pictures.names(section, style.stem or "", at), section.pictures, strict=True):
        words = f"{section.title} ({picture.caption})" if picture.caption else section.title
        if style.stem is not None:
            body.append(f"![{_escape(words, style)}]({name})")
        else:
            kept = f" ({picture.caption})" if picture.caption else ""
            body.append(f"Image `{picture.name}`{_escape(kept, style)}, {size(len(picture.data))}.")
    return "\n\n".join([f"## {_escape(section.title, style)}", *body]) + _notes(section.notes, style)


def _text(section: Section, style: _Style, at: int) -> str:
    assert isinstance(section, Text)
    text = "".join(p if isinstance(p, str) else _escape(p.text, style) for p in section.parts).strip("\n")
    if style.width is not None and not re.search(r"^(\s|```|\||#|[-*+] |\d+[.)] |>)", text, re.M):
        text = "\n\n".join(_fill(" ".join(p.split()), style) for p in re.split(r"\n\s*\n", text))
    return text + _notes(section.notes, style)


def _stages(section: Section, style: _Style, at: int) -> str:
    assert isinstance(section, Stages)
    if not section.rows:
        return "## Stages\n\nNone."
    rows = [(_code(r.stage, style), states(r.state), duration(r.seconds)) for r in section.rows]
    return "## Stages\n\n" + _table(("stage", "", "took"), rows, "llr", style)


def _data(section: Section, style: _Style, at: int) -> str:
    assert isinstance(section, Data)
    if not section.rows:
        return "## Data\n\nNone."
    rows = [
        (_code(r.name, style), _code(r.source, style), (r.hash or "")[:12], size(r.size))
        for r in section.rows
    ]
    return "## Data\n\n" + _table(("name", "source", "content", "size"), rows, "lllr", style)


_SECTIONS: dict[type[Section], Callable[[Section, _Style, int], str]] = {
    Gates: _gates,
    Metrics: _metrics,
    Params: _params,
    Plot: _plot,
    Image: _image,
    Text: _text,
    Stages: _stages,
    Data: _data,
}


# --- parts ---------------------------------------------------------------------------------------


def _against(base: Baseline | None, style: _Style) -> str:
    if base is None or not base.found or base.commit is None:
        return ""
    commit = "" if base.commit.startswith(base.revision) else f" ({base.commit[:9]})"
    return f" against {_escape(base.revision, style)}{commit}"


def _notes(notes: Sequence[str], style: _Style) -> str:
    if not notes:
        return ""
    if style.width is not None:
        return "\n\n" + "\n".join(
            textwrap.fill(n, style.width, initial_indent="  ", subsequent_indent="  ") for n in notes
        )
    return "\n\n" + "  \n".join(f"<sub>{_escape(n, style)}</sub>" for n in notes)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], align: str, style: _Style) -> str:
    """A Markdown table, padded so that it also reads as text; columns without content are left out."""
    kept = [n for n in range(len(names)) if any(r[n] for r in rows)]
    names = [names[n] for n in kept]
    rows = [[r[n] for n in kept] for r in rows]
    align = "".join(align[n] for n in kept)
    sizes = [max(3, *(_columns(r[n]) for r in [names, *rows])) for n in range(len(names))]
    if style.width is not None and sum(s + 3 for s in sizes) + 1 > style.width:
        return _records(names, rows, style.width)

    def line(cells: Sequence[str]) -> str:
        padded = [
            c + " " * (s - _columns(c)) if a == "l" else " " * (s - _columns(c)) + c
            for c, s, a in zip(cells, sizes, align, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * s) if a == "l" else "-" * (s - 1) + ":" for s, a in zip(sizes, align, strict=True)]
    return "\n".join([line(names), line(rule), *(line(r) for r in rows)])


def _records(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """The same for a terminal that is too narrow: a line a row, its figures below."""
    lines = []
    for row in rows:
        lines += textwrap.wrap(row[0], width - 2, initial_indent="- ", subsequent_indent="  ") or ["-"]
        rest = ", ".join(f"{n} {c}".strip() for n, c in zip(names[1:], row[1:], strict=True) if c)
        lines += textwrap.wrap(rest, width - 4, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _fill(text: str, style: _Style) -> str:
    return text if style.width is None else textwrap.fill(text, style.width, break_on_hyphens=False)


_MARKUP = re.compile(r"([\\`*\[\]<|~&]|(?<!\w)_|_(?!\w))")


def _escape(text: str, style: _Style) -> str:
    """`text` on one line that means nothing to Markdown and HTML; for a terminal, only printable."""
    flat = " ".join(_printable(text).split())
    if style.width is not None:
        return flat
    return _MARKUP.sub(lambda m: "&lt;" if m[0] == "<" else "&amp;" if m[0] == "&" else "\\" + m[0], flat)


def _code(text: str, style: _Style) -> str:
    """`text` as code; a bar inside would end a table's cell."""
    flat = " ".join(_printable(text).split())
    if style.width is not None:
        return flat
    ticks = max((len(m) for m in re.findall(r"`+", flat)), default=0) + 1
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return "`" * ticks + pad + flat.replace("|", "\\|") + pad + "`" * ticks if flat else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
