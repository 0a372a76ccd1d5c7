"""Results that are not the same although everything that decides them is: noticed, and told.

One key, other outputs: the command is not deterministic, or depends on something that is not declared. The
first result stays in the cache while it is whole. What a command has just made stands in its place and in
`mlpipe.lock` nevertheless: whoever forced a run wants to see what came out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from mlflowc.frozen import dataclass
from mlflowc.runtime.records import Metrics, Number, OutputRecord, Record
from mlflowc.runtime.workspace import Workspace

_SHOWN = 12
_LINES = 5
_CAUSES = (
    "pin what is random (seeds, order, times, threads), or declare what else decides it"
    " (`in`, `param`, a variable of its `env`)"
)


class Kept(StrEnum):
    """Which of two results the cache has.

    `FIRST`: the one of before; the new one is in place. `HERE`: the one of before; the other one came from
    elsewhere and is left out. `NEW`: the new one, for the first could not be used. `LOCKED`: the one that
    is here, for the other one is only named by `mlpipe.lock`. `REMOTE`: here the
    one, in the remote the first. `THEIRS`: that of the remote, for the content of the one here was lost.
    """

    FIRST = "first"
    HERE = "here"
    NEW = "new"
    LOCKED = "not the locked"
    REMOTE = "in the remote"
    THEIRS = "from the remote"


_HELP = {
    Kept.FIRST: "the cache keeps the first result; the new one is in place and in `mlpipe.lock`"
    " (with the lock of before, `mlpipec run` brings the first back)",
    Kept.HERE: "the result that is here stays, the other one is left out",
    Kept.NEW: "the first result could not be used any more: the new one takes its place in the cache",
    Kept.REMOTE: "the first stays in the remote, and others get that; here it is the other one",
    Kept.THEIRS: "the content of the result that was made here is lost: what the remote has takes its place",
    Kept.LOCKED: "`mlpipe.lock` named another result, which is not here; now it names this one",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """An output in both results: its hashes (None where a result has no such output), and the fields of
    metrics that differ, as `(name, first, now)`.
    """

    output: str
    path: str
    first: str | None
    now: str | None
    fields: tuple[tuple[str, Number | None, Number | None], ...] = ()
    mode: bool = False

    def __str__(self) -> str:
        """`model (model.bin): first 0f3c…, now 77ab…`."""
        text = f"{self.output} (`{self.path}`): "
        if self.mode:
            return text + "only its exec bit differs"
        text += f"first {_short(self.first)}, now {_short(self.now)}"
        shown = [f"{n} {_number(a)} → {_number(b)}" for n, a, b in self.fields[:_LINES]]
        more = len(self.fields) - len(shown)
        return text + (f"; {', '.join(shown)}" if shown else "") + (f", and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Unlike:
    """Two results of one key. `where` says where the first is from, if that is known."""

    stage: str
    key: str
    kept: Kept
    outputs: tuple[Changed, ...]
    where: str = ""

    @property
    def message(self) -> str:
        """What happened, over several lines."""
        where = f" (the first: {self.where})" if self.where else ""
        lines = [f"`{self.stage}` came out differently, though nothing that decides it changed{where}"]
        lines += [f"  {o}" for o in self.outputs[:_LINES]]
        if len(self.outputs) > _LINES:
            lines.append(f"  and {len(self.outputs) - _LINES} more outputs")
        return "\n".join(lines)

    @property
    def help(self) -> str:
        """Which result is where now, and what to do."""
        return f"{_HELP[self.kept]}\n{_CAUSES}"

    @property
    def note(self) -> str:
        """One line, for the history."""
        return "came out differently: " + ", ".join(
            f"{o.output} {_short(o.first)} → {_short(o.now)}" for o in self.outputs
        )

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "stage": self.stage,
            "key": self.key,
            "kept": self.kept.value,
            "outputs": [
                {
                    "output": o.output,
                    "path": o.path,
                    "first": o.first,
                    "now": o.now,
                    "metrics": {n: {"first": a, "now": b} for n, a, b in o.fields},
                }
                for o in self.outputs
            ],
        }


def compare(
    first: Iterable[OutputRecord], first_metrics: Metrics, now: Iterable[OutputRecord], metrics: Metrics
) -> tuple[Changed, ...]:
    """The outputs whose content, kind or exec bit is not the same; empty when all are."""
    before, after = {o.name: o for o in first}, {o.name: o for o in now}
    found = []
    for name in sorted({*before, *after}):
        a, b = before.get(name), after.get(name)
        if a is not None and b is not None and a.same_content(b):
            continue
        there = b or a
        assert there is not None
        old, new = first_metrics.get(name, {}), metrics.get(name, {})
        fields = tuple((f, old.get(f), new.get(f)) for f in sorted({*old, *new}) if old.get(f) != new.get(f))
        mode = a is not None and b is not None and (a.kind, a.hash) == (b.kind, b.hash)
        found.append(Changed(name, there.path, a.hash if a else None, b.hash if b else None, fields, mode))
    return tuple(found)


def _short(digest: str | None) -> str:
    return digest[:_SHOWN] if digest else "none"


def _number(value: Number | None) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def put(ws: Workspace, record: Record, *, forced: bool = False) -> Unlike | None:
    """Adds the record of what a command has just made; what was found where its key has another result.

    A first result that is whole stays, if it was not for want of a usable one that the command ran
    (`forced`). Raises `OSError`.
    """
    first = ws.store.record(record.key)
    changed = compare(first.outputs, first.metrics, record.outputs, record.metrics) if first else ()
    if first is None or not changed:
        ws.store.put_record(record)
        return against_lock(ws, record.stage, record.key, record.outputs, record.metrics)
    if forced and all(ws.store.has_output(o) for o in first.outputs):
        return Unlike(record.stage, record.key, Kept.FIRST, changed, origin(first))
    ws.store.put_record(record)
    return Unlike(record.stage, record.key, Kept.NEW, changed, origin(first))


def against_lock(
    ws: Workspace, stage: str, key: str, outputs: tuple[OutputRecord, ...], metrics: Metrics
) -> Unlike | None:
    """What is different from the result that `mlpipe.lock` names for the same key."""
    locked = ws.lock.stage(stage)
    if locked is None or locked.key != key:
        return None
    changed = compare(locked.outputs, locked.metrics, outputs, metrics)
    return Unlike(stage, key, Kept.LOCKED, changed, "`mlpipe.lock`") if changed else None


def restored(
    ws: Workspace,
    record: Record | None,
    stage: str,
    key: str,
    outputs: tuple[OutputRecord, ...],
    metrics: Metrics,
) -> Unlike | None:
    """What is different in a result that was just put in place, and whose `record` may be that of others."""
    first = ws.store.record(key)
    if first is None and record is not None:
        # It came with the plan, and the disk would not have it then.
        with contextlib.suppress(OSError):
            ws.store.put_record(record)
    if first is not None and record is not None and record.outputs == outputs:
        changed = compare(first.outputs, first.metrics, outputs, metrics)
        if changed:
            with contextlib.suppress(OSError):
                ws.store.put_record(record)
            return Unlike(stage, key, Kept.THEIRS, changed, origin(first))
    return against_lock(ws, stage, key, outputs, metrics)


def origin(record: Record) -> str:
    """When, where and at which commit a record was made, as far as it says."""
    parts = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.started))] if record.started else []
    parts += [f"on {record.host}"] if record.host else []
    parts += [f"at commit {record.commit[:9]}"] if record.commit else []
    return " ".join(parts)
