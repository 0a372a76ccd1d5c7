"""Rows of a database as a file: CSV, TSV, JSON lines, Parquet, Arrow. Equal rows give equal bytes.

NULL is an empty field in CSV and TSV, and an empty text is `""`. Times are ISO 8601, booleans `true` and
`false`, bytes hexadecimal; a float is the shortest text that reads back as the same.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.sources.port import Progress

Batch = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns of a result, their kinds as far as the database says (`int float decimal bool bytes date
    timestamp timestamptz`; None: the values tell), and the rows in batches."""

    names: Sequence[str]
    kinds: Sequence[str | None]
    batches: Iterable[Batch]


def write(rows: Rows, format: str, path: Path, progress: Progress, shown: str) -> int:
    """Writes the file; the number of rows. Raises `Failure` for columns that no file can have."""
    names = list(rows.names)
    if not names:
        raise Failure(f"{shown} gives no rows: it is no query", help="write a `select`")
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise Failure(f"{shown} gives two columns `{twice}`", help=f"name them: `select a.{twice} as …`")
    if format in ("parquet", "arrow"):
        return _columnar(rows, format, path, progress, shown)
    line = {"csv": _delimited(","), "tsv": _delimited("\t"), "jsonl": _json_line(names)}[format]
    number = done = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        if format != "jsonl":
            file.write(line(names))
        for batch in rows.batches:
            text = "".join(map(line, batch))
            file.write(text)
            number += len(batch)
            done += len(text)
            progress(done, None)
    return number


def _delimited(separator: str) -> Callable[[Sequence[Any]], str]:
    special = (separator, '"', "\n", "\r")

    def field(value: Any) -> str:
        if value is None:
            return ""
        text = plain(value)
        if isinstance(value, str) and (not text or any(s in text for s in special) or text != text.strip()):
            return '"' + text.replace('"', '""') + '"'
        # What is made of a list or an object may hold a separator, too.
        return '"' + text.replace('"', '""') + '"' if any(s in text for s in special) else text

    return lambda row: separator.join(map(field, row)) + "\n"


def _json_line(names: Sequence[str]) -> Callable[[Sequence[Any]], str]:
    keys = [json.dumps(n, ensure_ascii=False) + ": " for n in names]

    def value(found: Any) -> str:
        if found is None or (isinstance(found, float) and not math.isfinite(found)):
            return "null"
        if isinstance(found, bool | int | float):
            return json.dumps(found)
        if isinstance(found, Decimal):
            return format(found, "f") if found.is_finite() else "null"
        if isinstance(found, list | dict):
            return json.dumps(found, ensure_ascii=False, sort_keys=True, default=plain)
        return json.dumps(plain(found), ensure_ascii=False)

    return lambda row: "{" + ", ".join(k + value(v) for k, v in zip(keys, row, strict=True)) + "}\n"


def plain(value: Any) -> str:
    """A value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(value.total_seconds())
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=plain)
    return str(value)


# --- columns -----------------------------------------------------------------------------------


def _columnar(rows: Rows, format: str, path: Path, progress: Progress, shown: str) -> int:
    try:
        import pyarrow as pa  # heavy, and only these two formats need it
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise Failure(
            f"{format} needs `pyarrow`, which is not installed", help=extras.install("data")
        ) from None
    batches = iter(rows.batches)
    first = next(batches, [])
    schema = pa.schema(
        [
            (name, _arrow(pa, kind, [row[i] for row in first]))
            for i, (name, kind) in enumerate(zip(rows.names, rows.kinds, strict=True))
        ]
    )
    make = pq.ParquetWriter if format == "parquet" else pa.ipc.new_file
    number = 0
    with path.open("wb") as file:
        with make(file, schema) as writer:
            for batch in _with(first, batches):
                try:
                    columns = [
                        pa.array([_fit(row[i], field.type, pa) for row in batch], field.type)
                        for i, field in enumerate(schema)
                    ]
                except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as e:
                    raise Failure(
                        f"{shown}: a column has values of several types: {e}",
                        help="say which in the query: `cast(x as text)`",
                    ) from None
                writer.write_batch(pa.record_batch(columns, schema=schema))
                number += len(batch)
                progress(_told(file), None)
        return number


def _with(first: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    yield first
    yield from rest


def _told(file: IO[bytes]) -> int:
    return file.tell() if not file.closed else 0


def _arrow(pa: Any, kind: str | None, values: list[Any]) -> Any:
    """The type of a column: as the database says, else as its first rows show."""
    known: Mapping[str, Any] = {
        "int": pa.int64(),
        "float": pa.float64(),
        "decimal": pa.float64(),
        "bool": pa.bool_(),
        "bytes": pa.binary(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
    }
    if kind is not None:
        return known[kind]
    types = {type(v) for v in values if v is not None}
    if types and types <= {int}:
        return pa.int64()
    if types and types <= {int, float}:
        return pa.float64()
    if types and types <= {bytes}:
        return pa.binary()
    return pa.string()


def _fit(value: Any, type: Any, pa: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if value is not None and pa.types.is_string(type) and not isinstance(value, str):
        if isinstance(value, int | float):
            raise pa.ArrowTypeError(f"{value} among texts")
        return plain(value)
    return value
