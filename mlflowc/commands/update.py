"""`mlpipec update`: takes in what data sources have now, and pins it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mlflowc import project, terminal
from mlflowc.commands import complete, feeding
from mlflowc.commands.options import file_option
from mlflowc.runtime.progress import size
from mlflowc.runtime.workspace import open_workspace

if TYPE_CHECKING:
    from mlflowc.runtime.feedport import Pin
    from mlflowc.sources.fetcher import News, Updated


@click.command("update")
@click.argument("names", metavar="[DATA]...", nargs=-1, shell_complete=complete.data)
@click.option("-n", "--dry", "--dry-run", "dry", is_flag=True, help="Only say what the sources have now.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@file_option
def command(names: tuple[str, ...], dry: bool, as_json: bool, file: str | None) -> int:
    """Fetch what data sources have now, and pin it in mlpipe.lock.

    DATA is the name of a data source; without names, all of them. What is fetched must be of its declared
    type, else nothing is pinned. What was pinned before stays in the cache.
    """
    loaded = project.load(file)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        wanted = feeding.names(ws, names)
        fetcher = feeding.fetcher(ws)
        if dry:
            return _show_news(fetcher.news(wanted), as_json)
        return _show(fetcher.update(wanted), as_json)
    finally:
        ws.close()


def _show(done: list[Updated], as_json: bool) -> int:
    if as_json:
        print(json.dumps({"data": [_updated(u) for u in done]}, indent=2))
        return 0
    for u in done:
        print(feeding.said(u))
    fresh = sum(u.fresh for u in done)
    if not done:
        print("no data is pinned in this pipeline")
    elif fresh:
        print(terminal.style(f"{fresh} of {len(done)} updated; commit `mlpipe.lock`", "bold"))
    else:
        print(terminal.style("nothing new", "bold"))
    return 0


def _show_news(found: list[News], as_json: bool) -> int:
    from mlflowc.sources.fetcher import words

    if as_json:
        print(
            json.dumps(
                {
                    "data": [
                        {
                            "name": n.data.name,
                            "changed": n.changed,
                            "pinned": _pinned(n.before),
                            "version": dict(n.version),
                            "size": n.size,
                        }
                        for n in found
                    ]
                },
                indent=2,
            )
        )
        return 0
    for n in found:
        there = ", ".join(filter(None, (size(n.size) if n.size is not None else "", words(n.version))))
        name = terminal.style(n.data.name, "bold")
        if n.before is None:
            print(f"{name}: not pinned; there is {there or 'something'}")
        elif n.changed is None:
            print(
                f"{name}: pinned {feeding.said_of(n.before)}; its source cannot tell whether it has changed"
            )
        elif n.changed:
            print(f"{name}: {feeding.said_of(n.before)}\n{'':{len(n.data.name)}}  → {there}")
        else:
            print(f"{name}: up to date: {feeding.said_of(n.before)}")
    if any(n.changed for n in found):
        print(terminal.style("`mlpipec update` takes it in", "bold"))
    return 0


def _updated(u: Updated) -> dict[str, Any]:
    return {"name": u.data.name, "fresh": u.fresh, "before": _pinned(u.before), "pinned": _pinned(u.pin)}


def _pinned(pin: Pin | None) -> dict[str, Any] | None:
    if pin is None:
        return None
    return {"hash": pin.hash, "kind": pin.kind, "size": pin.size, "version": dict(pin.version)}
