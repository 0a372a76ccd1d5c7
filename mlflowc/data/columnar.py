"""Checks Parquet and Arrow files with DuckDB. Their columns have types of their own, and no lines.

| declared | what the file may have |
|---|---|
| `int`, `size` | integers of any width; decimals without places |
| `float` | those, floats, decimals; NaN counts as missing |
| `bool` | booleans |
| `str`, `enum` | text; dictionaries; dates, times, timestamps and UUIDs, which count as their ISO text |
| `duration` | intervals; numbers, in seconds |
| `list[T]` | lists of such |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflowc.check.lattice import spell_scalar
from mlflowc.data import bigtext, cells, duck, grammar, plain, sql
from mlflowc.data.findings import SHOWN, Example, Finding, Rule, Verdict, shown
from mlflowc.data.sql import Parts
from mlflowc.data.textfile import NoTableError
from mlflowc.ir.model import Column, FileType, ScalarType

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_INTEGERS = frozenset(
    f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")
) | {"INTEGER", "UINTEGER"}
_FLOATS = frozenset(("FLOAT", "DOUBLE"))
_DATES = frozenset(("DATE", "TIME", "UUID"))


def check(path: Path, kind: str, type: FileType) -> Verdict:
    """The verdict on a Parquet file (or a folder of them) or an Arrow file. Raises `OSError`, `duckdb.Error`;
    `ImportError` when an Arrow file needs `pyarrow`.
    """
    import duckdb

    with duck.connection(path) as (con, link):
        try:
            table = relation(con, link, kind)
            return _check(con, table, type, _numbered(link, kind))
        except NoTableError as e:
            return plain.unreadable(e, 0)
        except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException) as e:
            reason = re.sub(rf"['\"]?{re.escape(str(link))}['\"]?", "it", str(e).splitlines()[0])
            return plain.unreadable(NoTableError(reason), 0)


def relation(con: DuckDBPyConnection, link: Path, kind: str) -> str:
    """The table for DuckDB. Raises `NoTableError`."""
    if kind == "arrow":
        con.register("arrow_file", _arrow(link))
        return "arrow_file"
    if link.is_dir():
        return f"read_parquet({sql.literal(f'{link}/**/*.parquet')}, union_by_name = true)"
    return f"read_parquet({sql.literal(link)})"


def _numbered(link: Path, kind: str) -> str:
    """The same table with `_row`, the number of each row, from 1, and `_file`."""
    if kind == "arrow":
        return "(SELECT row_number() OVER () AS _row, '' AS _file, * FROM arrow_file)"
    if link.is_dir():
        options = f"{sql.literal(f'{link}/**/*.parquet')}, union_by_name = true, filename = '_file'"
    else:
        options = f"{sql.literal(link)}"
    name = f"replace(_file, {sql.literal(f'{link}/')}, '')" if link.is_dir() else "''"
    table = f"read_parquet({options}, file_row_number = true)"
    return f"(SELECT file_row_number + 1 AS _row, {name} AS _file, * FROM {table})"


def _arrow(link: Path) -> Any:
    """The file as something that DuckDB can read again and again."""
    import pyarrow
    import pyarrow.dataset
    import pyarrow.ipc

    try:
        with pyarrow.memory_map(str(link)) as file:
            if file.read(6) == b"ARROW1":
                return pyarrow.dataset.dataset(str(link), format="ipc")
        # A stream has no index: it is mapped into memory, and read from there.
        with pyarrow.memory_map(str(link)) as file:
            return pyarrow.ipc.open_stream(file).read_all()
    except (pyarrow.ArrowInvalid, OSError):
        raise NoTableError("it is no Arrow file") from None


def described(con: DuckDBPyConnection, table: str) -> dict[str, str]:
    """The names of its columns, and DuckDB's words for their types."""
    return {r[0]: r[1] for r in con.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}


