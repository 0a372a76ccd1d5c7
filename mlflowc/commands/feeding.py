"""The fetcher of data, for the commands that may need one; those whose data is in the repository never do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlflowc import terminal
from mlflowc.errors import Failure
from mlflowc.runtime.progress import size
from mlflowc.runtime.workspace import Workspace
from mlflowc.spell import nearest

if TYPE_CHECKING:
    from mlflowc.runtime.feedport import Pin
    from mlflowc.sources.fetcher import Fetcher, Updated


def attach(ws: Workspace, *, locked: str | None = None) -> None:
    """Lets the workspace fetch data. `locked`: why nothing is pinned that is not (None: only in CI)."""
    if ws.pinned:
        ws.feeds = fetcher(ws, locked=locked)


def fetcher(ws: Workspace, *, locked: str | None = "") -> Fetcher:
    """What fetches data. `locked` as for `attach`; "" lets it pin."""
    # Clients of servers, threads: only for pipelines with such data.
    from mlflowc.sources.fetcher import Fetcher, locked_reason

    return Fetcher(ws, tell, locked=locked_reason() if locked is None else locked)


def tell(line: str) -> None:
    """A line for people, beside the output of the command."""
    print(line, file=sys.stderr, flush=True)


def names(ws: Workspace, given: tuple[str, ...]) -> list[str]:
    """The pinned data that was asked for: all of it, if nothing was named. Raises `Failure`."""
    known = [d.name for d in ws.pipeline.data if d.name in ws.pinned]
    for name in given:
        if name in known:
            continue
        if name in ws.sources:
            raise Failure(
                f"`{name}` is a path of the repository: there is nothing to fetch",
                help=f"it is {terminal.style(ws.data[name], 'bold')}, as it is",
                code=2,
            )
        guess = nearest(name, known)
        help = f"did you mean `{guess}`?" if guess else f"there is: {', '.join(known) or 'none'}"
        raise Failure(f"there is no data `{name}`", help=help, code=2)
    return [n for n in known if n in given] if given else known


def said(updated: Updated) -> str:
    """What became of a source, for people."""
    name, pin = updated.data.name, updated.pin
    head = terminal.style(name, "bold")
    if updated.before is None:
        return f"{head}: pinned {said_of(pin)}"
    if updated.fresh:
        return f"{head}: {said_of(updated.before)}\n{'':{len(name)}}  → {said_of(pin)}"
    again = "" if updated.before.version == pin.version else ", the same content"
    return f"{head}: up to date{again}: {said_of(pin)}"


def said_of(pin: Pin) -> str:
    """Size, version and content of a pin."""
    from mlflowc.sources.fetcher import words

    return ", ".join(filter(None, (size(pin.size), words(pin.version), f"content {pin.hash[:12]}")))
