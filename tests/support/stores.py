"""Contents put into a cache without a stage that made them."""

from __future__ import annotations

from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.store import Store


def put_bytes(store: Store, data: bytes) -> str:
    """Adds an object; returns its hash."""
    digest = hash_bytes(data)
    if not store.has(digest):
        store.put_checked(digest, data)
    return digest
