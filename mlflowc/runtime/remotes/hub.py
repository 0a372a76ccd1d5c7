"""One open remote and all that works with it."""

from __future__ import annotations

from collections.abc import Sequence

from mlflowc.errors import Failure
from mlflowc.runtime.remotes import signing
from mlflowc.runtime.remotes.engine import Engine, Meter
from mlflowc.runtime.remotes.fetch import Fetcher
from mlflowc.runtime.remotes.library import Library
from mlflowc.runtime.remotes.place import Place
from mlflowc.runtime.remotes.push import Pusher, Writer
from mlflowc.runtime.remotes.transport import connect
from mlflowc.runtime.store import Store


class Hub:
    """The transport of a place, and what reads and writes through it. Raises `Failure` when it cannot be."""

    def __init__(self, place: Place, store: Store, meter: Meter | None = None) -> None:
        self.place = place
        self.engine = Engine(connect(place.address, place.root, place.options, own=place.own), meter)
        self.library = Library(self.engine, place.state / "remotes")
        self.fetcher = Fetcher(self.engine, store, place.trust.reads, self.library, place.demand)
        self._store = store

    @property
    def writable(self) -> bool:
        """Whether a push can come to anything."""
        return self.engine.transport.writable

    def looking_in(self, namespaces: Sequence[str]) -> Fetcher:
        """What reads these namespaces, and believes all records: to see what is there, not to use it."""
        return Fetcher(self.engine, self._store, tuple(namespaces), self.library, measures=False)

    def may_write(self) -> str:
        """The namespace that this job may write in. Raises `Failure` when there is none."""
        target = self.place.trust.writes
        if target is None:
            raise Failure(
                "nothing may be written to the remote: the pipeline says `write = none`",
                help="`write = trusted` lets jobs write, `write = all` people too",
            )
        if not self.writable:
            raise Failure(f"the remote `{self.engine.transport.shown}` can only be read")
        return target

    def pusher(self) -> Pusher:
        """Writes where this job may. Raises `Failure` when it may not, or cannot sign what must be."""
        target = self.may_write()
        demand = self.place.demand
        made = signing.signer() if demand.keys else None
        needed = demand.required and target in demand.namespaces
        if needed and (made is None or made.public not in demand.keys):
            raise signing.lacking(target, made, person=self.place.trust.person)
        writer = Writer(self.place.trust.reads, target, demand, made)
        return Pusher(self.engine, self._store, writer, self.library, self.fetcher.bad)

    def close(self) -> None:
        """Ends the connections."""
        self.engine.transport.close()
