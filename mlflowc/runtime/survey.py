"""What is in the cache, and whether it is what it should be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlflowc.runtime.hashing import hash_file, hash_files
from mlflowc.runtime.store import Store


@dataclass(slots=True)
class Survey:
    """`damaged` are names of files that are not what they should be, `incomplete` keys of results whose
    content is not all there. `bytes` is what was read. Where signatures count, `signed` is how many results
    have a good one, and `doubtful` gives names of records that are not believed, with the reason.
    """

    files: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    doubtful: dict[str, str] = field(default_factory=dict)
    signed: int | None = None


def verify(store: Store) -> Survey:
    """Hashes everything again; what is damaged is dropped. Raises `OSError` when it cannot be read."""
    found = Survey()
    paths = list(_files(store, "objects"))
    found.files, found.bytes = len(paths), sum(p.stat().st_size for p in paths)
    for path, digest in zip(paths, _hashes(paths), strict=True):
        expected = path.parent.name + path.name
        if digest != expected:
            found.damaged.append(f"objects/{expected}")
            store.drop_file(expected)
    for held in store.packs.all():
        found.files += 1
        found.bytes += held.size
    found.damaged += store.packs.check()
    for path in _files(store, "trees"):
        found.files += 1
        found.bytes += path.stat().st_size
        expected = path.parent.name + path.name
        if store.listing(expected) is None:
            found.damaged.append(f"trees/{expected}")
    for path in _files(store, "records"):
        found.files += 1
        found.bytes += path.stat().st_size
        key = path.parent.name + path.name
        record = store.record(key)
        if record is None:
            found.damaged.append(f"records/{key}")
        elif not all(store.has_output(o) for o in record.outputs):
            found.incomplete.append(key)
    return found


def stat(store: Store) -> dict[str, int]:
    """Results, contents (objects and packs), files of all kinds, and bytes."""
    sizes = {k: [p.stat().st_size for p in _files(store, k)] for k in ("objects", "trees", "records")}
    sizes["packs"] = [held.size for held in store.packs.all()]
    return {
        "results": len(sizes["records"]),
        "contents": len(sizes["objects"]) + len(sizes["packs"]),
        "files": sum(map(len, sizes.values())),
        "bytes": sum(map(sum, sizes.values())),
    }


def _files(store: Store, kind: str) -> Iterator[Path]:
    for path in sorted((store.root / kind).glob("??/*")):
        if len(path.name) == 62:
            yield path


def _hashes(paths: list[Path]) -> list[str]:
    with contextlib.suppress(OSError):
        return hash_files([str(p) for p in paths])
    found = []
    for path in paths:
        try:
            found.append(hash_file(path))
        except OSError:
            found.append("")  # unreadable is as good as damaged
    return found
