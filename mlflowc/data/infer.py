"""The type that a real file has, as the language writes it: a proposal that holds for the file itself.

What is proposed beyond the columns' types is careful, because the next file has to pass, too: bounds are
rounded outwards, and only few different values make a list.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlflowc.check.infer import kind_of
from mlflowc.check.lattice import spell_constraint, spell_scalar
from mlflowc.data import cells, grammar, textfile
from mlflowc.data.declared import COLUMNAR, TEXT
from mlflowc.errors import Failure
from mlflowc.ir.model import Column, Constraint, FileType, ScalarType

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MISSING = re.compile(grammar.MISSING)
_ZEROS = re.compile(r"\s*[+-]?0[0-9]+\s*")
_BOOLS = frozenset(("true", "false"))
# More different values than this are no list; a list needs so many rows for each, and so many at all.
_LISTED = 12
_ROWS_EACH, _ROWS_LISTED = 5, 20
_LONGEST_LISTED = 40
_ROWS_UNIQUE = 10
_REMEMBERED = 1_000_000
_LARGEST_BOUND = 1_000_000
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass
class Seen:
    """What was seen of one column. `kinds` are the types that all its values could be of.

    `worded` counts cells such as `NA` (those in `words`): missing values where the rest are numbers, and
    text else. `loose` says that equal numbers may be written in different ways.
    """

    name: str
    kinds: set[str] = field(default_factory=lambda: {"bool", "int", "float", "list", "str"})
    values: int = 0
    nulls: int = 0
    words: set[str] = field(default_factory=set)
    worded: int = 0
    low: float = math.inf
    high: float = -math.inf
    distinct: set[Any] | None = field(default_factory=set)
    repeated: bool = False
    loose: bool = False

    def text(self, cell: str) -> None:
        """One cell of a csv or tsv file."""
        if not cell:
            self.nulls += 1
        elif _MISSING.fullmatch(cell):
            self.worded += 1
            self.words.add(cell)
        else:
            kinds = {"str"}
            if cells.text_reader(ScalarType("float"))(cell) is not cells.WRONG and not _ZEROS.fullmatch(cell):
                kinds.add("float")
                self._bounds(float(cell))
                if cells.text_reader(ScalarType("int"))(cell) is not cells.WRONG:
                    kinds.add("int")
                    self.loose = self.loose or cell.lstrip("-").strip() != cell.lstrip("-+") or cell == "-0"
            elif cell.strip().lower() in _BOOLS:
                kinds.add("bool")
            elif cell.lstrip().startswith("[") and cells.text_reader(ScalarType("list"))(cell) not in (
                cells.WRONG,
                None,
            ):
                kinds.add("list")
            self._value(cell, kinds)

    def native(self, value: Any) -> None:
        """One value of a file whose values have types of their own."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            self.nulls += 1
            return
        kinds = {"str"}
        if isinstance(value, bool):
            kinds = {"bool"}
        elif isinstance(value, int):
            kinds = {"int", "float"}
            self._bounds(value)
        elif isinstance(value, float | Decimal):
            kinds = {"float"}
            self._bounds(float(value))
        elif isinstance(value, list):
            kinds, value = {"list"}, repr(value)
        elif isinstance(value, dict):
            kinds, value = set(), repr(value)
        self._value(value, kinds)

    def _bounds(self, number: float) -> None:
        self.low, self.high = min(self.low, number), max(self.high, number)

    def _value(self, value: Any, kinds: set[str]) -> None:
        self.values += 1
        self.kinds &= kinds
        if self.distinct is not None:
            if value in self.distinct:
                self.repeated = True
                if len(self.distinct) > _LISTED:
                    self.distinct = None
            else:
                self.distinct.add(value)
                if len(self.distinct) > (_LISTED if self.repeated else _REMEMBERED):
                    self.distinct = None

    def column(self) -> Column | None:
        """The column that is proposed; None for one of no type that there is."""
        kind = next((k for k in ("bool", "int", "float", "list", "str") if k in self.kinds), None)
        if not self.values:
            kind = "str"
        if kind is None:
            return None
        nulls, values, distinct = self.nulls, self.values, self.distinct
        if kind == "str":
            values += self.worded
            distinct = distinct | self.words if distinct is not None else None
        else:
            nulls += self.worded
        found: list[Constraint] = []
        if kind == "str" and distinct and self._few(distinct, values):
            found.append(Constraint("in", values=tuple(sorted(distinct))))
        elif kind in ("int", "str") and not nulls and self._unique(distinct, values):
            found.append(Constraint("unique"))
        elif kind in ("int", "float"):
            found += self._range(kind)
        if nulls:
            share = nulls / (nulls + values)
            limit = next((s for s in _SHARES if share * 1.5 <= s), None)
            found += [Constraint("null", high=limit)] if limit else []
        return Column(self.name, ScalarType(kind, optional=nulls > 0), tuple(found))

    def _few(self, distinct: set[Any], values: int) -> bool:
        return (
            len(distinct) <= _LISTED
            and values >= max(_ROWS_LISTED, _ROWS_EACH * len(distinct))
            and all(len(v) <= _LONGEST_LISTED for v in distinct)
        )

    def _unique(self, distinct: set[Any] | None, values: int) -> bool:
        if distinct is None or self.repeated or self.loose or self.worded or values < _ROWS_UNIQUE:
            return False
        # Sentences differ by chance; what identifies has no blanks.
        return all(not isinstance(v, str) or (" " not in v.strip() and len(v) <= 64) for v in distinct)

    def _range(self, kind: str) -> list[Constraint]:
        if kind == "float":
            for low in (0.0, -1.0):
                if low <= self.low and self.high <= 1:
                    return [Constraint("range", low=low, high=1.0)]
            return []
        if max(abs(self.low), abs(self.high)) > _LARGEST_BOUND:
            return []
        low_bound = -_round_up(-int(self.low)) if self.low < 0 else 0
        return [Constraint("range", low=low_bound, high=_round_up(max(1, int(self.high))))]


