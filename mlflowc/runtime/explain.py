"""Why a key is another than before: the difference between two sets of components, in words."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mlflowc.ir import feeds
from mlflowc.ir.model import Env, Input, Stage, StageOutput
from mlflowc.runtime import keys
from mlflowc.runtime.endings import INTERRUPTED

if TYPE_CHECKING:
    from mlflowc.runtime.records import Record
    from mlflowc.runtime.workspace import Workspace

_LOOK_BACK = 20
# So many parameters are named in a line.
_PARAMS = 3


class Change(NamedTuple):
    """A component that differs; `before` is None when it is new, `now` when it is gone.

    `file` is the project's file that the component is made from, where its name does not say so.
    """

    component: str
    before: str | None
    now: str | None
    file: str = ""

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
        if self.file:
            what += f" of `{self.file}`"
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


def changes(before: Mapping[str, str], now: Mapping[str, str], env: Env | None = None) -> list[Change]:
    """The components that differ, in the order in which a reader cares. `env` is the stage's environment."""
    order = ("vary", "search", "goal", "param", "each", "input", "code", "command", "env", "output", "secret")
    names = [n for n in before.keys() | now.keys() if before.get(n) != now.get(n)]

    def rank(name: str) -> tuple[int, str]:
        kind = name.partition(":")[0]
        return (order.index(kind) if kind in order else len(order), name)

    files = {
        "env:requirements": env.requirements if env else None,
        "env:lock": env.lock if env else None,
        "env:conda": env.conda if env else None,
    }
    return [Change(n, before.get(n), now.get(n), files.get(n) or "") for n in sorted(names, key=rank)]


def nearest_record(ws: Workspace, stage: Stage, components: Mapping[str, str], key: str) -> Record | None:
    """Of the stage's earlier results, the one whose key has the fewest other components; the latest of
    equals. That of the lock is asked of the remote, if there is one.
    """
    candidates: list[str] = []
    locked = ws.lock.stage(stage.id)
    if locked is not None:
        candidates.append(locked.key)
    candidates += [r.key for r in ws.index.history(stage.id, _LOOK_BACK) if r.outcome != "failed"]
    best: tuple[int, Record] | None = None
    for candidate in dict.fromkeys(candidates):
        if candidate == key:
            continue
        record = ws.store.record(candidate)
        if record is None and ws.remote is not None and locked is not None and candidate == locked.key:
            record = ws.remote.record(candidate)
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
        found, all_told = beside_lock(ws, stage, components)
        lines = found[:_PARAMS]
        if lines and (found[_PARAMS:] or not all_told):
            lines.append("and more")
        return ", ".join(lines) or "its key is not that of the lock"
    lines = [c.text for c in changes(before.components, components, ws.envs.get(stage.env or ""))]
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


def beside_lock(ws: Workspace, stage: Stage, components: Mapping[str, str]) -> tuple[list[str], bool]:
    """What the lock alone tells of why the stage's key is not the lock's: parameters, and what stages before
    made. Whether that is all.
    """
    locked = ws.lock.stage(stage.id)
    if locked is None:
        return [], False
    others = {n: t for n, t in components.items() if not n.startswith("param:")}
    then = {**others, **{f"param:{n}": keys.canonical(v) for n, v in locked.params.items()}}
    lines = [c.text for c in changed_params(ws, stage)]
    for entry in stage.inputs:
        name = f"input:{entry.name}"
        if name in components:
            then[name] = _as_locked(ws, entry, components[name])
            if then[name] != components[name]:
                lines.append(f"input `{entry.name}` is other than in the lock")
    return lines, keys.digest(then) == locked.key


def _as_locked(ws: Workspace, entry: Input, component: str) -> str:
    """An input's component, if what stages made of it were what the lock says."""
    made = {
        o.path.rstrip("/"): (o.path.rstrip("/"), o.kind, o.hash)
        for source in entry.sources
        if isinstance(source, StageOutput) and (before := ws.lock.stage(source.stage)) is not None
        for o in before.outputs
        if o.name == source.output
    }
    return keys.input_component(
        made.get(path, (path, kind, digest)) for path, kind, digest in json.loads(component)
    )


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
