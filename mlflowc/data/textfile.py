"""Rows of csv, tsv and jsonl files, one after the other, each with the line where it begins."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from mlflowc.data.findings import shown

DELIMITERS = {"csv": ",", "tsv": "\t"}
_GZIP = b"\x1f\x8b"
_LONGEST_CELL = 2**31 - 1


class NoTableError(Exception):
    """The file, or one row, is not what its kind says; the text says why. `line` counts from 1."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Row(NamedTuple):
    """A row: the line where it begins, its cells (csv, tsv) or its object (jsonl), and why it is none."""

    line: int
    cells: Any
    problem: str = ""


def compressed(path: Path) -> bool:
    """Whether the file is compressed by gzip. Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The file as text, without its byte order mark. Raises `NoTableError` for what is not UTF-8."""
    with _binary(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            yield text
        except UnicodeDecodeError:
            raise _not_utf8(path) from None
        except (EOFError, gzip.BadGzipFile) as e:
            raise NoTableError(f"it is compressed, and damaged: {e}") from None


@contextmanager
def _binary(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        if file.read(2) == _GZIP:
            file.seek(0)
            with gzip.open(file) as inner:
                yield inner  # type: ignore[misc]
        else:
            file.seek(0)
            yield file


def _not_utf8(path: Path) -> NoTableError:
    """Where the first byte stands that is not UTF-8."""
    with _binary(path) as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return NoTableError("it is not UTF-8, but looks like UTF-16: write it as UTF-8")
        file.seek(0)
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as e:
                return NoTableError(f"it is not UTF-8: byte 0x{line[e.start]:02X}", number)
    return NoTableError("it is not UTF-8")


def header(path: Path, kind: str) -> list[str]:
    """The names of a csv or tsv file's columns. Raises `NoTableError`, `OSError`."""
    with opened(path) as text:
        return _header(_reader(text, kind))


def _reader(text: TextIO, kind: str) -> Any:
    # The limit is one for the whole process; the default refuses cells that are longer than 128 KiB.
    csv.field_size_limit(_LONGEST_CELL)
    return csv.reader(text, delimiter=DELIMITERS[kind], strict=True)


def _header(reader: Any) -> list[str]:
    try:
        names: list[str] = next(reader, [])
    except csv.Error as e:
        raise NoTableError(f"its header cannot be read: {e}", 1) from None
    if not names:
        raise NoTableError("it has no header" if reader.line_num else "it is empty, without a header")
    for name in names:
        if names.count(name) > 1:
            raise NoTableError(f"its header has two columns {shown(name)}", 1)
    return names


def table_rows(text: TextIO, kind: str) -> Iterator[Row]:
    """The header, then the rows of a csv or tsv file. Blank lines are no rows. Raises `NoTableError`.

    A row whose number of cells is not that of the header has a `problem`; an empty cell behind the last
    column (a trailing separator) is overlooked.
    """
    reader = _reader(text, kind)
    names = _header(reader)
    yield Row(1, names)
    width = len(names)
    line = reader.line_num + 1
    while True:
        try:
            for cells in reader:
                if len(cells) == width:
                    yield Row(line, cells)
                elif cells:
                    if len(cells) == width + 1 and not cells[-1]:
                        yield Row(line, cells)
                    else:
                        yield Row(line, cells, f"has {len(cells)} cells")
                line = reader.line_num + 1
        except csv.Error as e:
            # What stands between quotes is not certain from here on.
            raise NoTableError(f"its quotes do not fit ({e})", line) from None
        return


def object_rows(text: TextIO) -> Iterator[Row]:
    """The objects of a jsonl file. Blank lines are no rows; a line that is no object has a `problem`."""
    for number, line in enumerate(text, 1):
        if line.isspace():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as e:
            yield Row(number, {}, f"is not JSON ({str(e).partition(': line')[0]})")
            continue
        if isinstance(value, dict):
            yield Row(number, value)
        else:
            yield Row(number, {}, "is no object")
