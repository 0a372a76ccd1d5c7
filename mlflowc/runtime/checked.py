"""Files against their declared types: what a stage reads from outside, and what it writes.

A verdict depends on content and type alone, so it is kept in the index under both, and a result's record says
what was found to be good on the machine that made it. An unchanged file is never read twice for this.

What one stage hands to another is not checked again: it was when it was written, and the compiler has proved
that the types fit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlflowc.check import lattice
from mlflowc.data.declared import checkable, digest
from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.ir.model import AssetRef, DataRef, FileType, GlobRef, PathRef, Place, Stage, StageOutput
from mlflowc.runtime import pins
from mlflowc.runtime.checkout import Seen
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.workspace import Workspace

if TYPE_CHECKING:
    from mlflowc.data.findings import Verdict

# Two stages that read one file at the same time check it once.
_one_at_a_time = threading.Lock()


class Item(NamedTuple):
    """A file or folder with a type that is checked. `what` is what messages call it."""

    what: str
    path: str
    hash: str
    type: FileType
    place: Place

    @property
    def name(self) -> str:
        """The name of its verdict: the same content has the same verdict under the same type."""
        return f"{self.path} {digest(self.type)}"


def inputs(
    ws: Workspace,
    stage: Stage,
    seen: Iterable[tuple[Seen, bool]],
    paths: Callable[[DataRef | PathRef | GlobRef], Iterable[str]],
) -> list[Item]:
    """What the stage reads that no stage writes. `seen` is what its key was made from; `paths` are those of
    a source.
    """
    found: dict[tuple[str, str], Item] = {}
    hashes: dict[str, str] | None = None
    for entry in stage.inputs:
        for source in entry.sources:
            if isinstance(source, StageOutput | AssetRef):
                continue
            types = [(entry.type, stage.place)]
            pin = None
            if isinstance(source, DataRef):
                data = ws.sources[source.data]
                types.insert(0, (data.type, data.place))
                pin = pins.current(ws, data) if source.data in ws.pinned else None
            # What is pinned was found to be of its type then.
            types = [(t, p) for t, p in types if checkable(t) and (pin is None or pin.type != digest(t))]
            if not types:
                continue
            hashes = {s.path: s.hash for s, _ in seen} if hashes is None else hashes
            if pin is not None:
                hashes[pin.path] = pin.hash
            what = f"data source `{source.data}`" if isinstance(source, DataRef) else f"input `{entry.name}`"
            for path in paths(source):
                path = path.rstrip("/")
                for type, place in types:
                    item = Item(what, path, hashes.get(path, ""), type, place)
                    found.setdefault((path, digest(type)), item)
    return list(found.values())


def outputs(stage: Stage, made: Iterable[OutputRecord]) -> list[Item]:
    """What the stage writes."""
    by_name = {o.name: o for o in made}
    return [
        Item(f"output `{o.name}`", o.path.rstrip("/"), by_name[o.name].hash, o.type, stage.place)
        for o in stage.outputs
        if checkable(o.type) and o.name in by_name
    ]


def unfit(ws: Workspace, items: Iterable[Item], record: Record | None, key: str) -> Item | None:
    """The first file that is not of its type; None when all are. Reads what nobody has checked yet."""
    for item in items:
        if _kept(ws, item) is None:
            record = record or ws.store.record(key)
            if record is not None and item.name in record.checked:
                continue
            if feeds.is_ours(item.path) and not (ws.root / item.path).exists():
                # Pinned, and not here. It is checked before anything reads it.
                continue
        if not verdict(ws, item).ok:
            return item
    return None


def verdict(ws: Workspace, item: Item, where: Path | None = None) -> Verdict:
    """The verdict on what is at the item's path (or at `where`), which has its hash. Raises `Failure` when
    there is none.
    """
    with _one_at_a_time:
        found = _kept(ws, item)
        if found is None:
            from mlflowc.data import findings, validate

            found = validate.check(where or ws.root / item.path, item.type, item.path)
            if item.hash:
                ws.index.facts[_fact(item)] = findings.encode(found)
        return found


def demand(ws: Workspace, items: Iterable[Item], where: Path | None = None) -> None:
    """Raises `Failure` with what is wrong when a file (or the one at `where`) is not of its type."""
    for item in items:
        found = verdict(ws, item, where)
        if not found.ok:
            from mlflowc.data.findings import lines

            declared = f"{item.place.file}:{item.place.line}"
            head = f"{item.what}: `{item.path}` is not what `{lattice.spell(item.type)}` says ({declared})"
            raise Failure(
                "\n".join([head, *(f"  {line}" for line in lines(found))]),
                help="mend the data, or what the pipeline declares about it",
            )


def _kept(ws: Workspace, item: Item) -> Verdict | None:
    raw = ws.index.facts.get(_fact(item)) if item.hash else None
    if raw is None:
        return None
    from mlflowc.data.findings import decode

    try:
        return decode(raw)
    except ValueError:
        return None


def _fact(item: Item) -> str:
    return f"type {item.hash} {digest(item.type)}"
