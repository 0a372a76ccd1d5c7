"""A remote for the commands that run stages: attached when there is one, told about in a line or two."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlflowc import terminal
from mlflowc.frozen import replace
from mlflowc.runtime.deferred import only_needed
from mlflowc.runtime.plan import Plan, make_plan
from mlflowc.runtime.remotes.link import Link
from mlflowc.runtime.remotes.place import Place, place_of
from mlflowc.runtime.unlike import Unlike
from mlflowc.runtime.workspace import Workspace


def place(ws: Workspace, given: str | None) -> Place | None:
    """The remote that `--remote` (a path is relative to the current folder) or the pipeline names."""
    if given and "://" not in given:
        given = os.path.abspath(Path(given).expanduser())  # noqa: PTH100 - `..` must not follow links
    return place_of(ws.root, ws.state, ws.pipeline, given)


def attach(ws: Workspace, given: str | None) -> Link | None:
    """Gives the workspace its remote, if there is one. Nothing is asked yet."""
    found = place(ws, given)
    if found is None:
        return None
    if found.lacks:
        names = ", ".join(f"`{n}`" for n in found.lacks)
        print(f"note: the remote is left alone: this job was not given {names}", file=sys.stderr)
        return None
    link = Link(found, ws.store, _go_on, doubt=warn)
    ws.remote = link
    return link


def plan(ws: Workspace, names: Sequence[str], *, force: bool = False) -> Plan:
    """What a run for `names` would do now; of the remote it takes only what is needed. Raises `Failure`."""
    made = make_plan(ws, names, force=force)
    if ws.remote is None:
        return made
    return replace(made, steps=tuple(only_needed(ws, made.steps, made.wanted.stages)))


def _go_on(message: str, help: str) -> None:
    warn(f"{message}; going on without it", help)


def warn(message: str, help: str = "") -> None:
    """Writes `warning: message` and its help to stderr."""
    print(terminal.style("warning", "bold", "yellow", stream=sys.stderr) + f": {message}", file=sys.stderr)
    for line in help.splitlines():
        print(f"  = help: {line}", file=sys.stderr)


def tell_unlike(found: Iterable[Unlike | None]) -> None:
    """Warns of results that are not the same although everything that decides them is."""
    for other in found:
        if other is not None:
            warn(other.message, other.help)


def differing(found: Iterable[Unlike]) -> list[str]:
    """Words about results that are not the same although everything that decides them is."""
    lines = []
    for other in {u.key: u for u in found}.values():
        said = f"`{other.stage}` came out differently than in the remote, for the same key"
        lines.append(f"note: {said}; the first stays there")
        lines += [f"  {output}" for output in other.outputs]
    return lines
