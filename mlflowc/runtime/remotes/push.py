"""From the store into a remote: contents first, packs before their indexes, the records last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from mlflowc.runtime import records
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.records import Record
from mlflowc.runtime.remotes import condemned, entries, names, packs
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.library import Library, Pack
from mlflowc.runtime.remotes.packs import Index, Sized
from mlflowc.runtime.remotes.signing import NOTHING, Demand, Signer
from mlflowc.runtime.store import Store
from mlflowc.runtime.unlike import Kept, Unlike, compare, origin

# Below so many bytes of small files, sending them costs less than finding out which are there.
_BLIND = 2 * 1024 * 1024


@dataclass(slots=True)
class Pushed:
    """What came of a push. `new` and `there` count results, `bytes` is what was sent.

    `lost` are stages whose content is not in the store, `differs` those of which the remote has another
    result for the same key. `keys` are those of results that are in the remote now, as they are here.
    """

    new: int = 0
    there: int = 0
    bytes: int = 0
    lost: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    unlike: list[Unlike] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Contents:
    """What is to be sent by hash: the sizes of objects, which are in the store, and the texts of listings."""

    objects: dict[str, int] = field(default_factory=dict)
    listings: dict[str, bytes] = field(default_factory=dict)

    def add(self, other: _Contents) -> None:
        """Adds what another has."""
        self.objects |= other.objects
        self.listings |= other.listings

    def digests(self) -> set[str]:
        """The hashes of all."""
        return {*self.objects, *self.listings}

    def large(self) -> _Contents:
        """Those that have names of their own in a remote."""
        return _Contents(
            {d: size for d, size in self.objects.items() if size >= names.LARGE},
            {d: text for d, text in self.listings.items() if len(text) >= names.LARGE},
        )


@dataclass(frozen=True, slots=True)
class Writer:
    """Who pushes: what it reads, where it writes, what it believes, and the key that it signs with."""

    reads: tuple[str, ...]
    target: str
    demand: Demand = NOTHING
    signer: Signer | None = None


class _Sent(NamedTuple):
    """Contents that are in a pack of the remote now, and its bytes."""

    digests: list[str]
    pack: Pack | None
    size: int


# A pack of the remote, and what of it is needed.
_Held = tuple[Pack, Set[str]]


class _LostError(Exception):
    """The content with that hash is not in the store, or not what it should be."""


class Pusher:
    """Writes into one namespace of one remote. Raises `RemoteError`.

    Contents that are in a namespace that is read are not sent again, unless their hash is in `bad`.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        writer: Writer,
        library: Library,
        bad: set[str],
    ) -> None:
        self._engine = engine
        self._store = store
        self._writer = writer
        self._target = writer.target
        self._reads = (writer.target, *(r for r in writer.reads if r != writer.target))
        # Keys whose record there is not believed by those who read: it is written over.
        self._unbelieved: set[str] = set()
        self._library = library
        self._bad = bad
        self._guard = threading.Lock()
        self._lost: set[str] = set()
        self._condemned: frozenset[str] = frozenset()
        self._damaged: set[str] = set()

    def push(self, results: Iterable[Record]) -> Pushed:
        """Sends what the remote does not have of these results."""
        done = Pushed()
        wanted = self._missing(list(results), done)
        if wanted:
            self._condemned = condemned.all_of(self._engine, self._reads)
        contents = _Contents()
        needs: dict[str, set[str]] = {}
        for record in wanted:
            try:
                own = self._contents(record)
            except _LostError:
                done.lost.append(record.stage)
                continue
            needs[record.key] = own.digests()
            contents.add(own)
            if record.key in self._damaged:
                # One of them was bad: who knows about the others.
                self._bad |= needs[record.key]
        large = contents.large()
        self._send_large(large, done)
        held = self._send_small(contents, large.digests(), done)
        self._send_records([r for r in wanted if r.key in needs], needs, held, done)
        return done

    def _missing(self, results: list[Record], done: Pushed) -> list[Record]:
        """The records that the remote does not have, in any namespace that is read."""

        def there(record: Record) -> Record | None:
            for namespace in self._reads:
                data = self._engine.read_or_none(names.record(namespace, record.key), entries.LARGEST)
                if data is not None:
                    try:
                        found = entries.decode(data, record.key, namespace)
                    except ValueError:
                        self._bad.add(record.key)
                        continue
                    demand = self._writer.demand
                    if demand.objection(namespace, record.key, found.text, found.signatures) is None:
                        return found.record
                    self._unbelieved.add(record.key)
            return None

        wanted = []
        for record, found in zip(results, self._engine.each(there, results), strict=True):
            same = found is not None and found.outputs == record.outputs
            damaged = record.key in self._bad or any(o.hash in self._bad for o in record.outputs)
            # One content has one set of numbers, and those here were read from it.
            lies = found is not None and same and found.metrics != record.metrics
            damaged = damaged or lies or (same and self._spoiled(record))
            if found is None or damaged:
                wanted.append(record)
                if damaged:
                    self._damaged.add(record.key)
            else:
                done.there += 1
                if same:
                    done.keys.add(record.key)
                else:
                    done.differs.append(record.stage)
                    changed = compare(found.outputs, found.metrics, record.outputs, record.metrics)
                    done.unlike.append(Unlike(record.stage, record.key, Kept.REMOTE, changed, origin(found)))
        return wanted

    def _spoiled(self, record: Record) -> bool:
        """Whether some content of the result was found to be bad in the remote."""
        if not self._bad:
            return False
        listings = [self._store.listings.summary(o.hash) for o in record.outputs if o.kind != "file"]
        return any(not self._bad.isdisjoint(listing.digests) for listing in listings if listing is not None)

    def _contents(self, record: Record) -> _Contents:
        """All contents of a result, in the order of their paths. Raises `_LostError`."""
        found = _Contents()
        for output in record.outputs:
            if output.kind == "file":
                found.objects[output.hash] = output.size
                continue
            text = self._store.listings.text(output.hash)
            listing = self._store.listings.summary(output.hash)
            if text is None or listing is None:
                raise _LostError(output.hash)
            found.add(_Contents(listing.files, {output.hash: text}))
        log = self._store.size(record.log) if record.log else None
        if record.log and log is not None:
            found.add(_Contents({record.log: log}))
        large = (d for d, size in found.objects.items() if size >= names.LARGE)
        if not all(self._store.has(digest) for digest in large):
            raise _LostError(record.stage)
        return found

    # --- large ones

    def _send_large(self, contents: _Contents, done: Pushed) -> None:
        def send(item: tuple[str, str, int]) -> int:
            kind, digest, size = item
            if digest not in self._bad:
                for namespace in self._reads:
                    name = names.content(namespace, kind, digest)
                    if name not in self._condemned and self._engine.size(name) == size:
                        return 0
            source = contents.listings[digest] if kind == "trees" else self._store.object_path(digest)
            self._engine.write(names.content(self._target, kind, digest), source)
            return size

        objects = [("objects", d, size) for d, size in contents.objects.items()]
        listings = [("trees", d, len(text)) for d, text in contents.listings.items()]
        done.bytes += sum(self._engine.each(send, [*objects, *listings]))

    # --- small ones

    def _send_small(self, contents: _Contents, large: set[str], done: Pushed) -> list[_Held]:
        """Sends them in packs; returns in which pack each is."""
        sizes = contents.objects | {d: len(text) for d, text in contents.listings.items()}
        for digest in large:
            del sizes[digest]
        held = self._known(sizes)
        todo = set(sizes).difference(*(digests for _, digests in held))
        # Packs as they are here, if they hold nothing else and are not small; the rest is put together anew.
        whole = [(n, i) for n, i in self._store.packs.whole(todo) if i.size >= packs.FULL // 2]
        todo.difference_update(*(index.digests for _, index in whole))
        rest = [Sized(d, size) for d, size in sizes.items() if d in todo] if todo else []
        parts: list[Callable[[], _Sent]] = [partial(self._send_whole, *each) for each in whole]
        parts += [partial(self._send_pack, group, contents) for group in packs.groups(rest)]
        for digests, pack, size in self._engine.each(lambda part: part(), parts):
            if pack is not None:
                held.append((pack, frozenset(digests)))
                done.bytes += size
        return held

    def _known(self, sizes: Mapping[str, int]) -> list[_Held]:
        """Those that are in packs of the remote already, each in the first one that has it."""
        if sum(sizes.values()) < _BLIND and len(sizes) < 1000:
            return []
        left = sizes.keys() - self._bad
        found: list[_Held] = []
        for namespace in self._reads:
            for pack in self._library.all_of(namespace):
                if pack[1] in self._bad or {names.pack(*pack), names.index(*pack)} & self._condemned:
                    continue
                there = left.intersection(self._library.members(pack).digests)
                if there:
                    found.append((pack, there))
                    left -= there
        return found

    def _send_whole(self, name: str, index: Index) -> _Sent:
        """Sends a pack of the store as it is."""
        body = self._store.packs.body(name)
        if body is None or len(body) != index.size:
            # It is not what it was a moment ago: what is good of it is somewhere else now, or lost.
            group = [Sized(m.digest, m.length) for m in index]
            return self._send_pack(group, _Contents())
        return self._write(index, body)

    def _send_pack(self, group: list[Sized], contents: _Contents) -> _Sent:
        """Puts one pack together, and sends it."""
        parts: list[tuple[str, bytes | memoryview]] = []
        stored: list[str] = []
        for digest, _ in group:
            text = contents.listings.get(digest)
            if text is None:
                stored.append(digest)
            else:
                parts.append((digest, text))
        parts += self._store.contents(stored)
        if len(parts) < len(group):
            lost = {c.digest for c in group}.difference(digest for digest, _ in parts)
            with self._guard:
                self._lost |= lost
        if not parts:
            return _Sent([], None, 0)
        body = b"".join([data for _, data in parts])
        return self._write(Index(packs.encode_index(Sized(d, len(data)) for d, data in parts)), body)

    def _write(self, index: Index, body: bytes) -> _Sent:
        """Sends a pack, and then its index."""
        pack = (self._target, hash_bytes(body))
        self._engine.write(names.pack(*pack), body)
        self._engine.write(names.index(*pack), index.raw)
        self._library.add(pack, index)
        return _Sent(index.digests, pack, len(body))

    # --- records

    def _send_records(
        self, pushed: list[Record], needs: Mapping[str, set[str]], held: Sequence[_Held], done: Pushed
    ) -> None:
        def send(record: Record) -> bool:
            own = needs[record.key]
            used = sorted(pack for pack, digests in held if not own.isdisjoint(digests))
            text, signer = records.encode(record), self._writer.signer
            made = {signer.public: signer.sign(self._target, record.key, text)} if signer else {}
            data = entries.encode(Entry(record, tuple(used), self._target, made, text))
            name = names.record(self._target, record.key)
            again = record.key in self._bad | self._unbelieved or bool(own & self._bad)
            return self._engine.write(name, data, fresh=not again)

        complete = [r for r in pushed if not needs[r.key] & self._lost]
        done.lost += [r.stage for r in pushed if needs[r.key] & self._lost]
        for record, written in zip(complete, self._engine.each(send, complete), strict=True):
            # Another one was quicker: its result is as good, and may be another.
            done.new += written
            done.there += not written
            if written:
                done.keys.add(record.key)
