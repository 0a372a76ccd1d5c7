"""Checks csv, tsv and jsonl files in Python, a row at a time. No other library is needed for it.

For large files it only looks for the places of what DuckDB has counted, and stops when it has them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlflowc.data import cells, textfile
from mlflowc.data.cells import WRONG
from mlflowc.data.findings import SHOWN, Example, Finding, Rule, Verdict, shown
from mlflowc.data.textfile import NoTableError, Row
from mlflowc.ir.model import Column, Constraint, FileType

SHAPE = Rule(None, "shape", "every row fits the header")
OBJECTS = Rule(None, "shape", "every line is a JSON object")
# Verdicts on cells that are kept: most columns have few different values.
_KEPT = 20_000


class Judged(NamedTuple):
    """A cell: its value (None, or WRONG), and the rules that it breaks by itself."""

    value: Any
    broken: tuple[Rule, ...]


@dataclass
class Tally:
    """How often a rule was broken, and where first."""

    rule: Rule
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, line: int, row: int, value: object, first: int | None = None) -> None:
        """One more."""
        self.count += 1
        if len(self.examples) < SHOWN:
            text = str(value) if self.rule.op == "shape" else shown(value)
            self.examples.append(Example(line, row, text, first))

    def finding(self, note: str = "") -> Finding:
        """What is told about it."""
        return Finding(self.rule, self.count, tuple(self.examples), note)


class Judge:
    """One column's rules."""

    def __init__(self, column: Column, *, json: bool) -> None:
        self.column = column
        self.rules = {r.op: r for r in cells.cell_rules(column)}
        self._read = cells.json_reader(column.type) if json else cells.text_reader(column.type)
        self._tests = [
            (self.rules[c.op], test) for c in column.constraints if (test := cells.predicate(c)) is not None
        ]
        self._known: dict[Any, Judged] = {}

    def judge(self, cell: Any) -> Judged:
        """What there is to say about one cell (None: the row has none)."""
        try:
            known = self._known.get((cell.__class__, cell))
        except TypeError:
            return self._judge(cell)
        if known is None:
            known = self._judge(cell)
            if len(self._known) < _KEPT:
                self._known[cell.__class__, cell] = known
        return known

    def _judge(self, cell: Any) -> Judged:
        value = self._read(cell)
        if value is None:
            missing = self.rules.get("missing") or self.rules.get("null")
            return Judged(None, (missing,) if missing else ())
        if value is WRONG:
            return Judged(WRONG, (self.rules["type"],))
        return Judged(value, tuple(rule for rule, test in self._tests if not test(value)))


class Places(NamedTuple):
    """What to look for: so many places of each rule, and for `unique` the values that are repeated."""

    counts: Mapping[Rule, int]
    repeated: Mapping[str, frozenset[Any]]


def check(path: Path, kind: str, type: FileType) -> Verdict:
    """The verdict on a csv, tsv or jsonl file. Raises `OSError`."""
    scan = _Scan(type, json=kind == "jsonl")
    try:
        scan.file(path, kind)
    except NoTableError as e:
        return unreadable(e, scan.rows + 1)
    return Verdict(scan.rows, scan.findings())


def find(path: Path, kind: str, type: FileType, places: Places) -> dict[Rule, tuple[Example, ...]]:
    """The first rows that break these rules, reading no further than needed. Raises `OSError`."""
    scan = _Scan(type, json=kind == "jsonl", places=places)
    with contextlib.suppress(NoTableError):
        scan.file(path, kind)
    return scan.examples()


def unreadable(error: NoTableError, row: int) -> Verdict:
    """The verdict on a file that is no table at all."""
    examples = (Example(error.line, row, ""),) if error.line is not None else ()
    reason = f"{error.reason}, in line {error.line}" if examples else error.reason
    return Verdict(None, (Finding(Rule(None, "read", "the file can be read"), 0, examples, reason),))


