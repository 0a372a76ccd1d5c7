"""Parquet and Arrow files, folders of them, and how large files are held to a limit."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from pyarrow import feather, ipc

from mlflowc.data import columnar, duck, findings, validate
from mlflowc.ir.model import Column, Constraint, FileType, ScalarType

TABLE = """
SELECT * FROM (VALUES
  (1, 30, 1.5, 'basic', true, [1, 2], DATE '2024-01-01', INTERVAL 5 MINUTE, 'a@b'),
  (2, 130, 'nan'::DOUBLE, 'plus', false, [1, NULL], DATE '2024-01-02', INTERVAL 2 HOUR, 'ab'),
  (2, NULL, 2.5, 'gold', NULL, [], DATE '2024-01-03', INTERVAL 1 SECOND, 'é@b'),
  (3, -1, 3.5, 'basic', true, NULL, NULL, NULL, NULL)
) AS t(id, age, spent, plan, churn, tags, day, took, email)
"""
TYPE = (
    Column("id", ScalarType("int"), (Constraint("unique"),)),
    Column("age", ScalarType("int"), (Constraint("range", low=0, high=120),)),
    Column("spent", ScalarType("float")),
    Column("plan", ScalarType("enum", values=("basic", "plus"))),
    Column("churn", ScalarType("bool", optional=True), (Constraint("null", high=0.1),)),
    Column("tags", ScalarType("list", optional=True, element=ScalarType("int"))),
    Column("day", ScalarType("str", optional=True), (Constraint("matches", pattern=r"-0[12]$"),)),
    Column("took", ScalarType("duration", optional=True), (Constraint("range", low=60, high=3600),)),
    Column("email", ScalarType("str", optional=True), (Constraint("matches", pattern=r"^\w(?=@)"),)),
)


def parquet(path: Path, table: str = TABLE) -> Path:
    duckdb.connect().execute(f"COPY ({table}) TO '{path}' (FORMAT parquet)")
    return path


def arrow_file(path: Path) -> Path:
    feather.write_feather(duckdb.sql(TABLE).to_arrow_table(), path)
    return path


def arrow_stream(path: Path) -> Path:
    table = duckdb.sql(TABLE).to_arrow_table()
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize(
    ("kind", "write"), [("parquet", parquet), ("arrow", arrow_file), ("arrow", arrow_stream)]
)
def test_rules_counts_and_rows(tmp_path: Path, kind: str, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path / f"t[1].{kind}")
    verdict = validate.check(path, FileType(kind, TYPE, (Constraint("rows", low=5),)), path.name)
    assert findings.lines(verdict) == [
        "`id` unique: 1 of 4 rows repeats an earlier value (row 3: 2 as in row 2)",
        "`age` is not optional: 1 of 4 rows (row 3)",
        "`age` in 0..120: 2 of 4 rows (row 2: 130, row 4: -1)",
        "`spent` is not optional: 1 of 4 rows (row 2)",
        '`plan` is enum ["basic", "plus"]: 1 of 4 rows (row 3: "gold")',
        "`churn` null <= 10%: 1 of 4 rows, 25.0% are missing (row 3)",
        '`tags` is list[int]?: 1 of 4 rows (row 2: "[1,null]")',
        '`day` matches "-0[12]$": 1 of 4 rows (row 3: "2024-01-03")',
        "`took` in 60..3600: 2 of 4 rows (row 2: 7200.0, row 3: 1.0)",
        '`email` matches "^\\\\w(?=@)": 1 of 4 rows (row 2: "ab")',
        "rows >= 5: the file has 4 rows",
    ]


def test_columns_of_another_type_and_columns_that_are_not_there(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    columns = (
        Column("plan", ScalarType("int")),
        Column("age", ScalarType("str")),
        Column("tags", ScalarType("list", element=ScalarType("str"))),
        Column("spent", ScalarType("int")),
        Column("nowhere", ScalarType("int", optional=True)),
        Column("day", ScalarType("bool")),
    )
    verdict = validate.check(path, FileType("parquet", columns), "t.parquet")
    assert findings.lines(verdict) == [
        "`plan` is int: in the file it is VARCHAR",
        "`age` is str: in the file it is INTEGER",
        "`tags` is list[str]: in the file it is INTEGER[]",
        "`spent` is int: in the file it is DOUBLE",
        "`nowhere` is int?: the file has no such column;"
        " it has `id`, `age`, `spent`, `plan`, `churn`, `tags`, `day`, `took`, …",
        "`day` is bool: in the file it is DATE",
    ]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"ARROW1 is not all", b"id,age\n1,2\n"])
def test_a_file_that_is_none(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / f"t.{kind}"
    path.write_bytes(content)
    verdict = validate.check(path, FileType(kind, TYPE), path.name)
    assert verdict.rows is None
    assert [f.rule.op for f in verdict.findings] == ["read"]
    assert "mlpipec-" not in findings.lines(verdict)[0]


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    parquet(folder / "1.parquet", "SELECT 1 AS id UNION ALL SELECT 2")
    parquet(folder / "2.parquet", "SELECT 3 AS id UNION ALL SELECT 2")
    type = FileType("parquet", (Column("id", ScalarType("int"), (Constraint("range", low=2, high=9),)),))
    assert findings.lines(validate.check(folder, type, "parts")) == [
        "`id` in 2..9: 1 of 4 rows (row 1: 1 in `1.parquet`)"
    ]


@pytest.mark.parametrize(
    ("has", "type", "good"),
    [
        ("UTINYINT", "int", True),
        ("HUGEINT", "size", True),
        ("DECIMAL(18,0)", "int", True),
        ("DECIMAL(18,3)", "int", False),
        ("DECIMAL(18,3)", "float", True),
        ("INTEGER", "float", True),
        ("BOOLEAN", "int", False),
        ("INTEGER", "bool", False),
        ("TIMESTAMP WITH TIME ZONE", "str", True),
        ("ENUM('a', 'b')", "str", True),
        ("BLOB", "str", False),
        ("STRUCT(a INTEGER)", "list", False),
    ],
)
def test_which_columns_fit(has: str, type: str, good: bool) -> None:
    assert columnar.fits(has, ScalarType(type)) is good


def test_what_does_not_fit_in_memory_goes_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """900,000 different texts, of 60 bytes each, within 96 MB."""
    monkeypatch.setattr(duck, "MEMORY", "96MB")
    chance = random.Random(1)
    path = tmp_path / "t.jsonl.csv"
    with path.open("w") as file:
        file.write("key\n")
        file.writelines(f"{chance.getrandbits(240):060x}\n" for _ in range(900_000))
        file.write("twice\ntwice\n")
    type = FileType("csv", (Column("key", ScalarType("str"), (Constraint("unique"),)),))
    verdict = validate.check(path, type, path.name)
    assert findings.lines(verdict) == [
        '`key` unique: 1 of 900,002 rows repeats an earlier value (line 900003: "twice" as in line 900002)'
    ]
