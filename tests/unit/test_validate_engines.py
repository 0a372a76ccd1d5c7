"""DuckDB and Python give one verdict on csv, tsv and jsonl files."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflowc.data import bigtext, plain
from mlflowc.data.findings import Verdict
from mlflowc.data.grammar import safe_pattern
from mlflowc.ir.model import Column, Constraint, FileType, ScalarType

# Cells that once told two engines apart, or could.
NUMBERS = [
    *("0", "5", "-5", "+5", "007", " 5", "5 ", "5\t", "1.5", "5.0", "5.", ".5", "-.5e-3", "1e3", "1E5", "1e"),
    *(
        "1_000",
        "0x1F",
        "1,5",
        "inf",
        "-Infinity",
        "nan",
        "-NaN",
        "NA",
        "n/a",
        "NULL",
        "None",
        "",
        " ",
        "-",
        "+",
    ),
    *("99999999999999999999", "-9223372036854775809", "1e400", "1e-400", "٣", "5\n", "\x0b5", "5\u00a0", "x"),
    *(
        "true",
        "True",
        "FALSE",
        "1",
        "T",
        "yes",
        "30s",
        "1.5h",
        "15 m",
        "500ms",
        "1d",
        "h",
        "16GiB",
        "100kB",
        "3B",
    ),
]
TEXTS = [
    "a",
    "b",
    "A",
    " a",
    "",
    "NA",
    "a,b",
    'say "hi"',
    "zwei\nZeilen",
    "é",
    "user@example.org",
    "12",
    "١٢",
]
LISTS = ["[]", "[1, 2]", '["a"]', "[1, null]", "[1", "{}", "5", "null", "", "[true]"]
PATTERNS = [
    r"^\d+$",
    "^[a-z]",
    "a|b",
    r"(?i)A",
    r"\w@\w",
    "^.{1,3}$",
    r"[^\d]",
    "^(?:a|é)",
    r"\bex",
    "a$",
    "",
]


def column(name: str) -> st.SearchStrategy[Column]:
    """A column with cells' type and constraints of that type."""
    common = [st.just(Constraint("unique")), st.just(Constraint("null", high=0.25))]
    numeric = [
        *common,
        st.just(Constraint("range", low=0, high=100)),
        st.just(Constraint("in", values=(5, 7, 1000))),
    ]
    textual = [
        *common,
        st.just(Constraint("in", values=("a", "b", 'say "hi"'))),
        st.sampled_from(PATTERNS).map(lambda p: Constraint("matches", pattern=p)),
    ]
    kinds: list[tuple[ScalarType, list[st.SearchStrategy[Constraint]]]] = [
        *((ScalarType(n), numeric) for n in ("int", "float", "duration", "size")),
        (ScalarType("bool"), [*common, st.just(Constraint("in", values=(True,)))]),
        (ScalarType("str"), textual),
        (ScalarType("enum", values=("a", "b", "12")), common),
        (ScalarType("list", element=ScalarType("int")), [common[1]]),
    ]

    def made(kind: tuple[ScalarType, list[st.SearchStrategy[Constraint]]]) -> st.SearchStrategy[Column]:
        type, constraints = kind
        chosen = st.lists(st.one_of(constraints), max_size=3, unique_by=lambda c: c.op)
        return st.builds(
            lambda optional, found: Column(name, replace(type, optional=optional), tuple(found)),
            st.booleans(),
            chosen,
        )

    return st.sampled_from(kinds).flatmap(made)


def types(kind: str) -> st.SearchStrategy[FileType]:
    """A type of a table with columns `a`, `b` and `c`."""
    rows = st.sampled_from([(), (Constraint("rows", low=3),), (Constraint("rows", low=1, high=2),)])
    return st.builds(lambda a, b, r: FileType(kind, (a, b), r), column("a"), column("b"), rows)


def cell() -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from(LISTS))


def same(path: Path, kind: str, type: FileType) -> Verdict:
    """The verdict of both. Which of several repeated values are shown is not the same."""
    one, other = (_comparable(engine(path, kind, type)) for engine in (plain.check, bigtext.check))
    assert one == other
    return one


