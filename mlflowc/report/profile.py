"""What a table is like, column by column, and how that differs from before.

Small files are read row by row; large ones by DuckDB where the extra `data` is installed, and else not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflowc import extras
from mlflowc.report.model import Table
from mlflowc.runtime import tables
from mlflowc.runtime.gate_table import number
from mlflowc.runtime.tables import Cell, TableError

_SMALL = 16_000_000  # bytes that are read here; about five seconds
_MOST_DISTINCT = 1000
_TOLD = 6  # columns whose change is told in words; the table has all


@dataclass(frozen=True, slots=True)
class Column:
    """`nulls` is their number. `mean`, `low` and `high` are those of numbers, None for text. `distinct` is
    how many values there are, at most `_MOST_DISTINCT`."""

    name: str
    nulls: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    distinct: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """`columns` in the table's order."""

    rows: int
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((c for c in self.columns if c.name == name), None)


def of(path: Path, kind: str) -> Profile:
    """The profile of a table file. Raises TableError, with the reason, where there is none."""
    size = path.stat().st_size
    if size <= _SMALL:
        return _by_rows(path, kind)
    with contextlib.suppress(ImportError):
        import duckdb  # large, and only for large files

        return _by_duckdb(duckdb, path, kind)
    raise TableError(f"{size / 1e6:.0f} MB are not looked through without `{extras.install('data')}`")


def encode(profile: Profile) -> dict[str, Any]:
    """The profile as JSON, to be kept."""
    return asdict(profile)


def decode(raw: Any) -> Profile:
    """What `encode` made. Raises ValueError for anything else."""
    try:
        return Profile(raw["rows"], tuple(Column(**c) for c in raw["columns"]))
    except (TypeError, KeyError) as e:
        raise ValueError(str(e)) from None


class _Tally:
    """One column while rows go by."""

    def __init__(self) -> None:
        self.nulls = self.numbers = self.others = 0
        self.total, self.low, self.high = 0.0, math.inf, -math.inf
        self.seen: set[Cell] = set()

    def add(self, cell: Cell) -> None:
        if cell is None:
            self.nulls += 1
            return
        if len(self.seen) < _MOST_DISTINCT:
            self.seen.add(cell)
        if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
            self.numbers += 1
            self.total += cell
            self.low, self.high = min(self.low, cell), max(self.high, cell)
        else:
            self.others += 1

    def column(self, name: str, rows: int) -> Column:
        nulls = rows - self.numbers - self.others
        if not self.numbers or self.others:
            return Column(name, nulls, distinct=len(self.seen))
        return Column(name, nulls, self.total / self.numbers, self.low, self.high, len(self.seen))


def _by_rows(path: Path, kind: str) -> Profile:
    tallies: dict[str, _Tally] = {name: _Tally() for name in tables.columns(path, kind)}
    count = 0
    for row in tables.rows(path, kind):
        count += 1
        for name, cell in row.items():
            tally = tallies.get(name) or tallies.setdefault(name, _Tally())
            tally.add(cell)
    return Profile(count, tuple(t.column(name, count) for name, t in tallies.items()))


_READERS = {"csv": "read_csv", "tsv": "read_csv", "jsonl": "read_json", "json": "read_json"}


def _by_duckdb(duckdb: Any, path: Path, kind: str) -> Profile:
    reader = _READERS.get(kind, "read_parquet" if kind == "parquet" else "")
    if not reader:
        raise TableError(f"large {kind} files are not looked through")
    options = (
        ", delim = '\t'" if kind == "tsv" else ", format = 'newline_delimited'" if kind == "jsonl" else ""
    )
    try:
        with duckdb.connect() as connection:
            connection.execute("SET enable_progress_bar = false")
            found = connection.execute(
                f"SUMMARIZE SELECT * FROM {reader}($path{options})", {"path": str(path)}
            )
            names = [d[0] for d in found.description]
            rows = [dict(zip(names, r, strict=True)) for r in found.fetchall()]
    except duckdb.Error as e:
        raise TableError(f"`{path.name}` cannot be read: {str(e).splitlines()[0]}") from None
    count = max((int(r["count"]) for r in rows), default=0)
    return Profile(count, tuple(_summarized(r) for r in rows))


def _summarized(row: dict[str, Any]) -> Column:
    nulls = round(float(row["null_percentage"] or 0) / 100 * int(row["count"]))
    mean, low, high = (_float(row[k]) for k in ("avg", "min", "max"))
    distinct = min(_MOST_DISTINCT, int(row["approx_unique"] or 0))
    if None in (mean, low, high):
        return Column(row["column_name"], nulls, distinct=distinct)
    return Column(row["column_name"], nulls, mean, low, high, distinct)


def _float(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# --- in words ----------------------------------------------------------------------------------


def changes(now: Profile, before: Profile) -> tuple[str, ...]:
    """What is different, in words: rows, columns, and the columns that moved most."""
    lines = []
    if now.rows != before.rows:
        gained = now.rows - before.rows
        lines.append(f"{gained:+,} row{'' if abs(gained) == 1 else 's'} ({before.rows:,} → {now.rows:,})")
    new = [c.name for c in now.columns if before.column(c.name) is None]
    gone = [c.name for c in before.columns if now.column(c.name) is None]
    lines += [f"new: {_named(new)}"] if new else []
    lines += [f"gone: {_named(gone)}"] if gone else []
    moved = [(c, old) for c in now.columns if (old := before.column(c.name)) is not None]
    told = [line for c, old in moved if (line := _moved(c, old, now.rows, before.rows))]
    more = [f"{len(told) - _TOLD} more columns"] if len(told) > _TOLD else []
    return (*lines, *told[:_TOLD], *more)


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_TOLD])
    return shown + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")


def _moved(now: Column, old: Column, rows: int, before: int) -> str:
    parts = []
    share, then = _share(now.nulls, rows), _share(old.nulls, before)
    if _percent(share) != _percent(then):
        parts.append(f"empty {_percent(then)} → {_percent(share)}")
    for word, new, was in (
        ("mean", now.mean, old.mean),
        ("least", now.low, old.low),
        ("greatest", now.high, old.high),
    ):
        if new is not None and was is not None and number(new) != number(was):
            parts.append(f"{word} {number(was)} → {number(new)}")
    if (now.mean is None) != (old.mean is None) and rows and before:
        parts.append("numbers became text" if now.mean is None else "text became numbers")
    return f"{now.name}: {', '.join(parts)}" if parts else ""


def table(now: Profile, before: Profile | None) -> Table:
    """A row a column: now, and where there is a baseline, before it in the same cell."""
    rows: list[tuple[Cell, ...]] = []
    for c in now.columns:
        old = before.column(c.name) if before is not None else None
        was = _cells(old, before.rows) if old is not None and before is not None else None
        cells = _cells(c, now.rows)
        rows.append((c.name, *(cells if was is None else map(_both, cells, was))))
    return Table(("column", "empty", "mean", "least", "greatest", "distinct"), tuple(rows))


def _cells(c: Column, rows: int) -> tuple[str, ...]:
    figures = ("" if v is None else number(v) for v in (c.mean, c.low, c.high))
    return (
        _percent(_share(c.nulls, rows)),
        *figures,
        f"{c.distinct:,}" + ("+" if c.distinct >= _MOST_DISTINCT else ""),
    )


def _both(now: str, before: str) -> str:
    return now if before in ("", now) else f"{before} → {now}"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
