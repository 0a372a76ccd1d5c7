"""What stages read, into its place: results from the cache or the remote cache, data also from its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.runtime import pins, publish
from mlflowc.runtime.feedport import Pin
from mlflowc.runtime.plan import Outputs
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.workspace import Workspace


def provide(ws: Workspace, inputs: Sequence[OutputRecord], note: Callable[[str], None]) -> None:
    """Sees to it that what other stages made, and pinned data, is in place, as it should be.

    Raises `Failure`, `OSError`.
    """
    pinned = {p.output: p for made in inputs if (p := pins.of_output(ws, made)) is not None}
    if pinned:
        put(ws, list(pinned.values()), note)
    for made in inputs:
        if made in pinned:
            continue
        ws.checkout.forget(made.path)
        if not bring(ws, (made,)):
            raise Failure(
                f"`{made.path}`, made by another stage, is neither in place nor in the cache",
                help="run that stage again, or get the bundle of the job that makes it",
            )


def bring(ws: Workspace, outputs: Outputs) -> bool:
    """Puts results in place, from the cache or by way of it from the remote."""
    if publish.restore(ws, outputs):
        return True
    return ws.remote is not None and ws.remote.fetch(outputs) and publish.restore(ws, outputs)


def put(ws: Workspace, wanted: Sequence[Pin], note: Callable[[str], None]) -> None:
    """Puts data where it stands; what is there already stays. Raises `Failure`, `OSError`.

    Whoever calls it holds the paths, or is alone.
    """
    for pin in wanted:
        ws.checkout.forget(pin.path)
        problem = pins.edited(ws, ws.sources[pin.name], pin)
        if problem:
            raise Failure(problem, help=pins.EDITED)
    gather(ws, [p for p in wanted if not there(ws, p)], note)
    for pin in wanted:
        if not there(ws, pin) and not publish.restore(ws, (pin.output,)):
            raise Failure(f"data `{pin.name}` is damaged in the cache", help="run again: it is fetched anew")


def there(ws: Workspace, pin: Pin) -> bool:
    """Whether the data is in its place. Among the user's own files, a link to it will do."""
    seen = ws.checkout.look(pin.path, source=False)
    if seen is not None and seen.kind == "other" and not feeds.is_ours(pin.path):
        seen = ws.checkout.look(pin.path)
    return seen is not None and (seen.kind, seen.hash, seen.executable) == (
        pin.kind,
        pin.hash,
        pin.executable,
    )


def gather(ws: Workspace, wanted: Sequence[Pin], note: Callable[[str], None]) -> None:
    """Brings the content of pins into the cache. Raises `Failure`."""
    missing = [p for p in wanted if not ws.store.has_output(p.output)]
    if missing and ws.remote is not None:
        keys = {p: pins.key_of(p) for p in missing}
        ws.remote.expect(keys.values())
        for pin, key in keys.items():
            if ws.remote.record(key) is not None and ws.remote.available(key, [pin.output]):
                ws.remote.fetch([pin.output])
        missing = [p for p in missing if not ws.store.has_output(p.output)]
    if not missing:
        return
    if ws.feeds is None:
        raise Failure(
            f"data `{missing[0].name}` is not here: `{missing[0].path}`",
            help=f"`mlpipec pull {missing[0].name}` fetches it",
        )
    ws.feeds.bring(missing, note)
