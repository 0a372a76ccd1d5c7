"""From the store into a remote: contents first, packs before their indexes, the records last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlflowc.runtime import records, tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.records import Record
from mlflowc.runtime.remotes import condemned, entries, names, packs
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.library import Library, Pack
from mlflowc.runtime.remotes.packs import Sized
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
class _Content:
    """A content to be sent, and its size; its bytes, if they are not in the store."""

    kind: str
    size: int
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """Who pushes: what it reads, where it writes, what it believes, and the key that it signs with."""

    reads: tuple[str, ...]
    target: str
    demand: Demand = NOTHING
    signer: Signer | None = None


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
        self._lost: set[str] = set()
        self._condemned: frozenset[str] = frozenset()
        self._damaged: set[str] = set()

    def push(self, results: Iterable[Record]) -> Pushed:
        """Sends what the remote does not have of these results."""
        done = Pushed()
        wanted = self._missing(list(results), done)
        if wanted:
            self._condemned = condemned.all_of(self._engine, self._reads)
        contents: dict[str, _Content] = {}
        needs: dict[str, set[str]] = {}
        for record in wanted:
            try:
                own = self._contents(record)
            except _LostError:
                done.lost.append(record.stage)
                continue
            needs[record.key] = set(own)
            contents |= own
            if record.key in self._damaged:
                # One of them was bad: who knows about the others.
                self._bad |= set(own)
        self._send_large({d: c for d, c in contents.items() if c.size >= names.LARGE}, done)
        where = self._send_small({d: c for d, c in contents.items() if c.size < names.LARGE}, done)
        self._send_records([r for r in wanted if r.key in needs], needs, where, done)
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
        listings = [self._store.listing(o.hash) or [] for o in record.outputs if o.kind != "file"]
        return any(e.hash in self._bad for listing in listings for e in listing)

    def _contents(self, record: Record) -> dict[str, _Content]:
        """All contents of a result by hash, in the order of their paths. Raises `_LostError`."""
        found: dict[str, _Content] = {}
        for output in record.outputs:
            if output.kind == "file":
                found[output.hash] = _Content("objects", output.size)
                continue
            listing = self._store.listing(output.hash)
            if listing is None:
                raise _LostError(output.hash)
            data = tree.encode(listing)
            found[output.hash] = _Content("trees", len(data), data)
            for entry in listing:
                if entry.kind in "fx":
                    found[entry.hash] = _Content("objects", entry.size)
        log = self._store.size(record.log) if record.log else None
        if record.log and log is not None:
            found[record.log] = _Content("objects", log)
        large = (d for d, c in found.items() if c.kind == "objects" and c.size >= names.LARGE)
        if not all(self._store.has(digest) for digest in large):
            raise _LostError(record.stage)
        return found

    # --- large ones

    def _send_large(self, contents: Mapping[str, _Content], done: Pushed) -> None:
        def send(item: tuple[str, _Content]) -> int:
            digest, content = item
            if digest not in self._bad:
                for namespace in self._reads:
                    name = names.content(namespace, content.kind, digest)
                    if name not in self._condemned and self._engine.size(name) == content.size:
                        return 0
            source = content.data if content.data is not None else self._store.object_path(digest)
            self._engine.write(names.content(self._target, content.kind, digest), source)
            return content.size

        done.bytes += sum(self._engine.each(send, contents.items()))

    # --- small ones

    def _send_small(self, contents: Mapping[str, _Content], done: Pushed) -> dict[str, Pack]:
        """Sends them in packs; returns in which pack each is."""
        where = self._known(contents)
        todo = [Sized(d, c.size) for d, c in contents.items() if d not in where]
        for group, pack in self._engine.each(lambda g: self._send_pack(g, contents), packs.groups(todo)):
            if pack is not None:
                where |= {content.digest: pack for content in group}
                done.bytes += sum(content.length for content in group)
        return where

    def _known(self, contents: Mapping[str, _Content]) -> dict[str, Pack]:
        """Those that are in packs of the remote already."""
        if sum(c.size for c in contents.values()) < _BLIND and len(contents) < 1000:
            return {}
        found: dict[str, Pack] = {}
        for namespace in reversed(self._reads):
            for pack in self._library.all_of(namespace):
                if pack[1] in self._bad or {names.pack(*pack), names.index(*pack)} & self._condemned:
                    continue
                for member in self._library.members(pack):
                    if member.digest in contents and member.digest not in self._bad:
                        found[member.digest] = pack
        return found

    def _send_pack(
        self, group: list[Sized], contents: Mapping[str, _Content]
    ) -> tuple[list[Sized], Pack | None]:
        """Sends one pack, and then its index; returns what went into it."""
        parts: list[tuple[str, bytes | memoryview]] = []
        stored: list[str] = []
        for digest, _ in group:
            data = contents[digest].data
            if data is None:
                stored.append(digest)
            else:
                parts.append((digest, data))
        parts += self._store.contents(stored)
        sent = [Sized(digest, len(data)) for digest, data in parts]
        if len(sent) < len(group):
            self._lost |= {c.digest for c in group}.difference(c.digest for c in sent)
        if not sent:
            return [], None
        body = b"".join([data for _, data in parts])
        index = packs.encode_index(sent)
        pack = (self._target, hash_bytes(body))
        self._engine.write(names.pack(*pack), body)
        self._engine.write(names.index(*pack), index)
        self._library.add(pack, index)
        return sent, pack

    # --- records

    def _send_records(
        self, pushed: list[Record], needs: Mapping[str, set[str]], where: Mapping[str, Pack], done: Pushed
    ) -> None:
        def send(record: Record) -> bool:
            own = needs[record.key]
            used = dict.fromkeys(where[d] for d in sorted(own) if d in where)
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
