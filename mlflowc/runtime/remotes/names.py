"""Where things are in a remote.

    v1/trusted/records/ab/cdef…         what a key led to, and which packs hold its small files
    v1/trusted/objects/ab/cdef…         a file of 1 MiB or more, by its hash
    v1/trusted/trees/ab/cdef…           a folder's listing of 1 MiB or more, by its hash
    v1/trusted/packs/cdef…              many small files and listings in one, by the hash of the pack
    v1/trusted/index/cdef…              what is where in that pack
    v1/trusted/condemned/cdef…          what clearing up is going to remove
    v1/untrusted/pr-12/…                the same, of one pull request, branch or person

A namespace is `trusted` or `untrusted/NAME`. Contents are believed for their hash, wherever they are from;
records are believed for the namespace that they are in.
"""

from __future__ import annotations

import re

from mlflowc.runtime.hashing import hash_bytes

VERSION = "v1"
TRUSTED = "trusted"
# From this size on, in bytes, a file has a name of its own.
LARGE = 1024 * 1024

_NAMESPACE = re.compile(r"trusted|untrusted/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_HASH = re.compile(r"[0-9a-f]{64}")


def is_namespace(text: str) -> bool:
    """Whether it names a namespace."""
    return _NAMESPACE.fullmatch(text) is not None


def is_hash(text: str) -> bool:
    """Whether it is a hash as written everywhere: 64 lower-case hexadecimal digits."""
    return _HASH.fullmatch(text) is not None


def untrusted(name: str) -> str:
    """The namespace of a pull request, a branch or a person. Different names never share one."""
    if _PLAIN.fullmatch(name):
        return f"untrusted/{name}"
    # A dot, which plain names have none of, and the hash of what cannot be said plainly.
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:64] or "x"
    return f"untrusted/{plain}.{hash_bytes(name.encode('utf-8', 'surrogatepass'))[:16]}"


def record(namespace: str, key: str) -> str:
    """Where the record of a key is."""
    return f"{VERSION}/{namespace}/records/{key[:2]}/{key[2:]}"


def content(namespace: str, kind: str, digest: str) -> str:
    """Where a large file (`kind` `objects`) or listing (`trees`) is."""
    return f"{VERSION}/{namespace}/{kind}/{digest[:2]}/{digest[2:]}"


def pack(namespace: str, pack_id: str) -> str:
    """Where a pack is."""
    return f"{VERSION}/{namespace}/packs/{pack_id}"


def index(namespace: str, pack_id: str) -> str:
    """Where the index of a pack is."""
    return f"{VERSION}/{namespace}/index/{pack_id}"


def folder(namespace: str, kind: str) -> str:
    """The prefix of all of one kind (`records objects trees packs index`) in a namespace."""
    return f"{VERSION}/{namespace}/{kind}/"
