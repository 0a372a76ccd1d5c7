"""From a remote into the store. Nothing is believed: all content has the hash that it was asked by."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from blake3 import blake3

from mlflowc.runtime import measured, packstore, tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.packstore import Piece
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.remotes import entries, names, packs
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.library import Library, Pack
from mlflowc.runtime.remotes.packs import Index, Member
from mlflowc.runtime.remotes.signing import NOTHING, Demand
from mlflowc.runtime.remotes.transport import AbsentError
from mlflowc.runtime.store import Store

# A listing of a million files has about 100 MB.
_LARGEST_LISTING = 512 * 1024 * 1024
_CHUNK = 1024 * 1024


class _Listing(NamedTuple):
    """A folder's listing: as it is written, and what it says of contents."""

    text: bytes
    says: tree.Summary


# Packs, and what they hold.
_Places = list[tuple[Pack, Index]]


class Fetcher:
    """Reads one remote's namespaces `reads`, the first one first.

    `bad` collects the hashes of contents that were there and not right, and of packs with such, `refused` the
    keys (and stages) of records that are not believed, with the reason. One that `measures` compares the
    numbers of records with the files that they are of, and so brings these. All raise `RemoteError` when the
    remote does not answer, `OSError` when the store cannot be written.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        reads: tuple[str, ...],
        library: Library,
        demand: Demand = NOTHING,
        *,
        measures: bool = True,
    ) -> None:
        self._measures = measures
        self.bad: set[str] = set()
        self.refused: dict[str, tuple[str, str]] = {}
        self._demand = demand
        self._engine = engine
        self._store = store
        self._reads = reads
        self._library = library
        self._guard = threading.Lock()
        self._listings: dict[str, _Listing] = {}

    def entry(self, key: str) -> Entry | None:
        """What the remote has for a key: the first good entry of the namespaces that may be read."""
        for namespace in self._reads:
            name = names.record(namespace, key)
            decode = functools.partial(_entry, key=key, namespace=namespace)
            found, there = self._engine.read_good(name, decode, entries.LARGEST)
            if found is not None:
                text, made = found.text, found.signatures
                objection = self._demand.objection(namespace, key, text, made)
                if objection is None and self._numbers(found):
                    objection = measured.lie(found.record, self._store) if self._measures else None
                    if objection is None:
                        return found
                    self._is_bad(key)
                if objection is not None:
                    with self._guard:
                        self.refused.setdefault(key, (found.record.stage, objection))
            elif there:
                self._is_bad(key)
        return None

    def _numbers(self, entry: Entry) -> bool:
        """Brings the files of which the record states numbers; False where that cannot be."""
        told = measured.stated(entry.record) if self._measures else []
        try:
            return not told or self.outputs(entry, told)
        except OSError:
            return False

    def outputs(self, entry: Entry, outputs: Iterable[OutputRecord]) -> bool:
        """Brings the content of outputs into the store. False when the remote has not all of it."""
        if self._outputs(entry, list(outputs)):
            return True
        # Who makes the result again is to push all of it.
        self._is_bad(entry.record.key)
        return False

    def _outputs(self, entry: Entry, outputs: list[OutputRecord]) -> bool:
        places = self._places(entry)
        single = {o.hash: o.size for o in outputs if o.kind == "file"}
        wanted = list(single)
        listings: list[_Listing] = []
        for output in outputs:
            if output.kind == "file":
                continue
            listing = self._listing(output.hash, places)
            if listing is None:
                return False
            listings.append(listing)
            wanted += listing.says.digests

        def size(digest: str) -> int:
            tables = (single, *(listing.says.files for listing in listings))
            return next(t[digest] for t in tables if digest in t)

        if not self._objects(wanted, size, places):
            return False
        for listing in listings:
            self._store.listings.put(listing.text)
        return True

    def log(self, entry: Entry) -> bool:
        """Brings the record's log into the store."""
        log = entry.record.log
        return log is None or self._objects([log], lambda _: 0, self._places(entry))

    def present(self, entry: Entry, outputs: Iterable[OutputRecord]) -> bool:
        """Whether the remote seems to have all content of outputs; fetches listings, no data."""
        if self._present(entry, list(outputs)):
            return True
        self._is_bad(entry.record.key)
        return False

    def _present(self, entry: Entry, outputs: list[OutputRecord]) -> bool:
        places = self._places(entry)
        wanted: set[str] = set()
        for output in outputs:
            if output.kind == "file":
                wanted.add(output.hash)
                continue
            listing = self._listing(output.hash, places)
            if listing is None:
                return False
            wanted.update(listing.says.digests)
        used = []
        for pack, index in places:
            if not wanted.isdisjoint(index.digests):
                used.append(pack)
                wanted.difference_update(index.digests)
        if not all(self._engine.each(lambda pack: self._engine.size(names.pack(*pack)) is not None, used)):
            return False
        return all(self._engine.each(self._has_large, self._store.missing(wanted)))

    def _has_large(self, digest: str) -> bool:
        return any(self._engine.size(names.content(n, "objects", digest)) is not None for n in self._reads)

    def _places(self, entry: Entry) -> _Places:
        """Where the small contents of the entry are. Foreign namespaces are not even looked at."""
        usable = [p for p in entry.packs if p[0] in self._reads]
        self._library.load(usable)
        return [(pack, self._library.members(pack)) for pack in usable]

    # --- listings

    def files(self, entry: Entry, digest: str) -> dict[str, int] | None:
        """The files by hash, with their sizes, of a folder among the entry's outputs; None where its listing
        is not to be had.
        """
        found = self._listing(digest, self._places(entry))
        return found.says.files if found is not None else None

    def _listing(self, digest: str, places: _Places) -> _Listing | None:
        with self._guard:
            if digest in self._listings:
                return self._listings[digest]
        text, known = self._store.listings.text(digest), self._store.listings.summary(digest)
        if text is not None and known is not None:
            found: _Listing | None = _Listing(text, known)
        else:
            found = self._remote_listing(digest, places)
        if found is not None:
            with self._guard:
                self._listings[digest] = found
        return found

    def _remote_listing(self, digest: str, places: _Places) -> _Listing | None:
        for data in self._versions(digest, places):
            try:
                return _Listing(data, tree.summary(data))
            except ValueError:
                self._is_bad(digest)
        return None

    def _versions(self, digest: str, places: _Places) -> Iterator[bytes]:
        """Contents of that hash, wherever they are."""
        for pack, index in places:
            if digest not in index.digests:
                continue
            at = index.digests.index(digest)
            for _ in (1, 2):
                with contextlib.suppress(AbsentError):
                    data = self._engine.read_all(names.pack(*pack), index.starts[at], index.lengths[at])
                    if hash_bytes(data) == digest:
                        yield data
                        break
            else:
                self._is_bad(digest)
                self._is_bad(pack[1])
        for namespace in self._reads:
            name = names.content(namespace, "trees", digest)
            found, there = self._engine.read_good(
                name, lambda d: d if hash_bytes(d) == digest else None, _LARGEST_LISTING
            )
            if found is not None:
                yield found
            elif there:
                self._is_bad(digest)

    # --- objects

    def _objects(self, wanted: Iterable[str], size: Callable[[str], int], places: _Places) -> bool:
        missing = self._store.missing(wanted)
        left = set(missing)
        parts: list[Callable[[], list[str]]] = []
        for pack, index in places:
            if left.issuperset(index.digests) and packstore.takes(index):
                parts.append(functools.partial(self._whole, pack, index))
            else:
                # As with all of what is read: if a content is in it twice, the last one counts.
                members = {m.digest: m for m in index if m.digest in left}
                spans = packs.spans(members.values())
                parts += [functools.partial(self._span, pack, span) for span in spans]
            left.difference_update(index.digests)
        got_small = self._engine.each(lambda part: part(), parts)
        lost = [digest for digests in got_small for digest in digests]
        large = [digest for digest in missing if digest in left]
        # What is not where the index says may still have a name of its own.
        got_large = self._engine.each(self._large, [(d, size(d)) for d in (*large, *lost)])
        return all(got_large)

    def _whole(self, pack: Pack, index: Index) -> list[str]:
        """Takes all of a pack, as it is; returns the hashes of what was not right."""
        with contextlib.suppress(AbsentError):
            body = self._engine.read_stretch(names.pack(*pack), 0, index.size)
            if index.is_of(body):
                self._store.packs.put_whole(index, body)
                return []
        # The good contents of one that is not what it should be.
        members = {m.digest: m for m in index}
        return self._span(pack, packs.Span(0, index.size, tuple(members.values())))

    def _span(self, pack: Pack, span: packs.Span) -> list[str]:
        """Takes a stretch of a pack; returns the hashes of what was not right."""
        left = list(span.members)
        for _ in (1, 2):
            try:
                view = self._engine.read_stretch(names.pack(*pack), span.start, span.length)
            except AbsentError:
                break
            again: list[Member] = []
            good: list[Piece] = []
            for member in left:
                at = member.start - span.start
                content = view[at : at + member.length]
                if blake3(content).hexdigest() == member.digest:
                    good.append(Piece(member.digest, content))
                else:
                    again.append(member)
            self._store.put_pieces(good)
            left = again
            if not left:
                return []
        self._library.forget(pack)
        for digest in (pack[1], *(m.digest for m in left)):
            self._is_bad(digest)
        return [m.digest for m in left]

    def _large(self, wanted: tuple[str, int]) -> bool:
        digest, size = wanted
        for namespace in self._reads:
            name = names.content(namespace, "objects", digest)
            try:
                # A second time from the start: bytes may have been changed on the way.
                if self._download(name, digest, size) or self._download(name, digest, size):
                    return True
            except AbsentError:
                continue
            self._is_bad(digest)
        return False

    def _download(self, name: str, digest: str, size: int) -> bool:
        """A file into the store. What an earlier process left of it is not fetched again."""
        with self._part(digest) as (path, file):
            hasher = blake3()
            # The part may be anything: longer than the file even, if that is not what it should be.
            if os.fstat(file.fileno()).st_size > size:
                file.truncate(0)
            file.seek(0)
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
            if not size or file.tell() < size:
                for chunk in self._engine.read(name, file.tell(), size - file.tell() if size else None):
                    hasher.update(chunk)
                    file.write(chunk)
            file.flush()
            if hasher.hexdigest() != digest:
                path.unlink(missing_ok=True)
                return False
            self._store.put_file(path, digest, move=True)
            return True

    @contextlib.contextmanager
    def _part(self, digest: str) -> Iterator[tuple[Path, IO[bytes]]]:
        """A file for a download; one for all processes, unless another process is at it right now."""
        folder = self._store.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"fetch-{digest}"
        file = open(path, "a+b")  # noqa: SIM115 - it may be exchanged for another
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                path = folder / f"fetch-{digest}-{os.getpid()}-{threading.get_ident()}"
                file = open(path, "w+b")  # noqa: SIM115
            yield path, file
        finally:
            file.close()

    def _is_bad(self, digest: str) -> None:
        with self._guard:
            self.bad.add(digest)


def _entry(data: bytes, key: str, namespace: str) -> Entry | None:
    try:
        return entries.decode(data, key, namespace)
    except ValueError:
        return None
