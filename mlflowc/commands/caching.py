"""What the subcommands of `mlpipec cache` do: lines for people and values for machines."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflowc import project
from mlflowc.commands import carrying, sharing
from mlflowc.errors import Failure
from mlflowc.runtime import inuse
from mlflowc.runtime.plan import Action, make_plan
from mlflowc.runtime.progress import count, size
from mlflowc.runtime.remotes.hub import Hub
from mlflowc.runtime.remotes.link import Link
from mlflowc.runtime.remotes.place import Place
from mlflowc.runtime.remotes.transport import RemoteError
from mlflowc.runtime.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    # What only one of them needs is imported by it: a push and a pull should not wait for that.
    from mlflowc.runtime.collect import Collected
    from mlflowc.runtime.survey import Survey

Told = tuple[list[str], dict[str, Any]]


@dataclass(slots=True)
class Sent:
    """What a push came to. `failed`: not all that was asked for could be sent."""

    lines: list[str]
    as_json: dict[str, Any]
    failed: bool


@dataclass(slots=True)
class Fetched:
    """What a pull came to: stages that were fetched, were here already, or are not to be had."""

    new: list[str] = field(default_factory=list)
    here: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    bytes: int = 0

    @property
    def lines(self) -> list[str]:
        """For people."""
        found = [f"not in the remote: {', '.join(self.missing)}"] if self.missing else []
        return [
            *found,
            *carrying.not_known(self.unknown),
            f"{count(len(self.new), 'result')} fetched ({size(self.bytes)}), {len(self.here)} here already",
        ]

    @property
    def as_json(self) -> dict[str, Any]:
        """For machines."""
        missing = [*self.missing, *self.unknown]
        return {"fetched": self.new, "here": self.here, "missing": missing, "bytes": self.bytes}


def push(file: str | None, remote: str | None, targets: Sequence[str], *, everything: bool) -> Sent:
    """Sends results. Raises `Failure`."""
    with workspace(file) as ws, open_hub(ws, remote) as hub:
        pusher = hub.pusher()
        chosen = carrying.choose(ws, targets, everything=everything)
        done = pusher.push(chosen.records)
    lines = chosen.lines
    if done.lost:
        lines.append(f"not all content is in the cache: {', '.join(done.lost)}")
    lines += sharing.differing(done.unlike)
    where = hub.place.trust.writes or ""
    lines.append(
        f"{count(done.new, 'result')} pushed to {hub.engine.transport.shown} ({where}), {size(done.bytes)}; "
        f"{done.there} there already"
    )
    if where.startswith("untrusted/user-"):
        lines.insert(
            -1, f"note: only you read `{where}`; with `write = all` in the `cache` block, everybody does"
        )
    values = {
        "pushed": done.new,
        "there": done.there,
        "bytes": done.bytes,
        "namespace": where,
        "lost": done.lost,
        "differs": done.differs,
        "unlike": [other.as_json() for other in done.unlike],
        **chosen.as_json,
    }
    return Sent(lines, values, chosen.failed or bool(done.lost))


def pull(file: str | None, remote: str | None, targets: Sequence[str]) -> Fetched:
    """Fetches results into the cache. Raises `Failure`."""
    done = Fetched()
    with workspace(file) as ws:
        place = place_of_remote(ws, remote)
        meter = _Meter()
        link = Link(place, ws.store, _refuse, meter, sharing.warn)
        ws.remote = link
        try:
            ws.prepare()
            with inuse.using(ws.cache_state):
                plan = make_plan(ws, targets, stored=True)
                for step in carrying.followed(ws, plan):
                    if step.action is Action.KEEP or _stored(ws, step.outputs):
                        done.here.append(step.stage.id)
                    elif step.action is Action.RESTORE and link.fetch(step.outputs):
                        done.new.append(step.stage.id)
                    elif step.action is Action.WAIT:
                        done.unknown[step.stage.id] = carrying.cause(step, done.unknown, done.missing)
                    else:
                        done.missing.append(step.stage.id)
                # Not flushed: after a power cut, what is not whole is found out by its hash, and is in the
                # remote still.
        finally:
            link.close()
            meter.end()
        done.bytes = meter.bytes
    return done


def collect(file: str | None, limits: tuple[float | None, float | None], *, refs: bool, dry: bool) -> Told:
    """Clears up the cache. Raises `Failure`."""
    from mlflowc.runtime import collect as collecting

    keep, most = limits
    with workspace(file) as ws:
        ws.prepare()
        with inuse.collecting(ws.cache_state):
            locks = [ws.lock, *(collecting.locks_of_refs(ws.root) if refs else [])]
            if ws.shared is not None:
                locks += ws.shared.locks_of_others(ws.root)
            collector = collecting.Collector(ws.store, ws.index, ws.fs, locks, ws.clock.now(), ws.root)
            try:
                limits_now = collecting.Limits(keep, None if most is None else int(most))
                done = collector.collect(limits_now, dry=dry)
            except OSError as e:
                raise Failure(f"cannot clear up the cache: {e.strerror}") from e
    would = "would go" if dry else "removed"
    lines = [
        f"{count(done.records, 'result')} and {count(done.files, 'file')} {would}, {size(done.bytes)}; "
        f"{size(done.left)} stay{_too_much(done, most)}"
    ]
    values = {
        "results": done.records,
        "files": done.files,
        "bytes": done.bytes,
        "left": done.left,
        "dry": dry,
    }
    return lines, values


def _too_much(done: Collected, most: float | None) -> str:
    """Why a limit of bytes was not kept to."""
    if most is None or done.named <= most:
        return ""
    return f", more than {size(int(most))}: `mlpipe.lock` names {size(done.named)} of it"


def verify_local(file: str | None) -> Told:
    """Hashes all of the cache again."""
    from mlflowc.runtime import survey

    with workspace(file) as ws:
        found = survey.verify(ws.store)
        dropped = os.access(ws.store.root, os.W_OK)
    return _surveyed(found, "damaged, and dropped" if dropped else "damaged (the cache cannot be written)")


def verify_remote(file: str | None, remote: str | None, *, drop: bool) -> Told:
    """Reads all of the namespaces that this job reads, and hashes it. Raises `Failure`."""
    from mlflowc.runtime.remotes.audit import audit

    with workspace(file) as ws, open_hub(ws, remote) as hub:
        found = audit(hub.engine, hub.place.trust.reads, hub.place.demand)
        if drop:
            hub.may_write()
            hub.engine.each(hub.engine.remove, [*found.damaged, *found.doubtful])
    lines, values = _surveyed(found, "damaged, and removed" if drop else "damaged")
    doubtful = [f"not believed{', and removed' if drop else ''}: {n}: {r}" for n, r in found.doubtful.items()]
    if found.signed is not None:
        lines[-1] += f"; {count(found.signed, 'result')} signed, {len(doubtful)} not believed"
    return [*doubtful, *lines], {**values, "doubtful": found.doubtful, "signed": found.signed}


def _surveyed(found: Survey, damaged: str) -> Told:
    lines = [f"{damaged}: {d}" for d in found.damaged]
    if found.incomplete:
        lines.append(f"without all of their content: {count(len(found.incomplete), 'result')}")
    lines.append(f"{count(found.files, 'file')} read, {size(found.bytes)}: {len(found.damaged)} damaged")
    values = {
        "files": found.files,
        "bytes": found.bytes,
        "damaged": found.damaged,
        "incomplete": found.incomplete,
    }
    return lines, values


def export(
    file: str | None, target: Path, targets: Sequence[str], *, everything: bool
) -> tuple[list[str], dict[str, Any], bool]:
    """Writes results into one file, if there are any; also says whether something is wanting. Raises
    `Failure`."""
    from mlflowc.runtime import bundle

    with workspace(file) as ws:
        ws.prepare()
        with inuse.using(ws.cache_state):
            chosen = carrying.choose(ws, targets, everything=everything)
            whole = [r for r in chosen.records if _stored(ws, r.outputs)]
            lost = [r.stage for r in chosen.records if r not in whole]
            try:
                content = bundle.Bundle("export", tuple(whole))
                written = bundle.write(content, target.absolute(), ws.store) if whole else 0
            except bundle.BundleError as e:
                raise Failure(f"cannot export: {e}") from e
            except OSError as e:
                raise Failure(f"cannot write `{target}`: {e.strerror}") from e
    lines = chosen.lines
    lines += [f"not all content is in the cache: {', '.join(lost)}"] if lost else []
    lines.append(
        f"{target}: {count(len(whole), 'result')}, {size(written)}"
        if whole
        else f"{target}: not written, for there is no result to put into it"
    )
    values = {"results": len(whole), "bytes": written, **chosen.as_json, "lost": lost}
    return lines, values, chosen.failed or bool(lost) or not whole


def take_in(file: str | None, source: Path) -> Told:
    """Takes in the results of a file. Raises `Failure`."""
    from mlflowc.runtime import bundle

    if source.is_dir():
        return _take_over(file, source)
    with workspace(file) as ws:
        if not source.is_file():
            raise Failure(f"there is no file `{source}`")
        ws.prepare()
        with inuse.using(ws.cache_state):
            try:
                got = bundle.read(source, ws.store, ws.fs)
            except bundle.BundleError as e:
                raise Failure(f"`{source}` {e}", help="nothing of it was taken in") from e
            ws.store.sync()
    sharing.tell_unlike(got.unlike)
    return [f"{count(len(got.stages), 'result')}, {got.new} new"], {
        "results": len(got.stages),
        "new": got.new,
        "stages": list(got.stages),
        "unlike": [other.as_json() for other in got.unlike],
    }


def _take_over(file: str | None, folder: Path) -> Told:
    from mlflowc.runtime import takeover

    with workspace(file) as ws:
        ws.prepare()
        with inuse.using(ws.cache_state):
            got = takeover.take_over(ws, folder)
    sharing.tell_unlike(got.unlike)
    lines = [f"not whole, and left out: {', '.join(got.lost)}"] if got.lost else []
    lines.append(f"{count(len(got.stages), 'result')}, {got.new} new")
    return lines, {
        "results": len(got.stages),
        "new": got.new,
        "stages": got.stages,
        "lost": got.lost,
        "unlike": [other.as_json() for other in got.unlike],
    }


def policy(
    file: str | None, remote: str | None, cloud: str, repository: str | None, service: str = "github"
) -> str:
    """The rules for the remote's own access control. Raises `Failure`."""
    from mlflowc.ir import identity
    from mlflowc.runtime.remotes.policy import render, repository_of

    with workspace(file) as ws:
        place = place_of_remote(ws, remote)
        found = repository or repository_of(ws.root) or "OWNER/REPOSITORY"
        auth = identity.find(ws.pipeline, cloud)
        approved = sorted({a.approve for a in ws.pipeline.actions if a.approve})
        return render(cloud, place.address, found, ws.pipeline.ci.branch, service, auth, approved)