def _check(con: DuckDBPyConnection, table: str, type: FileType, numbered: str) -> Verdict:
    has = described(con, table)
    found: list[Finding] = []
    parts: list[Parts] = []
    for column in type.columns:
        if column.name not in has:
            found.append(plain.absent(column, list(has)))
        elif not fits(has[column.name], column.type):
            rule = Rule(column.name, "type", f"is {spell_scalar(column.type)}")
            found.append(Finding(rule, 0, note=f"in the file it is {has[column.name]}"))
        else:
            parts.append(_part(column, has[column.name]))
    counts = duck.count(con, duck.Source(table), parts, json=False)
    for finding in bigtext.findings(parts, counts):
        n = next(n for n, p in enumerate(parts) if p.column.name == finding.rule.column)
        examples = _examples(con, numbered, parts[n], finding.rule, counts.columns[n])
        found.append(replace(finding, examples=examples))
    return Verdict(counts.rows, (*found, *plain.table_findings(type, counts.rows)))


def fits(has: str, type: ScalarType) -> bool:
    """Whether a column that DuckDB calls `has` can be one of that type."""
    integer = has in _INTEGERS or bool(re.fullmatch(r"DECIMAL\(\d+,0\)", has))
    number = integer or has in _FLOATS or has.startswith("DECIMAL(")
    match type.name:
        case "any":
            return True
        case "int" | "size":
            return integer
        case "float":
            return number
        case "bool":
            return has == "BOOLEAN"
        case "duration":
            return number or has == "INTERVAL"
        case "list":
            inner = re.fullmatch(r"(.*)\[\d*\]", has)
            return inner is not None and (type.element is None or fits(inner[1], type.element))
    return has == "VARCHAR" or has.startswith(("ENUM(", "TIMESTAMP")) or has in _DATES


def _part(column: Column, has: str) -> Parts:
    raw = '"' + column.name.replace('"', '""') + '"'
    value = raw
    missing = f"{raw} IS NULL"
    if has in _FLOATS:
        missing = f"({missing} OR isnan({raw}))"
    elif has == "INTERVAL":
        value = f"epoch({raw})"
    elif column.type.name in ("str", "enum"):
        value = f"{raw}::VARCHAR"
    elif column.type.name == "list":
        value = f"to_json({raw})::VARCHAR"
    state = f"CASE WHEN {missing} THEN 0"
    if column.type.name == "enum":
        listed = ", ".join(sql.literal(v) for v in column.type.values) or "NULL"
        state += f" WHEN {value} NOT IN ({listed}) THEN 2"
    element = column.type.element
    if element is not None and not element.optional:
        state += f" WHEN list_count({raw}) < len({raw}) THEN 2"
    odd = any(c.op == "matches" and not grammar.safe_pattern(c.pattern or "") for c in column.constraints)
    return Parts(column, value, state + " ELSE 1 END", value, asked=odd)


def _examples(
    con: DuckDBPyConnection, numbered: str, part: Parts, rule: Rule, counts: duck.ColumnCounts
) -> tuple[Example, ...]:
    """The first rows that break the rule."""
    constraint = next((c for c in part.column.constraints if c.op == rule.op), None)
    accept: Callable[[Any], bool] | None = None
    if rule.op in ("type", "missing", "null"):
        where = f"s = {2 if rule.op == 'type' else 0}"
    elif rule.op == "unique":
        listed = ", ".join(sql.literal(v) for v in counts.repeated)
        where = f"s = 1 AND v IN ({listed})"
    else:
        assert constraint is not None
        test = sql.satisfied(constraint, "v", None)
        where = "s = 1" + (f" AND NOT coalesce({test}, false)" if test else "")
        accept = cells.predicate(constraint) if rule.op == "matches" else None
    query = (
        "SELECT _row, _file, v FROM"
        f" (SELECT _row, _file, {part.state} AS s, {part.value} AS v FROM {numbered})"
        f" WHERE {where} ORDER BY _file, _row"
    )
    # All places of a few repeated values, or the first few of any rule but that: the rest stays unread.
    cursor = con.execute(query if accept or rule.op == "unique" else f"{query} LIMIT {SHOWN}")
    found: list[Example] = []
    first: dict[Any, int] = {}
    while len(found) < SHOWN and (row := cursor.fetchone()) is not None:
        number, file, value = row
        if accept is not None and accept(value):
            continue
        before = first.setdefault(value, number) if rule.op == "unique" else None
        if before == number:
            continue
        text = shown(value) + (f" in `{file}`" if file else "")
        found.append(Example(None, number, text, before))
    return tuple(found)
