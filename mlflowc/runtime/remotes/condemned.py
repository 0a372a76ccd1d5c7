"""What is about to be removed from a remote, told beforehand to those who push meanwhile.

Clearing up goes in two steps. A collector first writes down the names that no record needs, in a list of
its own, and takes them away only when the list is older than a grace period, and nobody needs or wrote them
since.
A push takes a name in such a list as not there, and sends its content again. So a push that takes less than
the grace period never ends with a record whose content goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.remotes import names
from mlflowc.runtime.remotes.engine import Engine

_VERSION = 1
_LARGEST = 1024 * 1024 * 1024


class List(NamedTuple):
    """One list: its own name, when it was written (seconds since 1970, by the remote's clock), its names."""

    name: str
    written: float
    names: frozenset[str]


def read(engine: Engine, namespace: str) -> list[List]:
    """All lists of a namespace. One that makes no sense names nothing. Raises `RemoteError`."""
    there = engine.names(names.folder(namespace, "condemned"))
    texts = engine.each(lambda f: engine.read_or_none(f.name, _LARGEST), there)
    prefix = f"{names.VERSION}/{namespace}/"
    return [
        List(f.name, f.modified, frozenset(n for n in _decode(text or b"") if n.startswith(prefix)))
        for f, text in zip(there, texts, strict=True)
    ]


def all_of(engine: Engine, namespaces: Iterable[str]) -> frozenset[str]:
    """Every name that is in a list of these namespaces."""
    return frozenset(n for namespace in namespaces for each in read(engine, namespace) for n in each.names)


def write(engine: Engine, namespace: str, condemned: Iterable[str]) -> None:
    """Adds a list. Raises `RemoteError`."""
    body = json.dumps({"version": _VERSION, "names": sorted(condemned)}, separators=(",", ":")).encode()
    digest = hash_bytes(body)
    engine.write(names.folder(namespace, "condemned") + digest, digest.encode() + b"\n" + body)


def _decode(data: bytes) -> list[str]:
    head, _, body = data.partition(b"\n")
    if head.decode("ascii", "replace") != hash_bytes(body):
        return []
    raw = json.loads(body)
    return [str(n) for n in raw["names"]] if raw.get("version") == _VERSION else []
