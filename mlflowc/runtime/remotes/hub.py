"""One open remote and all that works with it."""

from __future__ import annotations

from mlflowc.errors import Failure
from mlflowc.runtime.remotes.engine import Engine, Meter
from mlflowc.runtime.remotes.fetch import Fetcher
from mlflowc.runtime.remotes.library import Library
from mlflowc.runtime.remotes.place import Place
from mlflowc.runtime.remotes.push import Pusher
from mlflowc.runtime.remotes.transport import connect
from mlflowc.runtime.store import Store


class Hub:
    """The transport of a place, and what reads and writes through it. Raises `Failure` when it cannot be."""

    def __init__(self, place: Place, store: Store, meter: Meter | None = None) -> None:
        self.place = place
        self.engine = Engine(connect(place.address, place.root, place.options), meter)
        self.library = Library(self.engine, place.state / "remotes")
        self.fetcher = Fetcher(self.engine, store, place.trust.reads, self.library)
        self._store = store

    @property
    def writable(self) -> bool:
        """Whether a push can come to anything."""
        return self.engine.transport.writable

    def pusher(self, target: str | None = None) -> Pusher:
        """Writes into `target`, by default where this job may. Raises `Failure` when it may not."""
        target = target or self.place.trust.writes
        if target is None:
            raise Failure(
                "nothing may be written to the remote: the pipeline says `write = none`",
                help="`write = trusted` lets jobs write, `write = all` people too",
            )
        if not self.writable:
            raise Failure(f"the remote `{self.engine.transport.shown}` can only be read")
        trust = self.place.trust
        return Pusher(self.engine, self._store, trust.reads, target, self.library, self.fetcher.bad)

    def close(self) -> None:
        """Ends the connections."""
        self.engine.transport.close()
