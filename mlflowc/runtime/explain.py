"""Why a key is another than before: the difference between two sets of components, in words."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mlflowc.ir import feeds
from mlflowc.ir.model import Stage
from mlflowc.runtime import keys
from mlflowc.runtime.endings import INTERRUPTED

if TYPE_CHECKING:
    from mlflowc.runtime.lockfile import StageEntry
    from mlflowc.runtime.records import Record
    from mlflowc.runtime.workspace import Workspace

_LOOK_BACK = 20
# So many parameters are named in a line.
_PARAMS = 3


class Change(NamedTuple):
    """A component that differs; `before` is None when it is new, `now` when it is gone."""

    component: str
    before: str | None
    now: str | None

    @property
    def text(self) -> str:
        """One line for a reader."""
        kind, _, name = self.component.partition(":")
        what = {
            "command": "the command",
            "input": f"input `{name}`",
            "param": f"parameter `{name}`",
            "each": f"`{name}` of `each`",
            "code": f"code `{name}`",
            "env": f"environment: {name}",
            "output": f"output `{name}`",
            "secret": f"secret `{name}`",
            "vary": f"what is tried of `{name}`",
            "search": "the search",
            "goal": "the goal",
            "parallel": "how many trials are chosen at once",
        }.get(kind, self.component)
        if self.before is None:
            return f"{what} is new"
        if self.now is None:
            return f"{what} is gone"
        if kind == "input":
            return f"{what} changed: {_inputs(self.before, self.now)}"
        if kind in ("param", "each", "vary", "search", "goal", "parallel") or (
            kind in ("env", "output") and len(self.before) + len(self.now) < 100
        ):
            return f"{what} changed: {self.before} → {self.now}"
        if kind == "command":
            return f"{what} changed: {shown_command(self.before)} → {shown_command(self.now)}"
        return f"{what} changed"


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    """The components that differ, in the order in which a reader cares."""
    order = ("vary", "search", "goal", "param", "each", "input", "code", "command", "env", "output", "secret")
    names = [n for n in before.keys() | now.keys() if before.get(n) != now.get(n)]

    def rank(name: str) -> tuple[int, str]:
        kind = name.partition(":")[0]
        return (order.index(kind) if kind in order else len(order), name)

    return [Change(n, before.get(n), now.get(n)) for n in sorted(names, key=rank)]


def nearest_record(ws: Workspace, stage: Stage, components: Mapping[str, str], key: str) -> Record | None:
    """Of the stage's earlier results, the one whose key has the fewest other components; the latest of
    equals.
    """
    candidates: list[str] = []
    locked = ws.lock.stage(stage.id)
    if locked is not None:
        candidates.append(locked.key)
    candidates += [r.key for r in ws.index.history(stage.id, _LOOK_BACK) if r.outcome != "failed"]
    best: tuple[int, Record] | None = None
    for candidate in dict.fromkeys(candidates):
        record = None if candidate == key else ws.store.record(candidate)
        if record is not None:
            distance = len(changes(record.components, components))
            if best is None or distance < best[0]:
                best = (distance, record)
    return best[1] if best else None


def reason_to_run(ws: Workspace, stage: Stage, key: str, components: Mapping[str, str]) -> str:
    """Why there is no result for `key`, in a line."""
    locked = ws.lock.stage(stage.id)
    if locked is not None and locked.key == key:
        from mlflowc.runtime import edited  # only where content is lost

        return edited.told(ws, key) or "its result is in the lock file, but not in this cache"
    before = nearest_record(ws, stage, components, key)
    if before is None and locked is None:
        return _without_result(ws, stage, key)
    if before is None:
        found = changed_params(ws, stage)
        lines = [c.text for c in found[:_PARAMS]]
        if locked and lines and (found[_PARAMS:] or not only_params(components, locked)):
            lines.append("and more")
        return ", ".join(lines) or "something changed since it last ran"
    lines = [c.text for c in changes(before.components, components)]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return lines[0] + more if lines else "its result is gone from the cache"


def _without_result(ws: Workspace, stage: Stage, key: str) -> str:
    """Why a stage has none, neither here nor in the lock: as the history tells."""
    last = next(iter(ws.index.history(stage.id, 1)), None)
    if last is None:
        return "it never ran here"
    if last.outcome != "failed":
        return "its result is gone from the cache"
    import shlex  # few stages have failed

    same_day = time.localtime(last.finished)[:3] == time.localtime(ws.clock.now())[:3]
    when = time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", time.localtime(last.finished))
    log = f" (`mlpipec show {shlex.quote(stage.id)} --log`)" if last.key == key else "; it changed since"
    if last.note == INTERRUPTED:
        return f"it was interrupted here at {when}{log}"
    why = last.note.partition("\n")[0]
    return f"it failed here at {when}: {why}{log}"


def changed_params(ws: Workspace, stage: Stage) -> list[Change]:
    """The parameters that have other values now than in the stage's line of the lock."""
    locked = ws.lock.stage(stage.id)
    now = {n: keys.canonical(v) for n, v in ws.values(stage).items()}
    then = {n: keys.canonical(v) for n, v in locked.params.items()} if locked else now
    return [
        Change(f"param:{n}", then.get(n), now.get(n))
        for n in sorted(then.keys() | now.keys())
        if then.get(n) != now.get(n)
    ]


def only_params(components: Mapping[str, str], locked: StageEntry) -> bool:
    """Whether the key of these components would be the lock's with the parameters of the lock."""
    others = {n: t for n, t in components.items() if not n.startswith("param:")}
    params = {f"param:{n}": keys.canonical(v) for n, v in locked.params.items()}
    return keys.digest({**others, **params}) == locked.key


def shown_command(component: str) -> str:
    """A command's component, as it was written."""
    try:
        *commands, folder = json.loads(component)
        text = " && ".join(
            "".join(p if isinstance(p, str) else "{{" + _slot_name(p) + "}}" for p in command)
            for command in commands
        )
    except (ValueError, TypeError):
        return component
    return f"`{text}`" + (f" in `{folder}`" if folder else "")


def _slot_name(slot: list[str]) -> str:
    if slot[0] in ("inputs", "outputs", "params"):
        return slot[0]
    return f"params.{slot[1]}" if slot[0] == "param" else slot[1]


def _inputs(before: str, now: str) -> str:
    old = {path: (kind, digest) for path, kind, digest in json.loads(before)}
    new = {path: (kind, digest) for path, kind, digest in json.loads(now)}
    words = [f"{_thing(p)} is new" for p in new if p not in old]
    words += [f"{_thing(p)} is gone" for p in old if p not in new]
    words += [_thing(p) for p in new if p in old and old[p] != new[p]]
    shown = ", ".join(words[:3]) or "their order"
    return shown + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _thing(path: str) -> str:
    """A path, or the data source that stands there."""
    folder = f"{feeds.FOLDER}/"
    return f"data `{path.removeprefix(folder).partition('/')[0]}`" if path.startswith(folder) else f"`{path}`"
