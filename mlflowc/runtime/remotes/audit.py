"""Reads all of a remote, and says what is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence

from blake3 import blake3

from mlflowc.runtime import tree
from mlflowc.runtime.remotes import entries, names, packs
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.signing import NOTHING, Demand
from mlflowc.runtime.remotes.transport import AbsentError
from mlflowc.runtime.survey import Survey


def audit(engine: Engine, namespaces: Sequence[str], demand: Demand = NOTHING) -> Survey:
    """Everything in these namespaces, read and hashed. Raises `RemoteError`.

    `damaged` are names in the remote; `incomplete` the names of records of which a content is not there.
    """
    found = Survey(signed=0 if demand.keys else None)
    good: set[str] = set()
    listings: dict[str, list[tree.Entry]] = {}
    for namespace in namespaces:
        _contents(engine, namespace, found, good, listings)
        _packs(engine, namespace, found, good, listings)
    for namespace in namespaces:
        for name, entry in _entries(engine, namespace, found):
            objection = demand.objection(namespace, entry.record.key, entry.text, entry.signatures)
            if objection is not None:
                found.doubtful[name] = objection
                continue
            if found.signed is not None and set(entry.signatures) & set(demand.keys):
                found.signed += 1
            wanted = {o.hash for o in entry.record.outputs}
            wanted |= {e.hash for h in list(wanted) for e in listings.get(h, ()) if e.kind in "fx"}
            if not wanted <= good:
                found.incomplete.append(name)
    return found


def _contents(
    engine: Engine, namespace: str, found: Survey, good: set[str], listings: dict[str, list[tree.Entry]]
) -> None:
    """Large files and listings."""

    def check(name: str) -> tuple[str, str | None, bytes]:
        hasher, data = blake3(), b""
        try:
            for chunk in engine.read(name):
                hasher.update(chunk)
                if "/trees/" in name:
                    data += chunk
        except AbsentError:
            return name, None, b""
        return name, hasher.hexdigest(), data

    there = [f for kind in ("objects", "trees") for f in engine.names(names.folder(namespace, kind))]
    _count(found, [f.size for f in there])
    for name, digest, data in engine.each(check, [f.name for f in there]):
        if digest is not None and name.endswith(f"/{digest[:2]}/{digest[2:]}"):
            good.add(digest)
            _listing(digest, data, listings)
        elif digest is not None:
            found.damaged.append(name)


def _packs(
    engine: Engine, namespace: str, found: Survey, good: set[str], listings: dict[str, list[tree.Entry]]
) -> None:
    """Packs with their indexes."""
    bodies = engine.names(names.folder(namespace, "packs"))
    indexes = engine.names(names.folder(namespace, "index"))
    _count(found, [f.size for f in (*bodies, *indexes)])

    def check(name: str) -> tuple[list[str], list[tuple[str, bytes]]]:
        pack_id = name.rpartition("/")[2]
        body = engine.read_or_none(names.pack(namespace, pack_id))
        index = engine.read_or_none(names.index(namespace, pack_id))
        if body is None or index is None:
            # Half of a pack: of a push that is going on, or that was ended.
            return [], []
        if blake3(body).hexdigest() != pack_id:
            return [names.pack(namespace, pack_id), names.index(namespace, pack_id)], []
        try:
            members = packs.Index(index)
        except ValueError:
            return [names.index(namespace, pack_id)], []
        parts = [(m.digest, body[m.start : m.start + m.length]) for m in members]
        return [], [
            (d, p if p.startswith(b"mlpipe-tree") else b"") for d, p in parts if blake3(p).hexdigest() == d
        ]

    for damaged, members in engine.each(check, [f.name for f in bodies]):
        found.damaged += damaged
        for digest, data in members:
            good.add(digest)
            _listing(digest, data, listings)


def _entries(engine: Engine, namespace: str, found: Survey) -> list[tuple[str, Entry]]:
    def read(name: str) -> tuple[str, Entry | None]:
        key = "".join(name.rsplit("/", 2)[1:])
        data = engine.read_or_none(name, entries.LARGEST)
        try:
            return name, entries.decode(data or b"", key, namespace)
        except ValueError:
            return name, None

    there = engine.names(names.folder(namespace, "records"))
    _count(found, [f.size for f in there])
    good = []
    for name, entry in engine.each(read, [f.name for f in there]):
        if entry is None:
            found.damaged.append(name)
        else:
            good.append((name, entry))
    return good


def _listing(digest: str, data: bytes, listings: dict[str, list[tree.Entry]]) -> None:
    if data.startswith(b"mlpipe-tree"):
        try:
            listings[digest] = tree.decode(data)
        except ValueError:
            listings.setdefault(digest, [])


def _count(found: Survey, sizes: list[int]) -> None:
    found.files += len(sizes)
    found.bytes += sum(sizes)
