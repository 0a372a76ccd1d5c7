"""What a declared type says about a file's content, and its digest. Imports nothing heavy."""

from __future__ import annotations

import json

from blake3 import blake3

from mlflowc.frozen import replace
from mlflowc.ir.model import FileType

TEXT = ("csv", "tsv", "jsonl")
COLUMNAR = ("parquet", "arrow")
_VERSION = 1


def checkable(type: FileType) -> bool:
    """Whether the type says something about a file's content that is checked."""
    if type.element is not None:
        return checkable(type.element)
    return type.kind in (*TEXT, *COLUMNAR, "table") and bool(type.columns or type.constraints)


def needs_library(type: FileType) -> bool:
    """Whether checking such a file takes the extra `mlflowc[data]`, however small it is."""
    if type.element is not None:
        return needs_library(type.element)
    return type.kind in COLUMNAR and checkable(type)


def digest(type: FileType) -> str:
    """A hash of what the type says; its name does not count."""
    from dataclasses import asdict  # slow to import, and most pipelines have no such type

    text = json.dumps([_VERSION, asdict(replace(type, name=None))], sort_keys=True)
    return blake3(text.encode()).hexdigest()
