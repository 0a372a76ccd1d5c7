"""Answers to the commonest calls when nothing changed, before the command line is even parsed.

`mlpipec run` and `mlpipec exec JOB` are called over and over, by people, make and CI, and mostly find nothing
to do. What they said then is kept together with all that it depended on (`mlflowc.runtime.laststate`): the
next call of the same words only has to look whether that is still so. Anything else gives no answer, and goes
the long way: through the pipeline and the planner; and where there are options, first through the parser of
command lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlflowc import project, terminal
from mlflowc.errors import Failure
from mlflowc.runtime import laststate

# Each may change what a call means.
_VARIABLES = ("MLPIPEC_SANDBOX", "_MLPIPEC_COMPLETE")


class Line(NamedTuple):
    """A command line without options: `run`, or `exec JOB [--on EVENT]`."""

    job: str | None = None
    event: str | None = None


def understood(words: Sequence[str]) -> Line | None:
    """What a line says that takes no parser; None for any other, and where variables say more than it."""
    if any(os.environ.get(v) for v in _VARIABLES) or any(w.startswith("-") and w != "--on" for w in words):
        return None
    match words:
        case ["run"]:
            return Line()
        case ["exec", job] if job != "--on":
            return Line(job)
        case ["exec", job, "--on", event] if "--on" not in (job, event):
            return Line(job, event)
    return None


def answer(line: Line, *, first: bool = False) -> int | None:
    """The exit code of what `line` says, where that has been answered; None when it has not. `first`: nothing
    was done before, and where there is no answer the long way is next.
    """
    try:
        if line.job is None:
            return _show(None, {}, laststate.RUN, keep=first)
        return _show(None, {}, exec_name(line.job, line.event))
    except Failure:
        return None  # said again, in full, by those who take the long way


def run(file: str | None, overrides: Mapping[str, str]) -> int | None:
    """The same for a plain run of a pipeline file with `--set` overrides. Raises `Failure` where there is no
    such file.
    """
    return _show(file, overrides, laststate.RUN)


def exec_name(job: str, event: str | None) -> str:
    """The name of the state of `mlpipec exec JOB [--on EVENT]`."""
    return f"exec {job!r} {event!r}"


def _show(file: str | None, overrides: Mapping[str, str], name: str, *, keep: bool = False) -> int | None:
    found = project.fingerprint(file, overrides=overrides)
    said = laststate.is_fresh(*found, name, keep=keep) if found else None
    if said is None or said.width not in (0, terminal.width()):
        return None
    print(said.coloured if terminal.coloured(sys.stdout) else said.plain, end="")
    if said.error:
        terminal.error(said.error)
    return said.code
