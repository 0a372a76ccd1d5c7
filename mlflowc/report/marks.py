"""Markdown's parts: tables, text that is no markup, code; the same for a terminal of some width."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple


class Style(NamedTuple):
    """`stem` is that of picture files (None: no pictures), `width` a terminal's (None: a file, escaped);
    `diagrams` whether the reader's service draws Mermaid and folds `<details>`; `rows` how many of a table
    are shown (None: all)."""

    stem: str | None
    width: int | None
    diagrams: bool = False
    rows: int | None = None


# A last column that is narrower is not worth a table, in columns.
_LEAST = 30


def table(names: Sequence[str], rows: Sequence[Sequence[str]], align: str, style: Style) -> str:
    """A Markdown table, padded so that it also reads as text; columns without content are left out."""
    more = len(rows) - style.rows if style.rows is not None else 0
    if more > 0:
        rows = rows[: style.rows]
    kept = [n for n in range(len(names)) if any(r[n] for r in rows)]
    names = [names[n] for n in kept]
    rows = [[r[n] for n in kept] for r in rows]
    align = "".join(align[n] for n in kept)
    sizes = [max(3, *(_columns(r[n]) for r in [names, *rows])) for n in range(len(names))]
    if style.width is not None and sum(s + 3 for s in sizes) + 1 > style.width:
        room = style.width - sum(s + 3 for s in sizes[:-1]) - 4
        if len(names) < 2 or align[-1] != "l" or room < _LEAST:
            return _records(names, rows, style.width) + _more(more)
        rows, sizes[-1] = _folded(rows, room), room

    def line(cells: Sequence[str]) -> str:
        padded = [
            c + " " * (s - _columns(c)) if a == "l" else " " * (s - _columns(c)) + c
            for c, s, a in zip(cells, sizes, align, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * s) if a == "l" else "-" * (s - 1) + ":" for s, a in zip(sizes, align, strict=True)]
    return "\n".join([line(names), line(rule), *(line(r) for r in rows)]) + _more(more)


def _folded(rows: Sequence[Sequence[str]], room: int) -> list[list[str]]:
    """The rows with the last cell over several lines, where it is wider than `room` columns."""
    folded = []
    for row in rows:
        first, *others = textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]
        folded.append([*row[:-1], first])
        folded += [["" for _ in row[:-1]] + [more] for more in others]
    return folded


def _more(rows: int) -> str:
    return f"\n\n{rows:,} more row{'s' if rows > 1 else ''}." if rows > 0 else ""


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


def fill(text: str, style: Style) -> str:
    return text if style.width is None else textwrap.fill(text, style.width, break_on_hyphens=False)


_MARKUP = re.compile(r"([\\`*\[\]<|~&$]|(?<!\w)_|_(?!\w))")
# What a service takes for a person, an issue, a merge request, a label, a milestone, or an address.
_LINKS = re.compile(r"([@#!~%$&](?=\w)|\bGH(?=-\d)|(?<=\w):(?=//)|\bwww(?=\.))")


def escape(text: str, style: Style) -> str:
    """`text` on one line that means nothing to Markdown, HTML and the service; for a terminal, only
    printable."""
    flat = " ".join(_printable(text).split())
    if style.width is not None:
        return flat
    # A space without width, which no service takes for a part of a name.
    unlinked = _LINKS.sub("\\1\u200b", flat)
    return _MARKUP.sub(lambda m: {"<": "&lt;", "&": "&amp;"}.get(m[0], "\\" + m[0]), unlinked)


def fenced(text: str, language: str = "") -> str:
    """`text` as a block that nothing in it can end."""
    ticks = max((len(m) for m in re.findall(r"`{3,}", text)), default=2) + 1
    lines = "\n".join("".join(c if c.isprintable() else " " for c in line) for line in text.split("\n"))
    return f"{'`' * ticks}{language}\n{lines}\n{'`' * ticks}"


def code(text: str, style: Style) -> str:
    """`text` as code; a bar inside would end a table's cell."""
    flat = " ".join(_printable(text).split())
    if style.width is not None:
        return flat
    ticks = max((len(m) for m in re.findall(r"`+", flat)), default=0) + 1
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return "`" * ticks + pad + flat.replace("|", "\\|") + pad + "`" * ticks if flat else ""


def spoken(text: str, style: Style) -> str:
    """A message on one line: what stands between backticks is code, the rest is as `escape` has it."""
    flat = " ".join(_printable(text).split())
    parts = flat.split("`")
    if style.width is not None or len(parts) % 2 == 0:
        return escape(flat, style)
    return "".join(
        (code(part, style) if part.strip() else escape("``", style))
        if n % 2
        else " " * part.startswith(" ") + escape(part, style) + " " * (len(part) > 1 and part.endswith(" "))
        for n, part in enumerate(parts)
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
