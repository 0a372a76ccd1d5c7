"""`mlpipec cache gc --in-remote`: what it removes, in words and as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlflowc.commands.caching import Told, open_hub, workspace
from mlflowc.errors import Failure
from mlflowc.runtime import collect as collecting
from mlflowc.runtime.collect import Limits
from mlflowc.runtime.progress import count, size
from mlflowc.runtime.remotes import names
from mlflowc.runtime.remotes.hub import Hub
from mlflowc.runtime.remotes.sweep import Sweeper, Swept
from mlflowc.runtime.remotes.transport import RemoteError

# Longer than any push. Seconds.
GRACE = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says: limits (seconds since a result was written, bytes), namespaces, seconds."""

    limits: tuple[float | None, float | None]
    namespaces: tuple[str, ...]
    grace: float
    refs: bool
    dry: bool


def sweep(file: str | None, remote: str | None, asked: Asked) -> Told:
    """Clears up the remote. Raises `Failure`."""
    keep, most = asked.limits
    with workspace(file) as ws, open_hub(ws, remote) as found:
        there = _namespaces(found)
        chosen = _chosen(found, asked.namespaces, there)
        locks = [ws.lock, *(collecting.locks_of_refs(ws.root) if asked.refs else [])]
        pinned = {entry.key for lock in locks for entry in lock.stages().values()}
        sweeper = Sweeper(
            found.engine,
            found.looking_in(there),
            found.library,
            chosen,
            [n for n in there if n not in chosen],
            pinned=pinned,
            now=ws.clock.now(),
            grace=asked.grace,
        )
        try:
            done = sweeper.sweep(Limits(keep, None if most is None else int(most)), dry=asked.dry)
        except RemoteError as e:
            if e.refused:
                e.help += (
                    "\nclearing up takes more than jobs may: `mlpipec cache policy` prints a sweeper's rules"
                )
            raise
    return _told(done, asked, chosen)


def _namespaces(found: Hub) -> list[str]:
    """All that are there."""
    parts = (f.name.split("/") for f in found.engine.names(f"{names.VERSION}/"))
    all_names = {"/".join(p[1:3]) if p[1] == "untrusted" else p[1] for p in parts}
    return sorted(n for n in all_names if names.is_namespace(n))


def _chosen(found: Hub, wanted: Iterable[str], there: list[str]) -> list[str]:
    own = found.may_write()
    chosen = list(dict.fromkeys(wanted)) or [own]
    if "all" in chosen:
        return there
    for name in chosen:
        if not names.is_namespace(name):
            raise Failure(
                f"`--namespace {name}` is none", help=f"there are: {', '.join(there) or 'none'}", code=2
            )
    return chosen


def _told(done: Swept, asked: Asked, chosen: list[str]) -> Told:
    would = "would go" if asked.dry else "removed"
    lines = []
    if done.repacked:
        be = "would be written" if asked.dry else "written"
        lines.append(f"{count(done.repacked, 'pack')} {be} anew, without what no result names")
    if done.later:
        lines.append(
            f"{size(done.later)} more that no result names can go with a call in {asked.grace / 3600:g} h, "
            "unless a push needs them until then"
        )
    lines.append(
        f"{', '.join(chosen)}: {count(done.records, 'result')} and {count(done.files, 'file')} {would}, "
        f"{size(done.bytes)}; {size(done.left)} stay"
    )
    values: dict[str, Any] = {
        "namespaces": chosen,
        "results": done.records,
        "files": done.files,
        "bytes": done.bytes,
        "later": done.later,
        "repacked": done.repacked,
        "left": done.left,
        "dry": asked.dry,
    }
    return lines, values