def _round_up(number: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …; negative numbers and 0 give 0."""
    bound = 1 if number > 0 else 0
    while bound < number:
        bound = bound * 5 // 2 if str(bound)[0] == "2" else bound * 2
    return bound


def infer(path: Path, name: str, limit: int | None) -> tuple[FileType, tuple[str, ...], int]:
    """The type of the file at `path`, which messages call `name`, from its first `limit` rows (None: all).

    With it, the names of columns of no type that there is, and how many rows were read. Raises `Failure`.
    """
    kind = kind_of(name.removesuffix(".gz"))
    if kind not in (*TEXT, *COLUMNAR):
        raise Failure(
            f"`{name}` is no table by its ending", help="tables end in .csv, .tsv, .jsonl, .parquet or .arrow"
        )
    try:
        reading = _columnar(path, kind, limit) if kind in COLUMNAR else _text(path, kind, limit)
    except textfile.NoTableError as e:
        where = f", in line {e.line}" if e.line is not None else ""
        raise Failure(f"`{name}` cannot be read: {e.reason}{where}") from None
    except OSError as e:
        raise Failure(f"cannot read `{name}`: {e.strerror or e}") from e
    seen, rows = reading
    columns = {s.name: s.column() for s in seen}
    found = tuple(c for c in columns.values() if c is not None)
    return FileType(kind, found, _rows(rows)), tuple(n for n, c in columns.items() if c is None), rows


def _rows(rows: int) -> tuple[Constraint, ...]:
    half = rows // 2
    if not half:
        return ()
    unit = 10 ** (len(str(half)) - 1)
    return (Constraint("rows", low=half // unit * unit),)


def _text(path: Path, kind: str, limit: int | None) -> tuple[list[Seen], int]:
    rows = 0
    with textfile.opened(path) as text:
        if kind == "jsonl":
            found: dict[str, Seen] = {}
            for row in _good(textfile.object_rows(text), limit):
                for key, value in row.cells.items():
                    if key not in found:
                        found[key] = Seen(key, nulls=rows)
                    found[key].native(value)
                rows += 1
                for key in found.keys() - row.cells.keys():
                    found[key].nulls += 1
            return list(found.values()), rows
        table = textfile.table_rows(text, kind)
        seen = [Seen(n) for n in next(table).cells]
        for row in _good(table, limit):
            for column, cell in zip(seen, row.cells, strict=False):
                column.text(cell)
            rows += 1
    return seen, rows


def _good(rows: Iterator[textfile.Row], limit: int | None) -> Iterator[textfile.Row]:
    for row in itertools.islice(rows, limit):
        if row.problem:
            raise textfile.NoTableError(f"a row {row.problem}", row.line)
        yield row


def _columnar(path: Path, kind: str, limit: int | None) -> tuple[list[Seen], int]:
    from mlflowc.data.validate import need

    need(kind, path.name)
    # DuckDB takes a while to import: only for files that nothing else reads.
    from mlflowc.data import columnar, duck

    with duck.connection(path) as (con, link):
        table = columnar.relation(con, link, kind)
        has = columnar.described(con, table)
        cursor = con.execute(f"SELECT * FROM {table}" + (f" LIMIT {limit}" if limit is not None else ""))
        seen, rows = [Seen(n) for n in has], 0
        while batch := cursor.fetchmany(10_000):
            for values in batch:
                for column, value in zip(seen, values, strict=True):
                    column.native(value)
            rows += len(batch)
        for column, type in zip(seen, has.values(), strict=True):
            column.kinds = {k for k in column.kinds | {"str"} if columnar.fits(type, ScalarType(k))}
    return seen, rows


def written(name: str, type: FileType, untyped: tuple[str, ...]) -> str:
    """The declaration `type NAME = …`, in canonical form. Columns that no name can stand for are comments."""
    from mlflowc.span import Source
    from mlflowc.syntax.format import format_source

    lines = ["mlpipe 1", "", f"type {name} = {type.kind} {{"]
    for column in type.columns:
        text = " ".join([spell_scalar(column.type), *map(spell_constraint, column.constraints)])
        if _NAME.fullmatch(column.name):
            lines.append(f"  {column.name}: {text}")
        else:
            lines.append(f"  # a column whose name the language cannot write: {column.name!r}: {text}")
    lines += [f"  # a column whose values have no type here: {n!r}" for n in untyped]
    lines += [f"  {spell_constraint(c)}" for c in type.constraints]
    formatted = format_source(Source("inferred.mlpipe", "\n".join([*lines, "}", ""])))
    assert isinstance(formatted, str), formatted
    return formatted.partition("\n\n")[2]


def type_name(path: Path) -> str:
    """A name for the type, made of the file's: `raw-customers.csv` gives `RawCustomers`."""
    words = re.findall(r"[A-Za-z0-9]+", path.name.partition(".")[0])
    name = "".join(w[0].upper() + w[1:] for w in words)
    return name if name and name[0].isalpha() else f"Table{name}"
