"""Checks large csv, tsv and jsonl files: DuckDB counts, and Python says where.

DuckDB is trusted when it finds nothing. When it cannot read a file that way (rows of different lengths, other
line ends, bytes that are not UTF-8), `mlflowc.data.plain` decides.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlflowc.data import cells, duck, plain, sql, textfile
from mlflowc.data.findings import SHOWN, Finding, Rule, Verdict
from mlflowc.data.sql import Parts
from mlflowc.ir.model import Column, FileType

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Bytes of the longest row that DuckDB is to read: its buffers grow with it. Python reads longer ones.
LONGEST = 2_000_000


def check(path: Path, kind: str, type: FileType) -> Verdict:
    """The verdict on a csv, tsv or jsonl file.

    Raises `OSError`, and `duckdb.Error` for what is not the file's fault.
    """
    import duckdb

    try:
        names = [] if kind == "jsonl" else textfile.header(path, kind)
    except textfile.NoTableError:
        return plain.check(path, kind, type)
    if any(c.type.name == "list" and _is_unique(c) for c in type.columns):
        return plain.check(path, kind, type)
    with duck.connection(path) as (con, link):
        try:
            if kind == "jsonl":
                return _objects(con, link, path, type)
            return _table(con, link, path, kind, type, names)
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            pass
    return plain.check(path, kind, type)


def _is_unique(column: Column) -> bool:
    return any(c.op == "unique" for c in column.constraints)


def csv_table(link: Path, path: Path, kind: str, names: list[str]) -> str:
    """The file for DuckDB, all columns as text, named `c0`, `c1`, …"""
    columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(names)))
    return (
        f"read_csv({sql.literal(link)}, columns = {{{columns}}}, auto_detect = false, header = true,"
        f" delim = {sql.literal(textfile.DELIMITERS[kind])}, quote = '\"', escape = '\"', nullstr = '',"
        f" strict_mode = true, max_line_size = {LONGEST}, compression = '{_compression(path)}')"
    )


def json_table(link: Path, path: Path, names: list[str]) -> str:
    """The file for DuckDB: `is_row`, and an element of the list `cell` for each of `names`."""
    paths = ", ".join(sql.literal('$."' + n.replace('"', '\\"') + '"') for n in names)
    return (
        "(SELECT starts_with(json::VARCHAR, '{') AS is_row,"
        f" json_extract(json, [{paths}]::VARCHAR[]) AS cell"
        f" FROM read_ndjson_objects({sql.literal(link)}, maximum_object_size = {LONGEST},"
        f" compression = '{_compression(path)}'))"
    )


def _compression(path: Path) -> str:
    return "gzip" if textfile.compressed(path) else "none"


def _table(
    con: DuckDBPyConnection, link: Path, path: Path, kind: str, type: FileType, names: list[str]
) -> Verdict:
    missing = [plain.absent(c, names) for c in type.columns if c.name not in names]
    parts = [sql.text_column(c, f"c{names.index(c.name)}") for c in type.columns if c.name in names]
    counts = duck.count(con, duck.Source(csv_table(link, path, kind, names)), parts, json=False)
    # A blank line is no row; where there is but one column, DuckDB takes it for one.
    if (len(names) == 1 and _holes(con, link, path, kind, names)) or any(
        c.huge and _is_unique(p.column) for p, c in zip(parts, counts.columns, strict=True)
    ):
        return plain.check(path, kind, type)
    found = findings(parts, counts)
    places = plain.Places(
        {f.rule: min(f.count, SHOWN) for f in found},
        {p.column.name: c.repeated for p, c in zip(parts, counts.columns, strict=True)},
    )
    if found:
        where = plain.find(path, kind, type, places)
        found = [replace(f, examples=where.get(f.rule, ())) for f in found]
    return Verdict(counts.rows, (*missing, *found, *plain.table_findings(type, counts.rows)))


def _holes(con: DuckDBPyConnection, link: Path, path: Path, kind: str, names: list[str]) -> bool:
    query = f"SELECT c0 FROM {csv_table(link, path, kind, names)} WHERE c0 IS NULL LIMIT 1"
    return con.execute(query).fetchone() is not None


def _objects(con: DuckDBPyConnection, link: Path, path: Path, type: FileType) -> Verdict:
    table = json_table(link, path, [c.name for c in type.columns])
    parts = [sql.json_column(c, f"cell[{n}]") for n, c in enumerate(type.columns, 1)]
    counts = duck.count(con, duck.Source(table, "is_row"), parts, json=True)
    huge = any(c.huge and _is_unique(p.column) for p, c in zip(parts, counts.columns, strict=True))
    verdict = Verdict(counts.rows, tuple(plain.table_findings(type, counts.rows)))
    if counts.shapeless or huge or findings(parts, counts):
        return plain.check(path, "jsonl", type)
    return verdict


def findings(parts: list[Parts], counts: duck.Counts) -> list[Finding]:
    """The rules for cells that are broken, in the order of the type; without places."""
    found = []
    for part, column in zip(parts, counts.columns, strict=True):
        for rule in cells.cell_rules(part.column):
            number, note = _broken(rule, part, column, counts.rows)
            if number:
                found.append(Finding(rule, number, note=note))
    return found


def _broken(rule: Rule, part: Parts, counts: duck.ColumnCounts, rows: int) -> tuple[int, str]:
    match rule.op:
        case "type":
            return counts.wrong, ""
        case "missing":
            return counts.nulls, ""
        case "null":
            note = plain.null_note(part.column, counts.nulls, rows)
            return (counts.nulls if note else 0), note
    return counts.broken.get(rule.op, 0), ""
