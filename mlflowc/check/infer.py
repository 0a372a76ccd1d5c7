"""The kind of file that a path's ending tells."""

from __future__ import annotations

import posixpath

from mlflowc.check.lattice import TABLES
from mlflowc.ir import model as ir

_KINDS: dict[str, str] = {
    "txt": "text", "log": "text", "py": "text", "sh": "text", "r": "text", "sql": "text", "toml": "text",
    "ini": "text", "cfg": "text", "xml": "text", "tex": "text", "rst": "text",
    "csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "json",
    "yaml": "yaml", "yml": "yaml", "md": "markdown", "markdown": "markdown", "html": "html", "htm": "html",
    "parquet": "parquet", "pq": "parquet", "arrow": "arrow", "feather": "arrow",
    "png": "image", "jpg": "image", "jpeg": "image", "svg": "image", "gif": "image", "webp": "image",
    "ipynb": "notebook",
    "pkl": "model", "pickle": "model", "joblib": "model", "onnx": "model", "pt": "model", "pth": "model",
    "h5": "model", "keras": "model", "safetensors": "model", "gguf": "model",
    "tflite": "model", "ubj": "model",
    "zip": "archive", "tar": "archive", "tgz": "archive", "7z": "archive",
    "sqlite": "sqlite", "sqlite3": "sqlite", "db": "sqlite",
}  # fmt: skip
# The endings that say that a file is of this kind and no other that `out` could name.
_TELLING = TABLES | {"image", "notebook", "sqlite", "html", "markdown"}


def ending(path: str) -> str:
    """The last ending in lower case, without its dot; `gz` and the like behind another one count with it."""
    name = posixpath.basename(path)
    _, dot, last = name.rpartition(".")
    return last.lower() if dot else ""


def kind_of(path: str) -> str:
    """`dir` for `data/`, the ending's kind, `path` (file or folder) without an ending, else `file`."""
    if path.endswith("/") or path in (".", ".."):
        return "dir"
    last = ending(path)
    if not last:
        return "path"
    if path.lower().endswith((".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        return "archive"
    return _KINDS.get(last, "file")


def type_of(path: str) -> ir.FileType:
    """The type of a path that was given none."""
    return ir.FileType(kind_of(path))


def contradicts(kind: str, path: str) -> str | None:
    """The kind that the path's ending tells, where it cannot be `kind`; None where they go together."""
    told = kind_of(path)
    if told == "dir":
        return "dir" if kind not in ("dir", "path") else None
    if told not in _TELLING or kind in ("path", "file", told):
        return None
    if kind == "text" and told in ("csv", "tsv", "jsonl", "html", "markdown"):
        return None
    return told
