"""A workspace's remote: opened at the first question, given up for the rest of the process when it fails."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, field
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes.place import Place
from mlflowc.runtime.store import Store

if TYPE_CHECKING:
    # What asks a remote is imported when one is asked.
    from mlflowc.runtime.remotes.engine import Meter
    from mlflowc.runtime.remotes.entries import Entry
    from mlflowc.runtime.remotes.hub import Hub
    from mlflowc.runtime.remotes.push import Pushed
    from mlflowc.runtime.unlike import Unlike

T = TypeVar("T")
_HELP = (
    "what is not believed is made again; `keys` in the `cache` block says whose signatures count,"
    " and `mlpipec cache verify --in-remote` lists those without"
)


@dataclass(slots=True)
class Sum:
    """What several pushes came to together. See `Pushed`."""

    new: int = 0
    bytes: int = 0
    unlike: list[Unlike] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def add(self, done: Pushed) -> None:
        """Adds one."""
        self.new += done.new
        self.bytes += done.bytes
        self.unlike += done.unlike
        self.keys |= done.keys


class Link:
    """See `Remote`. `warn` is told once, with a message and help, when the remote fails; `doubt` of records
    there that are not believed.
    """

    def __init__(
        self,
        place: Place,
        store: Store,
        warn: Callable[[str, str], None],
        meter: Meter | None = None,
        doubt: Callable[[str, str], None] | None = None,
    ) -> None:
        self.place = place
        self._store = store
        self._warn = warn
        self._meter = meter
        self._doubt = doubt
        self._doubted: set[str] = set()
        self._hub: Hub | None = None
        self._off = False
        self._pushed: set[str] = set()
        self._expected: set[str] = set()
        self._entries: dict[str, Entry | None] = {}
        self._holders: dict[str, Entry] = {}
        self._present: dict[str, bool] = {}
        self._guard = threading.RLock()

    @property
    def off(self) -> bool:
        """Whether it failed, and is asked no more."""
        return self._off

    def expect(self, keys: Iterable[str]) -> None:
        """See `Remote`."""
        with self._guard:
            self._expected.update(k for k in keys if k not in self._entries)

    def record(self, key: str) -> Record | None:
        """See `Remote`."""
        entry = self._entry(key)
        if entry is None:
            return None
        with contextlib.suppress(OSError):
            if self._store.record(key) is None:
                self._store.put_record(entry.record)
        return entry.record

    def available(self, key: str, outputs: Iterable[OutputRecord]) -> bool:
        """See `Remote`."""
        entry = self._entry(key)
        wanted = [o for o in outputs if not self._store.has_output(o)]
        if entry is None or not all(any(o.same_content(r) for r in entry.record.outputs) for o in wanted):
            return False
        return all(self._asked(entry, output) for output in wanted)

    def _asked(self, entry: Entry, output: OutputRecord) -> bool:
        """Whether the remote seems to have the content of an output."""
        with self._guard:
            known = self._present.get(output.hash)
        if known is None:
            known = self._safely(lambda hub: hub.fetcher.present(entry, [output]), False)
            with self._guard:
                self._present[output.hash] = known
        return known

    def fetch(self, outputs: Iterable[OutputRecord]) -> bool:
        """See `Remote`."""
        for output in outputs:
            if self._store.has_output(output):
                continue
            with self._guard:
                entry = self._holders.get(output.hash)
            if entry is None:
                return False
            if not self._safely(lambda hub, e=entry, o=output: hub.fetcher.outputs(e, [o]), False):  # type: ignore[misc]
                with self._guard:
                    self._present[output.hash] = False
                return False
        return True

    def push(self, records: Iterable[Record]) -> Pushed | None:
        """Sends results, as far as this job may. None when it may not, or the remote failed."""
        wanted = list(records)
        if not wanted or self.place.trust.writes is None:
            return None
        done = self._safely(lambda hub: hub.pusher().push(wanted) if hub.writable else None, None)
        if done is not None:
            with self._guard:
                self._pushed |= done.keys
        return done

    def holds(self, record: Record) -> bool:
        """Whether the remote was found to have that result, or was just given it: the next job finds it."""
        with self._guard:
            if self._off:
                return False
            if record.key in self._pushed:
                return True
            entry = self._entries.get(record.key)
        same = entry is not None and entry.record.outputs == record.outputs
        return same and all(self._asked(entry, o) for o in record.outputs)  # type: ignore[arg-type]

    def stop(self) -> None:
        """What is on its way is broken off, and nothing more is asked."""
        with self._guard:
            self._off = True
            if self._hub is not None:
                self._hub.engine.stop()

    def close(self) -> None:
        """Lets go of connections."""
        with self._guard:
            hub, self._hub = self._hub, None
        if hub is not None:
            hub.close()

    def _entry(self, key: str) -> Entry | None:
        with self._guard:
            if key in self._entries:
                return self._entries[key]
            todo = [key, *(k for k in self._expected if k != key and self._store.record(k) is None)]
            self._expected.clear()
        nothing: list[Entry | None] = [None] * len(todo)
        found = self._safely(lambda hub: hub.engine.each(hub.fetcher.entry, todo), nothing)
        self._tell_of_doubts()
        with self._guard:
            for asked, entry in zip(todo, found, strict=True):
                self._entries[asked] = entry
                if entry is not None:
                    self._holders |= {o.hash: entry for o in entry.record.outputs}
            return self._entries[key]

    def _tell_of_doubts(self) -> None:
        """Says which records are there and not believed: they are misses, and should not be silent ones."""
        with self._guard:
            refused = dict(self._hub.fetcher.refused) if self._hub is not None else {}
            new = {k: r for k, r in refused.items() if k not in self._doubted}
            self._doubted.update(new)
        by_reason: dict[str, list[str]] = {}
        for stage, reason in new.values():
            by_reason.setdefault(reason, []).append(stage)
        for reason, stages in sorted(by_reason.items()):
            if self._doubt is not None:
                shown = ", ".join(f"`{s}`" for s in sorted(stages)[:5]) + (", …" if len(stages) > 5 else "")
                self._doubt(f"a result of {shown} in the remote is not used: {reason}", _HELP)

    def _safely(self, ask: Callable[[Hub], T], otherwise: T) -> T:
        """What the remote says; `otherwise` when it cannot be asked."""
        from mlflowc.runtime.remotes.transport import RemoteError

        if self._off:
            return otherwise
        try:
            return ask(self._open())
        except Failure as e:
            if e.code == 2:
                raise
            self._give_up(e.message, e.help)
        except RemoteError as e:
            self._give_up(e.message, e.help)
        return otherwise

    def _open(self) -> Hub:
        with self._guard:
            if self._hub is None:
                from mlflowc.runtime.remotes.hub import Hub

                self._hub = Hub(self.place, self._store, self._meter)
            return self._hub

    def _give_up(self, message: str, help: str) -> None:
        with self._guard:
            told, self._off = self._off, True
        if not told:
            self._warn(message, help)
