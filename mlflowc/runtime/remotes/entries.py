"""What a remote keeps for a key: the record, and the packs in which its small files are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflowc.runtime import records
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.records import Record
from mlflowc.runtime.remotes import names

_VERSION = 1
# A record holds names, hashes and numbers, never data.
LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """`packs` are pairs of namespace and pack. `namespace` is where the entry itself was found.

    `signatures` are those of the record by public key, and `text` is the record as it was written, which they
    are of.
    """

    record: Record
    packs: tuple[tuple[str, str], ...] = ()
    namespace: str = names.TRUSTED
    signatures: Mapping[str, str] = field(default_factory=dict)
    text: bytes = field(default=b"", compare=False, repr=False)


def encode(entry: Entry) -> bytes:
    """The entry as a file: a line with the hash of the rest, then JSON."""
    body = json.dumps(
        {
            "version": _VERSION,
            "packs": [list(p) for p in entry.packs],
            "record": (entry.text or records.encode(entry.record)).decode(),
            **({"signatures": dict(entry.signatures)} if entry.signatures else {}),
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    return hash_bytes(body).encode() + b"\n" + body + b"\n"


def decode(data: bytes, key: str, namespace: str) -> Entry:
    """The entry that `encode` wrote for that key. Raises `ValueError` for anything else."""
    head, _, body = data.partition(b"\n")
    body = body.removesuffix(b"\n")
    if head.decode("ascii", "replace") != hash_bytes(body):
        raise ValueError("the entry is damaged")
    try:
        raw = json.loads(body)
        if raw["version"] != _VERSION:
            raise ValueError(f"an entry of version {raw['version']}")
        text = raw["record"].encode()
        record = records.decode(text)
        packs = tuple((str(space), str(pack)) for space, pack in raw["packs"])
        signatures = {str(key): str(made) for key, made in raw.get("signatures", {}).items()}
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"the entry is not one: {e}") from e
    if record.key != key:
        raise ValueError("the entry of another key")
    if not all(names.is_namespace(space) and names.is_hash(pack) for space, pack in packs):
        raise ValueError("the entry names a pack that cannot be")
    return Entry(record, packs, namespace, signatures, text)
