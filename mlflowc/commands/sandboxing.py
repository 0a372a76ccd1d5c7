"""The sandbox on the command line: what `run` and `exec` do with it, and say of it. Not a command itself."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflowc import project, terminal
from mlflowc.diagnostic import Severity
from mlflowc.errors import Failure
from mlflowc.ir.model import Pipeline
from mlflowc.runtime.events import Outcome, RunResult
from mlflowc.runtime.progress import count
from mlflowc.runtime.sandbox.guard import Guard
from mlflowc.runtime.sandbox.mend import Mend, mends
from mlflowc.runtime.sandbox.model import Mode
from mlflowc.runtime.workspace import Workspace

_PATHS = 5


def guard(ws: Workspace, sandbox: str, *, fix: bool = False) -> Guard | None:
    """The sandbox that was asked for. Raises `Failure` where this system cannot do that."""
    if fix and sandbox != Mode.AUDIT:
        raise Failure(
            "`--fix` writes what an audit finds", help="give it together with --sandbox audit", code=2
        )
    return None if sandbox == Mode.OFF else Guard(ws, Mode(sandbox))


def report(
    root: Path, pipeline: Pipeline, result: RunResult, fix: Callable[[str, str], str] | None = None
) -> list[Mend]:
    """Says on stderr what an audit found; what was found.

    With `fix` the lines are written, too: it says what is wrong with the pipeline when the file of that name
    has that text (see `objecting`).
    """
    found = mends(pipeline, (f for r in result.stages for f in r.findings))
    ran = sum(r.outcome in (Outcome.RAN, Outcome.FAILED) for r in result.stages)
    for mend in found:
        _say(mend)
    found_words = f"{len(found)} undeclared {'access' if len(found) == 1 else 'accesses'}"
    words = f"audit: {count(ran, 'stage')} looked at, {found_words if found else 'all is declared'}"
    if not ran:
        words = "audit: nothing ran, so nothing was looked at"
    if len(result.stages) > ran > 0:
        words += f"; {len(result.stages) - ran} did not run and were not looked at"
    if len(result.stages) > ran:
        words += " (--force runs them)"
    _print(terminal.style(words, "bold", stream=sys.stderr))
    if fix is not None:
        _fix(root, found, fix)
    elif any(m.line for m in found):
        _print("  = help: `--sandbox audit --fix` writes the `in` lines into the pipeline file")
    return found


def as_json(found: Iterable[Mend]) -> list[dict[str, Any]]:
    """For `--json`."""
    return [
        {
            "stage": m.stage,
            "declared": f"{m.place.file}:{m.place.line}",
            "act": m.act,
            "paths": list(m.paths),
            "line": m.line or None,
            "help": m.help or None,
        }
        for m in found
    ]


def _say(mend: Mend) -> None:
    mark = terminal.style("undeclared", "bold", "yellow", stream=sys.stderr)
    does = "reads" if mend.act == "read" else "writes"
    shown = ", ".join(f"`{p}`" for p in mend.paths[:_PATHS])
    if len(mend.paths) > _PATHS:
        shown += f" and {len(mend.paths) - _PATHS} more"
    _print(f"{mark}: stage `{mend.stage}` {does} {shown}")
    place = f"{mend.place.file}:{mend.place.line}"
    if mend.line:
        _print(f"  = add at {place}: {terminal.style(mend.line, 'green', stream=sys.stderr)}")
    if mend.help:
        _print(f"  = help: {mend.help}")


def objecting(file: str | None, overrides: Mapping[str, str]) -> Callable[[str, str], str]:
    """The `fix` of `report` for that pipeline file: its first error, with the code."""

    def objection(name: str, text: str) -> str:
        compiled = project.compile_with({name: text}, file, overrides=overrides)
        errors = (d for d in compiled.diagnostics if d.severity is Severity.ERROR)
        return next((f"{d.message} ({d.code})" for d in errors), "")

    return objection


def _fix(root: Path, found: list[Mend], objection: Callable[[str, str], str]) -> None:
    # The parser: only where a file is to be changed.
    from mlflowc.runtime.sandbox import fix

    done, left = fix.write(root, found, objection)
    for file in dict.fromkeys(m.place.file for m in done):
        lines = [m for m in done if m.place.file == file]
        _print(
            f"wrote {count(len(lines), 'line')} into {shlex.quote(file)}; the next run will run those stages"
        )
    for mend in left:
        why = mend.help or f"`{mend.stage}` is not declared as a stage with braces in `{mend.place.file}`"
        _print(f"not mended: `{mend.paths[0]}` of `{mend.stage}`: {why}")


def _print(text: str) -> None:
    print(text.encode("utf-8", "replace").decode(), file=sys.stderr)
