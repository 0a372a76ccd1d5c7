"""Reads table files a row at a time: for counting rows, and for the plots of a report.

A cell is a number where it looks like one, None where it is empty, else text. YAML is read whole, as JSON is.
Parquet and Arrow need `pyarrow`, which is imported only here and only for them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, TypeAlias

Cell: TypeAlias = int | float | str | bool | None
Row: TypeAlias = dict[str, Cell]

KINDS = ("csv", "tsv", "jsonl", "json", "yaml", "parquet", "arrow")
_DELIMITERS = {"csv": ",", "tsv": "\t"}


class TableError(ValueError):
    """The file is not a table of its kind, or cannot be read here; the message is a whole sentence."""


def columns(path: Path, kind: str) -> tuple[str, ...]:
    """The names of the table's columns in order; for JSON, those of the first row."""
    with _Readable(path, kind):
        if kind in _DELIMITERS:
            with _open(path) as file:
                return tuple(next(csv.reader(file, delimiter=_DELIMITERS[kind]), ()))
        if kind in ("parquet", "arrow"):
            return tuple(str(n) for n in _arrow(path, kind).column_names)
        return tuple(next(_rows(path, kind), {}))


def rows(path: Path, kind: str) -> Iterator[Row]:
    """The rows of the table at `path`, read as they are asked for. Raises TableError."""
    with _Readable(path, kind):
        yield from _rows(path, kind)


def count(path: Path, kind: str) -> int:
    """How many rows the table has, its header not counted. Raises TableError."""
    with _Readable(path, kind):
        if kind in _DELIMITERS:
            with _open(path) as file:
                # A quoted cell may hold line breaks, so lines are not rows; empty lines are none.
                return max(0, sum(1 for r in csv.reader(file, delimiter=_DELIMITERS[kind]) if r) - 1)
        if kind == "jsonl":
            with _open(path) as file:
                return sum(1 for line in file if line.strip())
        if kind == "parquet":
            return int(_pyarrow("parquet", kind).ParquetFile(path).metadata.num_rows)
        if kind == "arrow":
            return int(_arrow(path, kind).num_rows)
        return sum(1 for _ in _rows(path, kind))


class _Readable:
    """Turns what reading a file can raise into a TableError that names the file."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind

    def __enter__(self) -> None:
        if self.kind not in KINDS:
            raise TableError(f"`{self.path.name}` is no table: it is of kind `{self.kind}`")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TableError):
            return
        if isinstance(error, OSError):
            raise TableError(f"`{self.path.name}` cannot be read: {error.strerror or error}") from error
        if isinstance(error, UnicodeDecodeError):
            raise TableError(f"`{self.path.name}` is not UTF-8 text (byte {error.start})") from error
        if isinstance(error, ValueError | csv.Error | RecursionError):
            raise TableError(f"`{self.path.name}` is not a table of kind `{self.kind}`: {error}") from error


def _open(path: Path) -> TextIO:
    return open(path, encoding="utf-8-sig", newline="")


def _rows(path: Path, kind: str) -> Iterator[Row]:
    if kind in _DELIMITERS:
        with _open(path) as file:
            reader = csv.reader(file, delimiter=_DELIMITERS[kind])
            names = next(reader, [])
            for cells in reader:
                if cells:
                    yield {n: _cell(c) for n, c in zip(names, cells, strict=False)}
    elif kind == "jsonl":
        with _open(path) as file:
            for line in file:
                if line.strip():
                    yield _record(json.loads(line))
    elif kind == "json":
        yield from _json_rows(json.loads(path.read_text(encoding="utf-8-sig")))
    elif kind == "yaml":
        yield from _json_rows(_yaml(path))
    else:
        table = _arrow(path, kind)
        for batch in table.to_batches():
            for record in batch.to_pylist():
                yield _record(record)


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as e:
        raise ValueError(str(e).splitlines()[0]) from None


def _json_rows(value: Any) -> Iterator[Row]:
    """A list of objects is rows; an object of lists of equal length is columns; of an object around them, the
    first list of objects is taken, as DVC does."""
    value = _inner(value)
    if isinstance(value, list):
        for record in value:
            yield _record(record)
    elif isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        if len({len(v) for v in value.values()}) > 1:
            raise TableError("its columns are of different lengths")
        for cells in zip(*value.values(), strict=True):
            yield _record(dict(zip(value, cells, strict=True)))
    else:
        raise TableError("JSON that is a table is a list of objects, or an object of lists")


def _inner(value: Any) -> Any:
    """The first list of objects in an object, else the value."""
    waiting = [value] if isinstance(value, dict) else []
    while waiting:
        at = waiting.pop(0)
        for inner in at.values():
            if isinstance(inner, list) and inner and isinstance(inner[0], dict):
                return inner
            if isinstance(inner, dict):
                waiting.append(inner)
    return value


def _record(value: Any) -> Row:
    if not isinstance(value, dict):
        raise TableError(f"a row is an object, and here is {json.dumps(value, default=str)[:40]}")
    return {str(k): _scalar(v) for k, v in value.items()}


def _scalar(value: Any) -> Cell:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if not isinstance(value, list | dict) else json.dumps(value, default=str)


def _cell(text: str) -> Cell:
    if not text:
        return None
    # Only what starts like a number is tried: most cells that are text do not.
    if text[0] in "0123456789+-.nNiI ":
        try:
            return int(text) if "_" not in text else text
        except ValueError:
            try:
                return float(text) if "_" not in text else text
            except ValueError:
                pass
    return text


def _pyarrow(module: str, kind: str) -> Any:
    import importlib

    try:
        return importlib.import_module("pyarrow." + module)
    except ImportError:
        raise TableError(f"reading {kind} files needs `pip install pyarrow`") from None


def _arrow(path: Path, kind: str) -> Any:
    if kind == "parquet":
        return _pyarrow("parquet", kind).read_table(path)
    ipc = _pyarrow("ipc", kind)
    try:
        return ipc.open_file(str(path)).read_all()
    except ValueError:
        with io.BytesIO(path.read_bytes()) as stream:
            return ipc.open_stream(stream).read_all()