# --- parts


@contextlib.contextmanager
def workspace(file: str | None) -> Iterator[Workspace]:
    loaded = project.load(file)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        yield ws
    except OSError as e:
        where = f" (`{os.path.relpath(e.filename)}`)" if isinstance(e.filename, str) else ""
        raise Failure(
            f"the cache cannot be read or written: {e.strerror or e}{where}",
            help="check the permissions of `.mlpipe`, and the free space",
        ) from e
    finally:
        ws.close()


def place_of_remote(ws: Workspace, remote: str | None) -> Place:
    place = sharing.place(ws, remote)
    if place is None:
        raise Failure(
            "there is no remote",
            help='add `cache { remote = "…" }` to the pipeline, or give --remote ADDRESS',
            code=2,
        )
    return place


@contextlib.contextmanager
def open_hub(ws: Workspace, remote: str | None) -> Iterator[Hub]:
    """The remote, open; what goes wrong with it ends the command. Nothing is collected meanwhile."""
    place = place_of_remote(ws, remote)
    ws.prepare()
    meter = _Meter()
    hub = Hub(place, ws.store, meter)
    try:
        with inuse.using(ws.cache_state):
            yield hub
    except RemoteError as e:
        raise Failure(e.message, help=e.help) from None
    finally:
        hub.close()
        meter.end()


def _refuse(message: str, help: str) -> None:
    raise Failure(message, help=help)


def _stored(ws: Workspace, outputs: Sequence[Any]) -> bool:
    return bool(outputs) and all(ws.store.has_output(o) for o in outputs)


class _Meter:
    """Counts bytes, and shows them on a terminal; a line that is there only while it moves."""

    def __init__(self) -> None:
        self.bytes = 0
        self._guard = threading.Lock()
        self._shown = sys.stderr.isatty()
        self._began = time.monotonic()
        self._next = self._began + 0.5

    def moved(self, amount: int) -> None:
        """Bytes went over."""
        with self._guard:
            self.bytes += amount
            now = time.monotonic()
            if self._shown and now >= self._next:
                self._next = now + 0.1
                rate = self.bytes / max(0.1, now - self._began)
                print(f"\r\x1b[K{size(self.bytes)}, {size(rate)}/s", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Nothing more will come."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
