"""`mlpipec diff`: what is different between two runs, revisions, or one of them and now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from mlflowc import project, terminal
from mlflowc.commands import complete
from mlflowc.commands.log import cut
from mlflowc.commands.options import file_option
from mlflowc.errors import Failure
from mlflowc.render.columns import plain, width
from mlflowc.runtime import baseline, folderchange, history
from mlflowc.runtime.difference import Difference, Row, difference
from mlflowc.runtime.folderchange import FolderChange
from mlflowc.runtime.gate_table import number, signed
from mlflowc.runtime.history import Moment
from mlflowc.runtime.workspace import Workspace, open_workspace
from mlflowc.spell import nearest

_TITLES = {
    "params": "parameters",
    "metrics": "metrics",
    "outputs": "outputs",
    "inputs": "inputs",
    "code": "code",
    "commands": "commands",
    "packages": "packages",
    "stages": "stages",
}
_HASHES = frozenset({"outputs", "inputs", "code"})
_SHOWN = 12
_LEAST = 10
_CONTEXT = 20


@click.command("diff")
@click.argument("names", metavar="[A] [B] [STAGE]...", nargs=-1, shell_complete=complete.targets)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@file_option
def command(names: tuple[str, ...], as_json: bool, file: str | None) -> int:
    """Compare two runs or revisions: metrics, parameters, outputs, code, packages.

    A and B are a run (@12, see `mlpipec log`; @-1 is the one before the latest), a Git revision, the first
    digits of a key, or `now`. B is now if left out, and A is HEAD. With STAGE, only those stages.
    """
    loaded = project.load(file)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        a, b, stages = _asked(ws, names)
        found = difference(a, b, stages)
        folders = _folders(ws, found)
    finally:
        ws.close()
    if as_json:
        print(json.dumps(_as_json(a, b, found, folders), indent=2, ensure_ascii=False))
        return 0
    for line in text(a, b, found, terminal.width(), folders):
        print(line)
    return 0


def _asked(ws: Workspace, names: Sequence[str]) -> tuple[Moment, Moment, set[str] | None]:
    """Two moments and the stages (None: all) that the arguments mean."""
    stages = {n: {s.id for s in ws.stages.values() if n in (s.id, s.name)} for n in names}
    moments: list[str] = []
    rest = list(names)
    while rest and len(moments) < 2 and not stages[rest[0]]:
        if moments and not history.is_moment(ws, rest[0]):
            break
        moments.append(rest.pop(0))
    for name in rest:
        if not stages[name]:
            raise _unknown(ws, name)
    if not moments and baseline.resolve(ws.root, "HEAD^{commit}").hash is None:
        last = ws.index.last_run()
        raise Failure(
            "there is no commit yet to compare with",
            help=f"`mlpipec diff @{last}` compares with a run, see `mlpipec log`"
            if last
            else "nothing ran here either; without names it compares the latest commit with now",
            code=2,
        )
    a = history.moment(ws, moments[0] if moments else "HEAD")
    b = history.moment(ws, moments[1] if len(moments) > 1 else history.NOW)
    if not b.whole and len(b.stages) == 1 and len(a.stages) == 1:
        # Two results by their keys: of one stage or of two, that is what is to be compared.
        b = Moment(b.title, dict(zip(a.stages, b.stages.values(), strict=True)), b.packages, b.notes, False)
    return a, b, set().union(*(stages[n] for n in rest)) if rest else None


def _unknown(ws: Workspace, name: str) -> Failure:
    known = {n for s in ws.stages.values() for n in (s.id, s.name)}
    guess = nearest(name, known)
    help = f"did you mean `{guess}`?" if guess else "runs are written as in @12, see `mlpipec log`"
    return Failure(f"`{name}` is neither a run, nor a revision, nor a stage", help=help, code=2)


def _folders(ws: Workspace, found: Difference) -> dict[Row, FolderChange]:
    """Of the outputs and inputs that are folders, which files are other."""
    rows = [r for r in found.rows if r.section in ("outputs", "inputs") and r.before and r.after]
    told = ((r, folderchange.between(ws.store, str(r.before), str(r.after))) for r in rows)
    return {row: change for row, change in told if change is not None}


def _as_json(a: Moment, b: Moment, found: Difference, folders: Mapping[Row, FolderChange]) -> dict[str, Any]:
    sections: dict[str, dict[str, Any]] = {s: {} for s in _TITLES}
    for row in found.rows:
        before, after = row.before, row.after
        if row.section == "params":
            before, after = (None if v is None else json.loads(str(v)) for v in (before, after))
        sections[row.section][row.name] = {"before": before, "after": after}
        if row.section == "metrics":
            sections[row.section][row.name]["change"] = row.change
        if row in folders:
            sections[row.section][row.name]["files"] = folders[row]._asdict()
    return {"a": a.title, "b": b.title, **sections, "notes": list(found.notes)}


def text(
    a: Moment,
    b: Moment,
    found: Difference,
    columns: int,
    folders: Mapping[Row, FolderChange] = MappingProxyType({}),
) -> list[str]:
    """The lines for a terminal of that width; `folders` says of rows which files are other."""
    lines = [terminal.style(f"{a.title} → {b.title}", "bold")]
    for section, title in _TITLES.items():
        rows = [r for r in found.rows if r.section == section]
        if rows:
            lines += ["", terminal.style(title, "cyan")]
            if section == "commands":
                lines += _texts(rows, columns)
                continue
            for row, line in zip(rows, _table(map(_cells, rows), columns), strict=True):
                lines.append(line)
                if row in folders:
                    lines.append(cut(f"    {folders[row].text}", columns))
    if not found.rows:
        lines.append("no difference")
    if found.notes:
        lines += ["", *(f"note: {note}" for note in found.notes)]
    return lines


def _cells(row: Row) -> tuple[str, str, str, str]:
    before, after = row.before, row.after
    if row.section == "stages":
        return plain(row.name), "", "new" if before is None else "gone", ""
    if row.section in _HASHES:
        if before is None or after is None:
            return plain(row.name), "", "new" if before is None else "gone", ""
        return plain(row.name), str(before)[:_SHOWN], str(after)[:_SHOWN], ""
    change = ""
    if row.change is not None:
        change = signed(row.change)
        if before and not isinstance(before, str):
            change += f" ({row.change / abs(before) * 100:+.1f} %)"
    return plain(row.name), _value(before), _value(after), change


def _value(value: str | int | float | None) -> str:
    if value is None:
        return "-"
    return plain(value).replace("\n", " ") if isinstance(value, str) else number(value)


def _table(rows: Iterable[tuple[str, str, str, str]], columns: int) -> list[str]:
    """`  name  before → after  change`, no wider than that: values give way, then names."""
    rows = list(rows)
    widths = [max(width(row[n]) for row in rows) for n in range(4)]
    room = columns - 2 - 2 - (2 + widths[3] if widths[3] else 0) - (3 if widths[1] else 0)
    while sum(widths[:3]) > room:
        widest = max((2, 1, 0), key=lambda n: widths[n])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    lines = []
    for name, before, after, change in rows:
        cells = [_padded(c, w) for c, w in zip((name, before, after, change), widths, strict=True)]
        arrow = " → " if before else "   "
        middle = f"{cells[1]}{arrow}{cells[2]}" if widths[1] else cells[2]
        lines.append(f"  {cells[0]}  {middle}  {cells[3]}".rstrip())
    return lines


def _texts(rows: Iterable[Row], columns: int) -> list[str]:
    """Each side on a line of its own, from shortly before the place where they part."""
    lines = []
    for row in rows:
        sides = [_value(row.before), _value(row.after)]
        pairs = enumerate(zip(*sides, strict=False))
        common = next((n for n, (one, other) in pairs if one != other), min(map(len, sides)))
        start = common - _CONTEXT if common > _CONTEXT * 2 else 0
        lines.append(cut(f"  {plain(row.name)}", columns))
        for sign, colour, side in zip("-+", ("red", "green"), sides, strict=True):
            line = cut(f"    {sign} {'…' if start else ''}{side[start:]}", columns)
            lines.append(terminal.style(line, colour))
    return lines


def _padded(text: str, columns: int) -> str:
    shown = cut(text, columns)
    return shown + " " * (columns - width(shown))