def _comparable(verdict: Verdict) -> Verdict:
    return replace(
        verdict,
        findings=tuple(replace(f, examples=()) if f.rule.op == "unique" else f for f in verdict.findings),
    )


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.data(), st.sampled_from(["csv", "tsv"]), st.sampled_from(["\n", "\r\n"]))
def test_both_engines_agree_on_tables(data: st.DataObject, kind: str, end: str) -> None:
    type = data.draw(types(kind))
    rows = data.draw(st.lists(st.tuples(cell(), cell(), cell()), max_size=8))
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"t.{kind}")
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(
                file, delimiter="," if kind == "csv" else "\t", lineterminator=end, quoting=quoting
            )
            writer.writerows([("a", "b", "other"), *rows])
        same(path, kind, type)


VALUES: list[Any] = [
    *(0, 5, -5, 7, 1000, 5.0, 1.5, 1e3, 1e300, 99999999999999999999, float("nan"), float("inf"), True, False),
    *(
        None,
        "5",
        "30s",
        "16GiB",
        "a",
        "b",
        "é",
        "",
        "null",
        'say "hi"',
        "12",
        [],
        [1, 2],
        [None],
        ["a"],
        {"x": 1},
    ),
]


@quick
@given(st.data())
def test_both_engines_agree_on_objects(data: st.DataObject) -> None:
    type = data.draw(types("jsonl"))
    keys = st.sampled_from(["a", "b", "other"])
    rows = data.draw(st.lists(st.dictionaries(keys, st.sampled_from(VALUES)), max_size=8))
    odd = data.draw(st.sampled_from([None, None, "", "null", "[1]", "5", "{"]))
    lines = [json.dumps(row) for row in rows] + ([odd] if odd is not None else [])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.jsonl")
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        same(path, "jsonl", type)


@pytest.mark.parametrize(
    ("content", "broken"),
    [
        (b"a,b\n1,x\n", []),
        (b"\xef\xbb\xbfa,b\n1,x\n", []),
        (b"a,b\r\n1,x\n2,y\r\n", []),
        (b"a,b\r1,x\r2,y\r", []),
        (b"a,b\n1,x\n\n2,y\n\n", []),
        (b"a,b\n1,x,\n2,y,\n", []),
        (b'a,b\n1,"x\ny, ""z"""\n', []),
        (b"a,b", []),
        (b"a,b\n1,NA\n", []),
        (b"", ["read"]),
        (b"\n\n", ["read"]),
        (b"a,b,a\n1,2,3\n", ["read"]),
        (b"a,b\n1\n2,y\n", ["shape"]),
        (b"a,b\n1,x,y\n2,y\n", ["shape"]),
        (b'a,b\n1,"x\n2,y\n', ["read"]),
        (b'a,b\n1,"x"y\n', ["read"]),
        (b"a,b\n1,\xe9\n", ["read"]),
        ("a,b\n1,é\n".encode("utf-16"), ["read"]),
        (b"b\nx\n", ["absent"]),
        (b"a,b\n1,\n", ["missing"]),
        (b"a,b\n1.0,x\n", ["type"]),
    ],
)
def test_corners_of_csv(tmp_path: Path, content: bytes, broken: list[str]) -> None:
    type = FileType("csv", (Column("a", ScalarType("int")), Column("b", ScalarType("str"))))
    path = tmp_path / "a[b]*?.csv"
    path.write_bytes(content)
    verdict = same(path, "csv", type)
    assert [f.rule.op for f in verdict.findings] == broken
    path.write_bytes(gzip.compress(content))
    assert same(path, "csv", type).ok is not broken


@pytest.mark.parametrize(
    ("content", "rows", "broken"),
    [
        (b"a\n1\n\n2\n", 2, []),
        (b'a\n1\n""\n2\n', 3, ["missing"]),
        (b"a\n1\n2", 2, []),
    ],
)
def test_one_column(tmp_path: Path, content: bytes, rows: int, broken: list[str]) -> None:
    path = tmp_path / "one.csv"
    path.write_bytes(content)
    verdict = same(path, "csv", FileType("csv", (Column("a", ScalarType("int")),)))
    assert (verdict.rows, [f.rule.op for f in verdict.findings]) == (rows, broken)


def test_integers_beyond_64_bits_are_compared_exactly(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    path.write_text("a,b\n18446744073709551617,1\n18446744073709551616,2\n018446744073709551616,3\n")
    verdict = same(path, "csv", FileType("csv", (Column("a", ScalarType("int"), (Constraint("unique"),)),)))
    assert [(f.rule.op, f.count) for f in verdict.findings] == [("unique", 1)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_for_the_other_library_are_those_it_reads_the_same(pattern: str) -> None:
    assert safe_pattern(pattern) == (pattern not in (r"(?i)A", r"[^\d]", "^(?:a|é)", r"\bex"))
