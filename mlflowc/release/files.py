"""The files of a release, and both hashes of each: BLAKE3 is what locks have, SHA-256 what others ask for."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mlflowc.errors import Failure
from mlflowc.release.statement import Subject
from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.walking import walk

_CHUNK = 1 << 20


class Measured(NamedTuple):
    """All files of an output, and the hash that a lock would have for the whole of it."""

    subjects: tuple[Subject, ...]
    whole: str
    kind: str


def measure(path: Path, name: str) -> Measured:
    """The file or folder at `path`, whose files are called `name` and below. Raises `Failure`."""
    try:
        if path.is_dir():
            return _folder(path, name.rstrip("/"))
        subject = _file(path, name)
    except OSError as e:
        raise Failure(f"cannot read `{path}`: {e.strerror}") from None
    return Measured((subject,), subject.blake3, "file")


def _folder(path: Path, name: str) -> Measured:
    # Each file is read once, for both hashes and the listing.
    subjects, entries = [], []
    for found in walk(os.fspath(path), frozenset()):
        digest = ""
        if found.kind in "fx":
            subject = _file(path / found.path, f"{name}/{found.path}")
            subjects.append(subject)
            digest = subject.blake3
        entries.append(tree.to_entry(os.fspath(path), found, digest))
    return Measured(tuple(subjects), hash_bytes(tree.encode(entries)), "dir")


def _file(path: Path, name: str) -> Subject:
    ours, theirs, size = blake3(), hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            ours.update(chunk)
            theirs.update(chunk)
            size += len(chunk)
    return Subject(name, theirs.hexdigest(), ours.hexdigest(), size)
