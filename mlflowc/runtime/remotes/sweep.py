"""Clearing up a remote, while others push to it and pull from it.

1. Everything is listed, contents before records: whatever a record names was there when it was written.
2. Records that the limits let go are removed. What remains is read, with the folders' listings: that is what
   has to stay.
3. Packs of which less than half is needed are written anew without the rest, and the records that name them
   are told so. Signatures hold: they are of the record and not of where things are.
4. What no record needs is condemned (see `mlflowc.runtime.remotes.condemned`), and what was condemned a grace
   period ago, and is still neither needed nor newer, goes.

Killed between any two steps, it leaves results whole or gone. When the remote does not answer, nothing
more is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from mlflowc.runtime.collect import Limits
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.remotes import condemned, entries, names, packs
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.fetch import Fetcher
from mlflowc.runtime.remotes.library import Library, Pack
from mlflowc.runtime.remotes.packs import Index, Sized
from mlflowc.runtime.remotes.transport import AbsentError, Found

_CONTENTS = ("objects", "trees", "packs", "index")
# A pack is written anew when less than this part of it is needed.
_THIN = 0.5


@dataclass(slots=True)
class Swept:
    """What went, or would go: `records`, and `files` with their `bytes`. `later` bytes are condemned, and go
    when the grace period is over. `repacked` packs were written anew. `left` bytes stay.
    """

    records: int = 0
    files: int = 0
    bytes: int = 0
    later: int = 0
    repacked: int = 0
    left: int = 0


@dataclass(slots=True)
class _Result:
    """A record that is there, and the contents that it needs by hash."""

    name: str
    written: float
    size: int
    entry: Entry
    needs: dict[str, int] = field(default_factory=dict)


class Sweeper:
    """Clears up `namespaces`. Records of `others` are left alone, and what they need stays.

    `pinned` are keys that stay whatever the limits. `now` is in seconds since 1970, `grace` in seconds. All
    methods raise `RemoteError`.
    """

    def __init__(
        self,
        engine: Engine,
        fetcher: Fetcher,
        library: Library,
        namespaces: Sequence[str],
        others: Sequence[str],
        *,
        pinned: Collection[str],
        now: float,
        grace: float,
    ) -> None:
        self._engine = engine
        self._fetcher = fetcher
        self._library = library
        self._namespaces = namespaces
        self._others = others
        self._pinned = pinned
        self._now = now
        self._grace = grace
        self._there: dict[str, Found] = {}

    def sweep(self, limits: Limits, *, dry: bool = False) -> Swept:
        """Removes what the limits let go; with `dry`, only counts."""
        done = Swept()
        self._there = {f.name: f for f in self._contents()}
        own = [r for n in self._namespaces for r in self._results(n)]
        foreign = [r for n in self._others for r in self._results(n)]
        kept = self._kept(own, limits)
        names_kept = {r.name for r in kept}
        gone = [r for r in own if r.name not in names_kept]
        done.records = len(gone)
        done.bytes = sum(r.size for r in gone)
        if not dry:
            self._engine.each(self._engine.remove, [r.name for r in gone])
        self._repack(kept, foreign, done, dry=dry)
        self._take(self._needed([*kept, *foreign]), done, dry=dry)
        done.left += sum(r.size for r in kept)
        return done

    # --- what is there

    def _contents(self) -> list[Found]:
        return [
            f
            for namespace in self._namespaces
            for kind in _CONTENTS
            for f in self._engine.names(names.folder(namespace, kind))
        ]

    def _results(self, namespace: str) -> list[_Result]:
        """The records of a namespace that make sense. Others lead nowhere, and need nothing."""

        def read(found: Found) -> _Result | None:
            key = "".join(found.name.rsplit("/", 2)[1:])
            data = self._engine.read_or_none(found.name, entries.LARGEST)
            try:
                entry = entries.decode(data or b"", key, namespace)
            except ValueError:
                return None
            result = _Result(found.name, found.modified, found.size, entry)
            self._measure(result)
            return result

        there = self._engine.names(names.folder(namespace, "records"))
        return [r for r in self._engine.each(read, there) if r is not None]

    def _measure(self, result: _Result) -> None:
        record = result.entry.record
        for output in record.outputs:
            result.needs[output.hash] = 0 if output.kind != "file" else output.size
            if output.kind != "file":
                result.needs |= self._fetcher.files(result.entry, output.hash) or {}
        if record.log:
            result.needs[record.log] = 0

    # --- records

    def _kept(self, results: list[_Result], limits: Limits) -> list[_Result]:
        def stays(result: _Result) -> bool:
            # One that was just written is of a run that goes on.
            return result.entry.record.key in self._pinned or result.written > self._now - self._grace

        kept = [r for r in results if stays(r) or limits.keep is None or r.written >= self._now - limits.keep]
        if limits.most is None:
            return kept
        kept.sort(key=lambda r: (stays(r), r.written), reverse=True)
        fitting, seen, total = [], set[str](), 0
        for result in kept:
            new = sum(size for digest, size in result.needs.items() if digest not in seen)
            if stays(result) or total + new <= limits.most:
                total += new
                seen.update(result.needs)
                fitting.append(result)
        return fitting

    # --- packs

    def _repack(self, kept: list[_Result], foreign: list[_Result], done: Swept, *, dry: bool) -> None:
        """Moves what is needed out of packs that are mostly not. Changes `entry` of those in `kept`."""
        fixed = {pack for r in foreign for pack in r.entry.packs}
        using = {pack for r in kept for pack in r.entry.packs if pack[0] in self._namespaces} - fixed
        live = {digest for r in kept for digest in r.needs}
        moved: dict[str, Pack] = {}
        old: set[Pack] = set()
        for namespace in self._namespaces:
            thin = [p for p in sorted(using) if p[0] == namespace and self._is_thin(p, live)]
            done.repacked += len(thin)
            if dry or not thin:
                continue
            contents: dict[str, bytes] = {}
            for pack, found in zip(
                thin, self._engine.each(lambda p: self._living(p, live), thin), strict=True
            ):
                if found is not None:
                    contents |= found
                    old.add(pack)
            moved |= self._write(namespace, contents)
        for result in kept:
            if old & set(result.entry.packs):
                stay = [p for p in result.entry.packs if p not in old]
                new = [moved[d] for d in sorted(result.needs) if d in moved]
                result.entry = replace(result.entry, packs=tuple(dict.fromkeys([*stay, *new])))
                self._engine.write(result.name, entries.encode(result.entry))

    def _is_thin(self, pack: Pack, live: set[str]) -> bool:
        members = self._library.members(pack)
        total = sum(m.length for m in members)
        return sum(m.length for m in members if m.digest in live) < total * _THIN

    def _living(self, pack: Pack, live: set[str]) -> dict[str, bytes] | None:
        """The contents of a pack that are needed. None when not all are what they should be: it is left."""
        try:
            body = self._engine.read_all(names.pack(*pack))
        except AbsentError:
            return None
        found = {}
        for member in self._library.members(pack):
            if member.digest in live:
                data = body[member.start : member.start + member.length]
                if hash_bytes(data) != member.digest:
                    return None
                found[member.digest] = data
        return found

    def _write(self, namespace: str, contents: dict[str, bytes]) -> dict[str, Pack]:
        def send(group: list[Sized]) -> Pack:
            body = b"".join(contents[c.digest] for c in group)
            pack, index = (namespace, hash_bytes(body)), Index(packs.encode_index(group))
            self._engine.write(names.pack(*pack), body)
            self._engine.write(names.index(*pack), index.raw)
            self._library.add(pack, index)
            return pack

        groups = list(packs.groups(Sized(d, len(c)) for d, c in sorted(contents.items())))
        made = self._engine.each(send, groups)
        return {c.digest: pack for group, pack in zip(groups, made, strict=True) for c in group}

    # --- contents

    def _needed(self, results: Iterable[_Result]) -> set[str]:
        """Names that results lead to, in every namespace where their reader might look."""
        found: set[str] = set()
        for result in results:
            for pack in result.entry.packs:
                found |= {names.pack(*pack), names.index(*pack)}
            for namespace in (*self._namespaces, *self._others):
                for digest in result.needs:
                    found.add(names.content(namespace, "objects", digest))
                    found.add(names.content(namespace, "trees", digest))
        return found

    def _take(self, needed: set[str], done: Swept, *, dry: bool) -> None:
        """Condemns what is not needed; removes what was condemned long enough ago."""
        for namespace in self._namespaces:
            prefix = f"{names.VERSION}/{namespace}/"
            free = {n for n in self._there if n.startswith(prefix) and n not in needed}
            lists = condemned.read(self._engine, namespace)
            ripe = [c for c in lists if c.written <= self._now - self._grace]
            since = {n: c.written for c in sorted(ripe, key=lambda c: -c.written) for n in c.names}
            told = {n for c in lists for n in c.names}
            if self._grace <= 0:
                since = {n: self._there[n].modified for n in free} | since
            going = {n for n in free if n in since and self._there[n].modified <= since[n]}
            new = free - going - (told - {n for c in ripe for n in c.names})
            done.files += len(going)
            done.bytes += sum(self._there[n].size for n in going)
            done.later += sum(self._there[n].size for n in free - going)
            done.left += sum(
                f.size for n, f in self._there.items() if n.startswith(prefix) and n not in going
            )
            if dry:
                continue
            if new:
                condemned.write(self._engine, namespace, new)
            self._remove(namespace, going)
            self._engine.each(self._engine.remove, [c.name for c in ripe])

    def _remove(self, namespace: str, going: set[str]) -> None:
        """Takes contents away, unless somebody wrote them again since. Indexes go before packs."""
        if not going:
            return
        now = {f.name: f.modified for k in _CONTENTS for f in self._engine.names(names.folder(namespace, k))}
        same = sorted(n for n in going if now.get(n) == self._there[n].modified)
        for indexes in (True, False):
            self._engine.each(self._engine.remove, [n for n in same if ("/index/" in n) == indexes])
