"""`mlpipec log`: what ran here, when, and how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import click

from mlflowc import project, terminal
from mlflowc.commands import complete
from mlflowc.commands.options import file_option
from mlflowc.errors import Failure
from mlflowc.ir.model import Pipeline
from mlflowc.render.columns import plain, width
from mlflowc.runtime import records
from mlflowc.runtime.index import Run
from mlflowc.runtime.progress import duration
from mlflowc.runtime.workspace import Workspace, open_workspace
from mlflowc.spell import nearest

_COLOURS = {"ran": "green", "restored": "cyan", "kept": "dim", "failed": "red"}
# Below so many columns the commit is left out, then the key.
_NARROW, _TIGHT = 100, 72


@click.command("log")
@click.argument("stages", metavar="[STAGE]...", nargs=-1, shell_complete=complete.targets)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="At most N lines.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, with parameters and metrics.")
@file_option
def command(stages: tuple[str, ...], limit: int, as_json: bool, file: str | None) -> int:
    """Show what ran, when, and how it ended; latest first.

    STAGE is a stage by name (all its instances) or by id. Stages that were up to date are not listed. The
    numbers are those of runs: `mlpipec diff @3 @5` compares two.
    """
    loaded = project.load(file)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        runs = ws.index.runs(_ids(ws, loaded.pipeline, stages), limit)
        if as_json:
            print(json.dumps({"runs": [_as_json(ws, r) for r in runs]}, indent=2, ensure_ascii=False))
            return 0
    finally:
        ws.close()
    if not runs:
        print(f"nothing ran here yet{' of that' if stages else ''}")
    for line in table(runs, terminal.width()):
        print(line)
    return 0


def _ids(ws: Workspace, pipeline: Pipeline, names: Sequence[str]) -> list[str] | None:
    """The ids that were asked for, None for all. Stages that are no more may be named, too."""
    if not names:
        return None
    found: list[str] = []
    for name in names:
        ids = [s.id for s in pipeline.stages if name in (s.id, s.name)]
        if not ids and not ws.index.history(name, 1):
            known = {n for s in pipeline.stages for n in (s.id, s.name)}
            guess = nearest(name, known)
            help = f"did you mean `{guess}`?" if guess else f"there are: {', '.join(sorted(known)[:20])}"
            raise Failure(f"there is no stage `{name}`, and none ran here", help=help, code=2)
        found += ids or [name]
    return found


def _as_json(ws: Workspace, run: Run) -> dict[str, Any]:
    failed = run.outcome == "failed"
    made = None if failed else records.made(run.made) or ws.store.record(run.key)
    return {
        "run": run.run,
        "stage": run.stage,
        "outcome": run.outcome,
        "finished": run.finished,
        "seconds": round(run.seconds, 3),
        "key": run.key or None,
        "commit": run.commit,
        "note": run.note or None,
        "params": made.params if made else None,
        "metrics": made.metrics if made else None,
    }


def table(runs: Sequence[Run], columns: int) -> list[str]:
    """The lines of a table that is at most so wide: the stage's name and the note give way."""
    if not runs:
        return []
    wide = columns >= _NARROW
    rows = [_cells(run, wide) for run in runs]
    head = ["run", "when", "stage", "outcome", "took", "key", "commit"]
    head = head[: 7 if wide else 6 if columns >= _TIGHT else 5]
    widths = [max(width(r[n]) for r in [head, *(row[: len(head)] for row in rows)]) for n in range(len(head))]
    room = columns - sum(w for n, w in enumerate(widths) if n != 2) - 2 * (len(widths) - 1)
    widths[2] = max(8, min(widths[2], room))
    lines = [terminal.style(_line(head, widths).rstrip(), "dim")]
    for run, row in zip(runs, rows, strict=True):
        cells = [*row]
        cells[2] = cut(row[2], widths[2])
        text = _line(cells[: len(head)], widths)
        word = cells[3].ljust(widths[3])
        before, _, after = text.rpartition(f"  {word}  ")
        painted = terminal.style(word, _COLOURS.get(run.outcome, "bold"))
        lines.append(f"{before}  {painted}  {after}".rstrip())
        if run.note:
            lines.append(terminal.style(cut(f"{'':{widths[0]}}  {plain(run.note)}", columns), "dim"))
    return lines


def _cells(run: Run, wide: bool) -> list[str]:
    form = "%Y-%m-%d %H:%M:%S" if wide else "%m-%d %H:%M:%S"
    return [
        f"@{run.run}" if run.run is not None else "",
        time.strftime(form, time.localtime(run.finished)),
        plain(run.stage),
        run.outcome,
        duration(run.seconds),
        run.key[:12],
        (run.commit or "")[:9],
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(c + " " * (w - width(c)) for c, w in zip(cells, widths, strict=True))


def cut(text: str, columns: int) -> str:
    """`text` in at most so many columns, with `…` where it was cut."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[:-1]
    return text + "…"
