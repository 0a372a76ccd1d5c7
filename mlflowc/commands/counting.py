"""What `mlpipec cache stat` says: how much there is here and in the remote."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from mlflowc.commands import carrying, sharing
from mlflowc.commands.caching import Told, workspace
from mlflowc.runtime import survey
from mlflowc.runtime.progress import count, size
from mlflowc.runtime.remotes import names
from mlflowc.runtime.remotes.hub import Hub
from mlflowc.runtime.remotes.transport import RemoteError


def stat(file: str | None, remote: str | None) -> Told:
    """How much there is. A remote that cannot be asked is a warning."""
    with workspace(file) as ws:
        here = survey.stat(ws.store)
        shared = f" (shared, `{ws.shared.folder}`)" if ws.shared is not None else ""
        lines = [*carrying.left_behind(ws), f"cache{shared}: {_amounts(here)}"]
        values: dict[str, Any] = {"cache": here}
        if ws.shared is not None:
            values["folder"] = str(ws.shared.folder)
        place = sharing.place(ws, remote)
        if place is not None:
            try:
                with contextlib.closing(Hub(place, ws.store)) as hub:
                    there = _count_remote(hub)
            except RemoteError as e:
                sharing.warn(e.message, e.help)
                return lines, values
            values["remote"] = {"address": hub.engine.transport.shown, "namespaces": there}
            lines += [f"{place.address} {space}: {_amounts(there[space])}" for space in sorted(there)]
            lines += [] if there else [f"{place.address}: empty"]
    return lines, values


def _amounts(found: Mapping[str, int]) -> str:
    """Small files share packs: files are not those of the outputs."""
    return (
        f"{count(found['results'], 'result')}, objects and packs: {found['contents']}, {size(found['bytes'])}"
    )


def _count_remote(hub: Hub) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, length, _ in hub.engine.names(f"{names.VERSION}/"):
        parts = name.split("/")
        namespace = "/".join(parts[1:3]) if parts[1] == "untrusted" else parts[1]
        sums = found.setdefault(namespace, {"results": 0, "contents": 0, "files": 0, "bytes": 0})
        sums["results"] += "/records/" in name
        sums["contents"] += "/objects/" in name or "/packs/" in name
        sums["files"] += 1
        sums["bytes"] += length
    return found
