"""`mlpipec pull`: puts pinned data in its place."""

from __future__ import annotations

import json
import threading

import click

from mlflowc import project, terminal
from mlflowc.commands import complete, feeding, sharing
from mlflowc.commands.options import file_option, remote_option
from mlflowc.errors import Failure
from mlflowc.runtime import inuse, locks, pins, placing
from mlflowc.runtime.feedport import Pin
from mlflowc.runtime.progress import count, size
from mlflowc.runtime.workspace import Workspace, open_workspace


@click.command("pull")
@click.argument("names", metavar="[DATA]...", nargs=-1, shell_complete=complete.data)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@remote_option
@file_option
def command(names: tuple[str, ...], as_json: bool, remote: str | None, file: str | None) -> int:
    """Put pinned data in its place.

    DATA is the name of a data source; without names, all of them. It comes from the cache, else from the
    remote cache, else from its source, in exactly the version that mlpipe.lock pins. A run does this by
    itself for what it reads.
    """
    loaded = project.load(file)
    ws = open_workspace(loaded.root, loaded.pipeline)
    link = sharing.attach(ws, remote)
    try:
        wanted = _pins(ws, feeding.names(ws, names))
        feeding.attach(ws, locked="`pull` pins nothing")
        fetched = _pull(ws, wanted)
    finally:
        if link is not None:
            link.close()
        ws.close()
    if as_json:
        print(
            json.dumps(
                {
                    "data": [
                        {"name": p.name, "path": p.path, "size": p.size, "fetched": p.name in fetched}
                        for p in wanted
                    ]
                },
                indent=2,
            )
        )
        return 0
    for pin in wanted:
        how = "" if pin.name in fetched else ", here already"
        print(f"{terminal.style(pin.name, 'bold')}: `{pin.path}`, {size(pin.size)}{how}")
    print(terminal.style(f"{count(len(wanted), 'data source')} in place", "bold"))
    return 0


def _pins(ws: Workspace, names: list[str]) -> list[Pin]:
    found = []
    for name in names:
        pin = pins.current(ws, ws.sources[name])
        if pin is None:
            raise Failure(
                pins.unpinned(ws.sources[name], ws.lock),
                help=f"`mlpipec update {name}` pins what is there now",
            )
        found.append(pin)
    return found


def _pull(ws: Workspace, wanted: list[Pin]) -> set[str]:
    """Puts the data in place; the names of what was not."""
    ws.prepare()
    missing = [p for p in wanted if not placing.there(ws, p)]
    paths = [f"path {p.path}" for p in missing]
    with inuse.using(ws.cache_state):
        held = locks.acquire(
            ws.state / "locks",
            paths,
            [],
            ws.clock,
            threading.Event(),
            lambda holder: feeding.tell(f"waiting: {holder} works on it"),
        )
        assert held is not None  # nothing cancels it
        try:
            placing.put(ws, missing, feeding.tell)
        except OSError as e:
            raise Failure(f"data cannot be put in place: {e.strerror or e}") from e
        finally:
            held.release()
        ws.store.sync()
        ws.index.flush()
    return {p.name for p in missing}
