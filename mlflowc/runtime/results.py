"""The result that a key has: in place, in the cache, in the remote, or none.

Numbers of metrics are those of the content, wherever that is to be had (`mlflowc.runtime.measured`). Two
machines may have made different things from one key: what was committed goes first, then what is here; what
others made counts where the content of both is lost.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from mlflowc.frozen import replace
from mlflowc.ir.model import Stage
from mlflowc.runtime import checked, measured, metrics
from mlflowc.runtime.lockfile import StageEntry
from mlflowc.runtime.records import Metrics, OutputRecord, Record
from mlflowc.runtime.workspace import Workspace

_LOST = "the content of its result here is lost, the remote has another one"
_Result = TypeVar("_Result", StageEntry, Record)


class Found(NamedTuple):
    """A result. With `restore` it has to be put in place first, for that `reason`; `record` is that of the
    key, if it was needed to decide."""

    restore: bool
    reason: str
    outputs: tuple[OutputRecord, ...]
    metrics: Metrics
    record: Record | None


class Results:
    """Those of one workspace. Safe to use from several threads. With `stored`, one that the cache has whole
    has to be put in place, even if it stands there: nobody looks.
    """

    def __init__(self, ws: Workspace, *, stored: bool = False) -> None:
        self._ws = ws
        self._stored = stored

    def of(self, stage: Stage, key: str, *, lazy: bool) -> Found | None:
        """The result of `key`. With `lazy`, one that the cache or the lock knows will do, wherever its
        content is."""
        ws = self._ws
        locked = self._sound(stage, key, ws.lock.stage(stage.id))
        if self._stored and (whole := self._whole(stage, key, locked)):
            return whole
        if locked and not lazy and self._in_place(locked.outputs):
            return Found(False, "", locked.outputs, locked.metrics, None)
        record = ws.store.record(key)
        if record is None and ws.remote is not None:
            record = ws.remote.record(key)
        record = self._sound(stage, key, record)
        if lazy:
            return self._known(stage, key, locked, record)
        if record is None:
            return None
        if self._in_place(record.outputs):
            return Found(False, "", record.outputs, record.metrics, record)
        for result in (locked, record):
            if result is not None and self._cached(key, result.outputs):
                reason = self._misplaced(result.outputs)
                return Found(True, reason, result.outputs, result.metrics, record)
        other = self._elsewhere(stage, key, record)
        return Found(True, _LOST, other.outputs, other.metrics, other) if other else None

    def _whole(self, stage: Stage, key: str, locked: StageEntry | None) -> Found | None:
        """The result that the cache has, if it is the one whatever stands in the places of its outputs."""
        record = self._sound(stage, key, self._ws.store.record(key))
        if record is None or (locked and locked.outputs != record.outputs):
            return None
        # Whether they are of their types is asked of those that stand in place.
        if checked.outputs(stage, record.outputs):
            return None
        there = all(self._ws.store.has_output(o, self._ws.root / o.path) for o in record.outputs)
        return Found(True, "", record.outputs, record.metrics, record) if there else None

    def _known(
        self, stage: Stage, key: str, locked: StageEntry | None, record: Record | None
    ) -> Found | None:
        """A result for stages behind to build on: best one whose content is here, for they may need it."""
        if record is not None and not self._cached(key, record.outputs):
            record = self._elsewhere(stage, key, record) or (None if locked else record)
        if record is not None:
            return Found(False, "", record.outputs, record.metrics, record)
        return Found(False, "", locked.outputs, locked.metrics, None) if locked else None

    def _elsewhere(self, stage: Stage, key: str, lost: Record) -> Record | None:
        """Another result of the key than the one whose content is lost here, from the remote."""
        remote = self._ws.remote
        other = self._sound(stage, key, remote.record(key)) if remote is not None else None
        if other is None or other.outputs == lost.outputs or not self._cached(key, other.outputs):
            return None
        return other

    def _cached(self, key: str, outputs: tuple[OutputRecord, ...]) -> bool:
        ws = self._ws
        return all(ws.store.has_output(o, ws.root / o.path) for o in outputs) or (
            ws.remote is not None and ws.remote.available(key, outputs)
        )

    def _sound(self, stage: Stage, key: str, result: _Result | None) -> _Result | None:
        """The result with the numbers of its content; None for that of another key, or if it does not have
        all that the stage declares now (metric fields are not in the key).
        """
        if result is None or result.key != key:
            return None
        if {(o.name, o.path) for o in result.outputs} != {
            (o.name, o.path.rstrip("/")) for o in stage.outputs
        }:
            return None
        numbers = measured.of_result(self._ws, stage, key, result.outputs, result.metrics)
        for output in stage.outputs:
            if output.type.kind == "metrics" and metrics.problem(output, numbers.get(output.name, {})):
                return None
        return result if numbers == result.metrics else replace(result, metrics=numbers)

    def _in_place(self, outputs: tuple[OutputRecord, ...]) -> bool:
        return all(self._at(o) == "" for o in outputs)

    def _at(self, output: OutputRecord) -> str:
        seen = self._ws.checkout.look(output.path, source=False)
        if seen is None:
            return "is missing"
        same = (seen.kind, seen.hash, seen.executable) == (output.kind, output.hash, output.executable)
        return "" if same else "was changed"

    def _misplaced(self, outputs: tuple[OutputRecord, ...]) -> str:
        return next((f"`{o.path}` {what}" for o in outputs if (what := self._at(o))), "")
