"""The numbers of a result as its content has them.

A record, a bundle and the lock state the values of metrics, so that nobody has to have the files. Who wrote
them may have erred, or lied, while the files themselves have hashes: so wherever a file is here, its own
numbers count, and a result from elsewhere that states others is not taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mlflowc import plainfile
from mlflowc.frozen import replace
from mlflowc.ir.model import Stage
from mlflowc.runtime import metrics
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.lockfile import StageEntry
from mlflowc.runtime.metrics import UnreadableError
from mlflowc.runtime.records import Metrics, Number, OutputRecord, Record
from mlflowc.runtime.store import Store
from mlflowc.runtime.workspace import Workspace

# Counts the ways of reading metrics: what was kept by another one is not believed.
_FORMAT = 1


def stated(record: Record) -> list[OutputRecord]:
    """The outputs of which a record states numbers."""
    return [o for o in record.outputs if o.name in record.metrics]


def lie(record: Record, store: Store) -> str | None:
    """What a record states otherwise than content that is in the store; None where it does not."""
    for output in stated(record):
        if output.kind != "file":
            return f"it says numbers of `{output.path}`, and that is no file"
        data = _stored(store, output)
        if data is not None and _numbers(data, output) != record.metrics[output.name]:
            return f"it says other numbers of `{output.path}` than are in it"
    return None


def of_result(
    ws: Workspace, stage: Stage, key: str, outputs: Iterable[OutputRecord], said: Metrics
) -> Metrics:
    """The numbers of a result's metrics: of its content where that is to be had, else what was `said`."""
    kinds = {o.name for o in stage.outputs if o.type.kind == "metrics"}
    found = {o.name: _known(ws, key, o) for o in outputs if o.name in kinds}
    return {**said, **{name: numbers for name, numbers in found.items() if numbers is not None}}


def misstated(ws: Workspace, stage: Stage, locked: StageEntry) -> str | None:
    """The path of a file of which the lock states other numbers than are in it; None where there is none."""
    found = of_result(ws, stage, locked.key, locked.outputs, locked.metrics)
    said = locked.metrics
    return next((o.path for o in locked.outputs if found.get(o.name) != said.get(o.name)), None)


def entries(ws: Workspace, stages: Iterable[str]) -> dict[str, StageEntry]:
    """The lock's lines of these stages, with the numbers of `of_result`."""
    found = {s: ws.lock.stage(s) for s in stages if s in ws.stages}
    return {
        s: replace(e, metrics=of_result(ws, ws.stage(s), e.key, e.outputs, e.metrics))
        for s, e in found.items()
        if e is not None
    }


def unfounded(ws: Workspace, record: Record) -> str | None:
    """The path of an output whose numbers only the record tells: its content is nowhere."""
    return next((o.path for o in stated(record) if _known(ws, record.key, o) is None), None)


def _known(ws: Workspace, key: str, output: OutputRecord) -> dict[str, Number] | None:
    """By content and form, so that no file is read twice."""
    if output.kind != "file":
        return None
    name = f"metrics {_FORMAT} {output.hash} {_form(output)}"
    kept = ws.index.facts.get(name)
    if isinstance(kept, dict):
        return kept
    data = _stored(ws.store, output) or _in_place(ws.root, output)
    if data is None and ws.remote is not None and ws.remote.available(key, [output]):
        with contextlib.suppress(OSError):
            ws.remote.fetch([output])
        data = _stored(ws.store, output)
    if data is None:
        return None
    ws.index.facts[name] = numbers = _numbers(data, output)
    return numbers


def _stored(store: Store, output: OutputRecord) -> bytes | None:
    """The content, if it is in the store and as it should be."""
    # Not what the record says of its size: nobody compared that with anything.
    size = store.size(output.hash) if output.kind == "file" else None
    if size is None or size > metrics.LARGEST:
        return None
    return next((bytes(data) for _, data in store.contents([output.hash])), None)


def _in_place(root: Path, output: OutputRecord) -> bytes | None:
    path = root / output.path
    with contextlib.suppress(OSError):
        if path.stat().st_size <= metrics.LARGEST:
            data = plainfile.read(path)
            return data if hash_bytes(data) == output.hash else None
    return None


def _numbers(data: bytes, output: OutputRecord) -> dict[str, Number]:
    try:
        return metrics.finite(metrics.of_content(data, _form(output)))
    except UnreadableError:
        return {}


def _form(output: OutputRecord) -> str:
    return PurePosixPath(output.path).suffix.lower()