class _Scan:
    def __init__(self, type: FileType, *, json: bool, places: Places | None = None) -> None:
        self.rows = 0
        self._type = type
        self._json = json
        self._places = places
        self._absent: list[Finding] = []
        self._watched: list[tuple[Any, Judge, dict[Any, int] | None]] = []
        self._tallies: dict[Rule, Tally] = {}
        self._shape = Tally(OBJECTS if json else SHAPE)

    def file(self, path: Path, kind: str) -> None:
        """The rows of that file. Raises `NoTableError`, `OSError`."""
        with textfile.opened(path) as text:
            if self._json:
                self._columns(None)
                self._all(textfile.object_rows(text))
            else:
                rows = textfile.table_rows(text, kind)
                self._columns(next(rows).cells)
                self._all(rows)

    def _columns(self, names: list[str] | None) -> None:
        """Which cells are looked at. `names` are those of the header."""
        for column in self._type.columns:
            judge = Judge(column, json=self._json)
            if names is not None and column.name not in names:
                self._absent.append(absent(column, names))
                continue
            if self._places is not None and not any(r in self._places.counts for r in judge.rules.values()):
                continue
            seen: dict[Any, int] | None = {} if "unique" in judge.rules else None
            key = column.name if names is None else names.index(column.name)
            self._watched.append((key, judge, seen))

    def _all(self, rows: Iterator[Row]) -> None:
        """Every row, or until all places are found."""
        left = sum(self._places.counts.values()) if self._places is not None else -1
        for line, row, problem in rows:
            self.rows += 1
            if problem:
                self._shape.add(line, self.rows, problem)
                continue
            for key, judge, seen in self._watched:
                cell = row.get(key) if self._json else row[key]
                value, broken = judge.judge(cell)
                for rule in broken:
                    left -= self._add(rule, line, cell)
                if seen is not None and value is not None and value is not WRONG:
                    left -= self._unique(judge, seen, value, line, cell)
            if not left:
                return

    def _add(self, rule: Rule, line: int, cell: object, first: int | None = None) -> int:
        """Counts it; 1 when that was one of the places looked for."""
        tally = self._tallies.get(rule)
        if tally is None:
            tally = self._tallies[rule] = Tally(rule)
        tally.add(line, self.rows, cell, first)
        return int(self._places is not None and tally.count <= self._places.counts.get(rule, 0))

    def _unique(self, judge: Judge, seen: dict[Any, int], value: Any, line: int, cell: object) -> int:
        if self._places is not None and value not in self._places.repeated.get(judge.column.name, ()):
            return 0
        first = seen.setdefault(value, line)
        return self._add(judge.rules["unique"], line, cell, first) if first != line else 0

    def findings(self) -> tuple[Finding, ...]:
        """What was found, in the order of the type."""
        found = list(self._absent)
        if self._shape.count:
            found.append(self._shape.finding())
        for _, judge, _ in self._watched:
            for rule in judge.rules.values():
                tally = self._tallies.get(rule)
                if tally is None:
                    continue
                note = ""
                if rule.op == "null":
                    note = null_note(judge.column, tally.count, self.rows)
                    if not note:
                        continue
                found.append(tally.finding(note))
        return (*found, *table_findings(self._type, self.rows))

    def examples(self) -> dict[Rule, tuple[Example, ...]]:
        """The places that were found."""
        return {rule: tuple(tally.examples) for rule, tally in self._tallies.items()}


def absent(column: Column, names: list[str]) -> Finding:
    """That a column is not there."""
    some = ", ".join(f"`{n}`" for n in names[:8]) + (", …" if len(names) > 8 else "")
    rule = Rule(column.name, "absent", cells.cell_rules(column)[0].text)
    return Finding(rule, 0, note=f"the file has no such column; it has {some or 'none'}")


def null_note(column: Column, nulls: int, rows: int) -> str:
    """What to say about the share of missing values; nothing where it is small enough."""
    limit = next(c.high for c in column.constraints if c.op == "null") or 0
    return f"{_percent(nulls / rows)} are missing" if rows and nulls > limit * rows else ""


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else f"{share * 100:.2g}%"


def table_findings(type: FileType, rows: int) -> Iterator[Finding]:
    """Broken rules about the number of rows."""
    for rule, constraint in cells.table_rules(type):
        if not _inside(rows, constraint):
            yield Finding(rule, 0, note=f"the file has {rows:,} row{'' if rows == 1 else 's'}")


def _inside(rows: int, constraint: Constraint) -> bool:
    return (constraint.low is None or rows >= constraint.low) and (
        constraint.high is None or rows <= constraint.high
    )
