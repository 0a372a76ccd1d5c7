"""Counts with DuckDB what breaks the rules of a column: streaming, on all processors, larger than memory.

DuckDB is imported when a connection is made, and only then.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflowc.data import sql
from mlflowc.data.findings import SHOWN, Rule
from mlflowc.data.plain import Judge
from mlflowc.data.sql import Parts
from mlflowc.ir.model import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What DuckDB holds in memory; more than that (columns that are `unique`) goes to the disk.
MEMORY = "1GB"
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Source:
    """A table for DuckDB: what stands behind FROM. `is_row` is SQL for "this is a row at all"."""

    table: str
    is_row: str | None = None


@dataclass
class ColumnCounts:
    """How many cells have no value, are of another type, and break each constraint; `repeated` holds some
    of the values of a `unique` column that are there twice. `huge` counts integers of more than 64 bits.
    """

    nulls: int = 0
    wrong: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    repeated: frozenset[Any] = frozenset()
    huge: int = 0


@dataclass
class Counts:
    """What one pass finds out. `shapeless` are rows that are none."""

    rows: int
    shapeless: int
    columns: list[ColumnCounts]


@contextmanager
def connection(path: Path) -> Iterator[tuple[DuckDBPyConnection, Path]]:
    """A connection of its own, and a name for `path` that DuckDB takes for no pattern."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="mlpipec-") as folder:
        # In the name of a file, DuckDB takes `[`, `*` and `?` for a glob.
        link = Path(folder, "data")
        link.symlink_to(path.resolve(), target_is_directory=path.is_dir())
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "temp_directory": str(Path(folder, "spilled")),
            "autoinstall_known_extensions": "false",
            "preserve_insertion_order": "false",
        }
        con = duckdb.connect(config=settings)
        try:
            # It would write into the output of the run.
            con.execute("SET enable_progress_bar = false")
            yield con, link
        finally:
            con.close()


def count(con: DuckDBPyConnection, source: Source, parts: Sequence[Parts], *, json: bool) -> Counts:
    """Counts what breaks the rules of these columns. Raises `duckdb.Error`."""
    inner = [source.is_row or "true"]
    outer = ["count(*)", "count_if(NOT is_row)"]
    readers: list[Callable[[list[int]], None]] = []
    columns = [ColumnCounts() for _ in parts]
    inner[0] += " AS is_row"
    for n, part in enumerate(parts):
        inner.append(f"{part.state} AS s{n}, {part.value} AS v{n}, {part.number or 'NULL'} AS n{n}")
        for name, expression in _aggregates(part, n):
            outer.append(expression)
            readers.append(_reader(columns[n], name, len(outer) - 1))
    table = f"(SELECT {', '.join(inner)} FROM {source.table})"
    row = _one_pass(con, outer, table)
    for read in readers:
        read(row)
    for n, (part, counts) in enumerate(zip(parts, columns, strict=True)):
        if part.asked:
            _ask(con, source, part, counts, json=json)
        elif counts.broken.get("matches"):
            counts.broken["matches"] = _recheck(con, table, part.column, n)
        if counts.broken.get("unique"):
            counts.repeated = _repeated(con, table, n)
    return Counts(row[0], row[1], columns)


def _one_pass(con: DuckDBPyConnection, outer: list[str], table: str) -> list[int]:
    """The values of these aggregates."""
    import duckdb

    try:
        row = con.execute(f"SELECT {', '.join(outer)} FROM {table}").fetchone()
    except duckdb.OutOfMemoryException:
        # Different values are counted in memory, groups also on the disk: slower, and in passes of their own.
        plain = [e if "DISTINCT" not in e else "0" for e in outer]
        row = con.execute(f"SELECT {', '.join(plain)} FROM {table}").fetchone()
        assert row is not None
        row = tuple(
            _repeats(con, e, table) if "DISTINCT" in e else r for e, r in zip(outer, row, strict=True)
        )
    assert row is not None
    return list(row)


def _repeats(con: DuckDBPyConnection, aggregate: str, table: str) -> int:
    """How many rows repeat an earlier value; `aggregate` is one of `_aggregates`."""
    value, state = re.findall(r"\b[vs]\d+\b", aggregate)[:2]
    groups = f"SELECT count(*) AS c FROM {table} WHERE {state} = 1 AND {value} IS NOT NULL GROUP BY {value}"
    row = con.execute(f"SELECT coalesce(sum(c - 1), 0) FROM ({groups} HAVING count(*) > 1)").fetchone()
    assert row is not None
    return int(row[0])


def _aggregates(part: Parts, n: int) -> Iterator[tuple[str, str]]:
    yield "nulls", f"count_if(s{n} = 0)"
    yield "wrong", f"count_if(s{n} = 2)"
    if part.number is not None:
        yield "huge", f"count_if(s{n} = 1 AND v{n} IS NULL)"
    for c in part.column.constraints:
        if c.op == "unique":
            yield c.op, f"count(v{n}) FILTER (s{n} = 1) - count(DISTINCT v{n}) FILTER (s{n} = 1)"
        elif not part.asked:
            test = sql.satisfied(c, f"v{n}", f"n{n}" if part.number is not None else None)
            if test is not None:
                yield c.op, f"count_if(s{n} = 1 AND NOT coalesce({test}, false))"


def _reader(counts: ColumnCounts, name: str, at: int) -> Callable[[list[int]], None]:
    def read(row: list[int]) -> None:
        if name in ("nulls", "wrong", "huge"):
            setattr(counts, name, row[at])
        else:
            counts.broken[name] = row[at]

    return read


def _distinct(con: DuckDBPyConnection, query: str) -> Iterator[tuple[Any, int]]:
    cursor = con.execute(query)
    while rows := cursor.fetchmany(_AT_ONCE):
        yield from rows


def _ask(con: DuckDBPyConnection, source: Source, part: Parts, counts: ColumnCounts, *, json: bool) -> None:
    """Has Python decide about each different value of the column."""
    judge = Judge(part.column, json=json)
    of_rule: dict[Rule, int] = {}
    counts.nulls = counts.wrong = 0
    query = f"SELECT {part.raw}::VARCHAR, count(*) FROM {source.table} GROUP BY ALL"
    for raw, number in _distinct(con, query):
        judged = judge.judge(_loaded(raw) if json else raw or "")
        if judged.value is None:
            counts.nulls += number
        for rule in judged.broken:
            of_rule[rule] = of_rule.get(rule, 0) + number
    for op, rule in judge.rules.items():
        if op == "type":
            counts.wrong = of_rule.get(rule, 0)
        elif op in ("in", "range", "matches"):
            counts.broken[op] = of_rule.get(rule, 0)


def _loaded(raw: str | None) -> Any:
    return None if raw is None else json.loads(raw)


def _recheck(con: DuckDBPyConnection, table: str, column: Column, n: int) -> int:
    """How many values really do not match: DuckDB's patterns are a little narrower than Python's."""
    constraint = next(c for c in column.constraints if c.op == "matches")
    search = re.compile(constraint.pattern or "").search
    test = sql.satisfied(constraint, f"v{n}", None)
    query = f"SELECT v{n}, count(*) FROM {table} WHERE s{n} = 1 AND NOT {test} GROUP BY ALL"
    return sum(number for value, number in _distinct(con, query) if not search(value))


def _repeated(con: DuckDBPyConnection, table: str, n: int) -> frozenset[Any]:
    query = f"SELECT v{n} FROM {table} WHERE s{n} = 1 GROUP BY ALL HAVING count(*) > 1 LIMIT {SHOWN}"
    return frozenset(value for (value,) in con.execute(query).fetchall())
