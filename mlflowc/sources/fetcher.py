"""Fetches the data of a project: the `Feeds` of `mlflowc.runtime.pins`, and what commands ask for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from mlflowc.errors import Failure
from mlflowc.ir.model import Data
from mlflowc.runtime import checked, inuse, pins, placing
from mlflowc.runtime.checked import Item
from mlflowc.runtime.feedport import Pin
from mlflowc.runtime.lockfile import Entry
from mlflowc.runtime.progress import size
from mlflowc.runtime.workspace import Workspace
from mlflowc.sources import intake
from mlflowc.sources.port import GoneError, Progress, Source, Version
from mlflowc.sources.table import open_source
from mlflowc.terminal import visible

_WIDTH = 6
_PATIENCE = 2.0  # seconds between two words about one fetch
_CI = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BITBUCKET_BUILD_NUMBER")
T = TypeVar("T")
R = TypeVar("R")


class News(NamedTuple):
    """What a source has now, beside what is pinned (`before`: as the lock says, None where nothing counts).

    `version` and `size` are those of the source. `changed`: whether it says that it has something else; None
    where only the content can tell.
    """

    data: Data
    before: Pin | None
    version: Version
    size: int | None
    changed: bool | None


class Updated(NamedTuple):
    """A source after an update. `fresh`: its content is another than before."""

    data: Data
    before: Pin | None
    pin: Pin
    fresh: bool


class Fetcher:
    """See `Feeds`. `tell` gets a line for people. `locked`: nothing is pinned that is not; `why` says so."""

    def __init__(
        self,
        ws: Workspace,
        tell: Callable[[str], None],
        *,
        locked: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._ws = ws
        self._tell = tell
        self._locked = locked
        self._env = os.environ if env is None else env
        self._guard = threading.Lock()

    # --- for planning and running

    def pin(self, names: Sequence[str]) -> None:
        """See `Feeds`."""
        ws = self._ws
        if self._locked:
            raise Failure(
                f"{pins.unpinned(ws.sources[names[0]], ws.lock)}, and {self._locked}",
                help=f"`mlpipec update {' '.join(names)}` pins it; commit `mlpipe.lock`",
            )
        for done in self.update(names):
            said = words(done.pin.version)
            self._tell(
                f"data {done.data.name}: pinned {size(done.pin.size)}{f', {said}' if said else ''}; "
                "commit `mlpipe.lock`"
            )

    def bring(self, wanted: Sequence[Pin], note: Callable[[str], None]) -> None:
        """See `Feeds`."""

        def one(pin: Pin) -> None:
            data = self._ws.sources[pin.name]
            source = self._open(data)
            try:
                intake.take(self._ws, data, source, pin.version, self._meter(data, note), note, pin)
            except GoneError as e:
                if not self._same_anew(data, source, pin, note):
                    raise self._gone(e, data, pin) from e
            except Failure as e:
                raise _named(data, e) from e

        self._each(one, wanted)

    def _same_anew(self, data: Data, source: Source, pin: Pin, note: Callable[[str], None]) -> bool:
        """Whether the pinned content is what the source calls another version now: it was written again, or
        moved to another server. Then it is taken.
        """
        try:
            found = source.look(None)
            if found.version == pin.version or (pin.kind == "file" and found.size not in (None, pin.size)):
                return False
            intake.take(self._ws, data, source, found.version, self._meter(data, note), note, pin)
        except Failure:
            return False
        return True

    def examine(self, wanted: Sequence[Pin]) -> None:
        """See `Feeds`."""
        ws = self._ws
        placing.put(ws, wanted, self._tell)
        entries: dict[str, Entry] = {}
        for pin in wanted:
            data = ws.sources[pin.name]
            now = pin._replace(type=pins.type_of(data))
            if now.type:
                item = Item(f"data `{data.name}`", pin.path, pin.hash, data.type, data.place)
                checked.demand(ws, [item])
            entries[pin.name] = pins.entry(ws, data, now)
        pins.save(ws, entries)

    # --- for commands

    def news(self, names: Iterable[str]) -> list[News]:
        """What the sources have now. Raises `Failure` when one cannot be asked."""
        return self._each(lambda name: self._news(self._ws.sources[name]), list(names))

    def update(self, names: Iterable[str]) -> list[Updated]:
        """Takes in what sources have now, and pins it. What was pinned before stays in the cache.

        Where one fails, the others are pinned, and then it is raised.
        """
        ws = self._ws
        done: list[Updated] = []
        entries: dict[str, Entry] = {}

        def one(name: str) -> None:
            data = ws.sources[name]
            found = self._news(data)
            updated = self._updated(found)
            with self._guard:
                entries[name] = pins.entry(ws, data, updated.pin)
                done.append(updated)

        ws.prepare()
        with inuse.using(ws.cache_state):
            try:
                self._each(one, list(names))
            finally:
                if entries:
                    pins.save(ws, entries)
                    ws.store.sync()
        order = {name: n for n, name in enumerate(ws.sources)}
        return sorted(done, key=lambda u: order[u.data.name])

    def _news(self, data: Data) -> News:
        ws = self._ws
        counts = pins.current(ws, data)
        before = pins.read(ws.lock, data)
        try:
            found = self._open(data).look(counts.version if counts else None)
        except Failure as e:
            raise _named(data, e) from e
        changed: bool | None = True
        if counts is not None:
            # What a fetch found out beyond a look does not count against it.
            same = bool(found.version) and found.version.items() <= counts.version.items()
            changed = None if not found.version else not same
        return News(data, before, found.version, found.size, changed)

    def _updated(self, found: News) -> Updated:
        ws, data, before = self._ws, found.data, found.before
        if found.changed is False and before is not None and before.type == pins.type_of(data):
            return Updated(data, before, before, fresh=False)
        try:
            pin = intake.take(
                ws, data, self._open(data), found.version, self._meter(data, self._tell), self._tell
            )
        except Failure as e:
            raise _named(data, e) from e
        fresh = before is None or (before.kind, before.hash) != (pin.kind, pin.hash)
        return Updated(data, before, pin, fresh)

    # --- helpers

    def _open(self, data: Data) -> Source:
        return open_source(data, self._ws.root, self._env)

    def _gone(self, e: GoneError, data: Data, pin: Pin) -> Failure:
        said = words(pin.version)
        return Failure(
            f"data `{data.name}`: {e.message}",
            help=(f"{e.help}\n" if e.help else "")
            + f"`mlpipe.lock` pins {size(pin.size)}{f', {said}' if said else ''}\n"
            "a machine that still has it can share it: `mlpipec cache push`\n"
            f"`mlpipec update {data.name}` takes what is there now",
        )

    def _meter(self, data: Data, note: Callable[[str], None]) -> Progress:
        """Words now and then about how far a fetch is."""
        last = time.monotonic()

        def progress(done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _PATIENCE:
                last = now
                of = f" of {size(total)}" if total else ""
                note(f"fetching data `{data.name}`: {size(done)}{of}")

        return progress

    def _each(self, ask: Callable[[T], R], wanted: Sequence[T]) -> list[R]:
        """Asks for all at once. Raises the first failure, once all have ended."""
        if len(wanted) == 1:
            return [ask(wanted[0])]
        with ThreadPoolExecutor(_WIDTH, thread_name_prefix="fetch") as pool:
            answers = [pool.submit(ask, w) for w in wanted]
        return [a.result() for a in answers]


def _named(data: Data, e: Failure) -> Failure:
    """The failure, with the name of the data in it."""
    head = f"data `{data.name}`"
    return e if e.message.startswith(head) else Failure(f"{head}: {e.message}", help=e.help, code=e.code)


def words(version: Version) -> str:
    """What a source says of a version, for people: `etag "abc", last modified Mon, …`."""
    return ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in version.items())


def _short(value: str) -> str:
    # A server may say anything, and this goes to a terminal, on one line.
    value = visible(" ".join(value.split()))
    return value if len(value) <= 40 else value[:37] + "..."


def locked_reason(env: Mapping[str, str] | None = None) -> str:
    """Why nothing is pinned here by the way; "" where it may be."""
    env = os.environ if env is None else env
    if any(env.get(name) for name in _CI):
        return "in CI nothing is pinned by the way"
    return ""
