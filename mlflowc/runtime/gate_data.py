"""The numbers of a data source, for gates: such as the metrics of what is deployed now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.runtime import baseline, metrics, pins

if TYPE_CHECKING:
    from pathlib import Path

    from mlflowc.runtime.workspace import Workspace


def figures(ws: Workspace, name: str) -> Mapping[str, float]:
    """The numbers of the data source `name`, fetched if need be. Raises LookupError with the reason."""
    data = ws.sources[name]
    standing = feeds.standing(data)
    try:
        path = _pinned(ws, name) if feeds.is_pinned(data) else ws.root / standing
        return metrics.read(path, PurePosixPath(standing).suffix.lower())
    except metrics.UnreadableError as e:
        raise LookupError(f"data source `{name}`: `{standing}` cannot be used: {e}") from None
    except Failure as e:
        raise LookupError(f"data source `{name}`: {e.message}") from None


def _pinned(ws: Workspace, name: str) -> Path:
    data = ws.sources[name]
    pin = pins.current(ws, data)
    if pin is None and ws.feeds is not None:
        ws.feeds.pin([name])
        pin = pins.current(ws, data)
    if pin is None:
        raise LookupError(f"data source `{name}` is not pinned: `mlpipec update {name}` does that")
    path = baseline.locate(ws.root, ws.store, pin.output)
    if path is None and ws.feeds is not None:
        ws.feeds.bring([pin], lambda _: None)
        path = baseline.locate(ws.root, ws.store, pin.output)
    if path is None:
        raise LookupError(f"the content of data source `{name}` is not here")
    return path
