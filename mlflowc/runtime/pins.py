"""Pins: which content a data source stands for, and what the source itself called it.

A pin is a line of `mlpipe.lock`, `data NAME {…}`. It counts while the declaration says the same, and the
files of the repository that decide which data it is (a `.dvc` file, a query) are what they were; then the
data is in keys by the pin's hash, and nobody has to have its bytes. They are needed when a stage that reads
them runs, and come from the cache, the remote cache or the source: see `Feeds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflowc.data.declared import checkable, digest
from mlflowc.ir import feeds
from mlflowc.ir.model import Data, DataRef, Input, Stage
from mlflowc.runtime import keys
from mlflowc.runtime.feedport import Pin
from mlflowc.runtime.lockfile import Entry, LockFile, changing
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.workspace import Workspace

KIND = "data"


def read(lock: LockFile, data: Data) -> Pin | None:
    """The pin of a data source, whether it counts or not."""
    raw = lock.get(KIND, data.name)
    if raw is None or not feeds.is_pinned(data):
        return None
    return Pin(
        data.name,
        feeds.standing(data),
        raw["kind"],
        raw["hash"],
        raw["size"],
        raw.get("exec", False),
        raw["version"],
        raw.get("type", ""),
    )


def contents(lock: LockFile) -> list[OutputRecord]:
    """What all pins of a lock stand for, wherever that stands in the project."""
    return [
        OutputRecord(name, name, e["kind"], e["hash"], e["size"], e.get("exec", False))
        for (kind, name), e in lock.entries.items()
        if kind == KIND
    ]


def current(ws: Workspace, data: Data) -> Pin | None:
    """The pin of a data source, if it counts."""
    raw = ws.lock.get(KIND, data.name)
    if raw is None or raw.get("from") != data.source or raw.get("source") != _said(data):
        return None
    return read(ws.lock, data) if raw.get("files", {}) == files_now(ws, data) else None


def files_now(ws: Workspace, data: Data) -> dict[str, str]:
    """The hashes of the files that decide which data it is; "" for one that is not there."""
    seen = {path: ws.checkout.look(path) for path in feeds.deciding(data)}
    return {path: s.hash if s else "" for path, s in seen.items()}


def entry(ws: Workspace, data: Data, pin: Pin) -> Entry:
    """The line of the lock that says so."""
    raw: Entry = {
        "from": data.source,
        "source": _said(data),
        "version": dict(pin.version),
        "kind": pin.kind,
        "hash": pin.hash,
        "size": pin.size,
    }
    files = files_now(ws, data)
    if pin.executable:
        raw["exec"] = True
    if pin.type:
        raw["type"] = pin.type
    if files:
        raw["files"] = files
    return raw


def type_of(data: Data) -> str:
    """The digest of its declared type, "" where that says nothing that is checked."""
    return digest(data.type) if checkable(data.type) else ""


def save(ws: Workspace, pinned: Mapping[str, Entry]) -> None:
    """Writes pins into the lock, beside what another process wrote meanwhile, and takes them into `ws.lock`.

    Raises `Failure`.
    """
    ws.prepare()
    with changing(ws.state):
        there = LockFile.read(ws.root)
        for name, raw in pinned.items():
            there = there.with_(KIND, name, raw)
            ws.lock = ws.lock.with_(KIND, name, raw)
        there.write(ws.root, ws.fs)


def used(ws: Workspace, stages: Iterable[Stage]) -> dict[str, Data]:
    """The pinned sources that stages read, by name."""
    return {name: ws.sources[name] for s in stages for name in names(s.inputs) if name in ws.pinned}


def names(inputs: Iterable[Input]) -> Iterable[str]:
    """The names of the data sources among inputs."""
    return dict.fromkeys(s.data for i in inputs for s in i.sources if isinstance(s, DataRef))


def ensure(ws: Workspace, stages: Iterable[Stage]) -> None:
    """Pins what these stages read and is not pinned, where somebody is there to do that. Raises `Failure`."""
    if ws.feeds is None or not ws.pinned:
        return
    found = {name: current(ws, data) for name, data in used(ws, stages).items()}
    missing = [name for name, pin in found.items() if pin is None]
    if missing:
        ws.feeds.pin(missing)
    stale = [p for n, p in found.items() if p is not None and p.type != type_of(ws.sources[n])]
    if stale:
        ws.feeds.examine(stale)


def inputs(ws: Workspace, stage: Stage) -> list[OutputRecord]:
    """What a stage reads of pinned data."""
    if not ws.pinned:
        return []
    found = [current(ws, data) for data in used(ws, [stage]).values()]
    return [p.output for p in found if p is not None]


def of_output(ws: Workspace, made: OutputRecord) -> Pin | None:
    """The pin that `inputs` made this of; None for what a stage made."""
    data = ws.sources.get(made.name)
    pin = current(ws, data) if data is not None and made.name in ws.pinned else None
    return pin if pin is not None and pin.output == made else None


def edited(ws: Workspace, data: Data, pin: Pin) -> str:
    """What is wrong with data that stands among the user's own files and is not what was pinned; else ""."""
    if feeds.is_ours(pin.path):
        return ""
    seen = ws.checkout.look(pin.path, source=False)
    if seen is None or (seen.kind, seen.hash) == (pin.kind, pin.hash):
        return ""
    if seen.kind == "other":
        seen = ws.checkout.look(pin.path)
        if seen is not None and (seen.kind, seen.hash) == (pin.kind, pin.hash):
            return ""
    said = " and ".join(f"`{p}`" for p in feeds.deciding(data)) or "its source"
    return f"`{pin.path}` is not what {said} says: somebody changed it"


def unpinned(data: Data, lock: LockFile) -> str:
    """Why it has no pin that counts."""
    if lock.get(KIND, data.name) is None:
        return f"data `{data.name}` is not pinned yet"
    raw = lock.get(KIND, data.name) or {}
    if raw.get("from") == data.source and raw.get("source") == _said(data):
        changed = " and ".join(f"`{p}`" for p in feeds.deciding(data))
        return f"data `{data.name}` was pinned before {changed} changed"
    return f"data `{data.name}` was pinned from another source than is declared now"


def key_of(pin: Pin) -> str:
    """The key that the content of a pin has in a remote cache: whoever pins the same content finds it."""
    return keys.digest(_components(pin), "mlpipe-data")


def record_of(pin: Pin) -> Record:
    """The content of a pin as a result, for bundles and remotes, which carry results."""
    return Record(key_of(pin), f"{KIND} {pin.name}", _components(pin), (pin.output,))


EDITED = "put it under version control (`dvc add`), or delete the file: it is fetched again"


def _components(pin: Pin) -> dict[str, str]:
    said: list[object] = [pin.path, pin.kind, pin.hash, pin.executable]
    return {KIND: keys.canonical(said)}


def _said(data: Data) -> Entry:
    """The arguments that decide which data it is, as the lock has them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in data.args
        if name not in feeds.ACCESS
    }


def held(ws: Workspace, stages: Iterable[Stage]) -> list[Record]:
    """The pinned data that stages read, as results, as far as its content is in the cache."""
    found = [current(ws, data) for data in used(ws, stages).values()]
    return [record_of(p) for p in found if p is not None and ws.store.has_output(p.output)]


def staging(ws: Workspace, data: Data) -> Path:
    """The folder in which fetches of a source are kept between tries."""
    said = keys.canonical([data.source, _said(data)])
    return ws.state / "fetch" / f"{data.name}-{keys.digest({KIND: said}, 'mlpipe-fetch')[:16]}"
