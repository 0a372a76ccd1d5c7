"""`mlpipec infer`: what it proposes is good for the file, compiles, and is in canonical form."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather

from mlflowc.data import infer, plain, validate
from mlflowc.errors import Failure
from tests.support.project import Checkout
from tests.unit.test_validate_engines import LISTS, NUMBERS, TEXTS


def rows(count: int) -> str:
    plans = ["basic", "plus", "gold, or so"]
    lines = [
        f'{n},{18 + n % 60},{n % 7 / 7:.3f},{n * 10.5},"{plans[n % 3]}",{n % 2 == 0},0{n % 90 + 10},'
        f"{'' if n % 20 == 3 else n % 5},user{n}@example.org,free text {n},2024-01-{n % 28 + 1:02}"
        for n in range(count)
    ]
    header = "id,age,share,spent,plan,churn,zip,visits,email,note,day"
    return "\n".join([header, *lines, ""])


def test_a_csv_file(tmp_path: Path) -> None:
    project = Checkout(tmp_path)
    project.write({"raw-customers.csv": rows(100)})
    written = project.mlpipec("infer", "raw-customers.csv").out
    assert written == (
        "type RawCustomers = csv {\n"
        "  id:     int   unique\n"
        "  age:    int   in 0..100\n"
        "  share:  float in 0.0..1.0\n"
        "  spent:  float\n"
        '  plan:   str   in ["basic", "gold, or so", "plus"]\n'
        "  churn:  bool\n"
        "  zip:    str\n"
        "  visits: int?  in 0..5 null <= 10%\n"
        "  email:  str   unique\n"
        "  note:   str\n"
        "  day:    str\n"
        "  rows >= 50\n"
        "}\n"
    )
    project.write(
        {
            "pipeline.mlpipe": f"mlpipe 1\n\npipeline demo\n\n{written}\n"
            'data raw: RawCustomers = "raw-customers.csv"\n\n'
            'stage copy {\n  in  raw\n  out copy: RawCustomers = "copy.csv"\n'
            '  run = "cp {{raw}} {{copy}}"\n}\n'
        }
    )
    project.mlpipec("fmt", "--check")
    project.mlpipec("run")


def test_names_and_limits(tmp_path: Path) -> None:
    project = Checkout(tmp_path)
    project.write({"x.csv": "rows,type,Sepal Length\n" + "1,a,2.5\n" * 30})
    done = project.mlpipec("infer", "x.csv", "--name", "Iris", "--rows", "10")
    assert done.out.splitlines()[0] == "type Iris = csv {"
    assert "# a column whose name the language cannot write: 'Sepal Length': float" in done.out
    assert "note: from the first 10 rows" in done.err
    assert "no name of a type" in project.mlpipec("infer", "x.csv", "--name", "iris", code=2).err
    project.write({"bad.csv": "a,b\n1,2\n3\n", "notes.txt": "x"})
    assert (
        "`bad.csv` cannot be read: a row has 1 cells, in line 3"
        in project.mlpipec("infer", "bad.csv", code=1).err
    )
    assert "no table by its ending" in project.mlpipec("infer", "notes.txt", code=1).err


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    found = [{"id": n, "ok": n % 2 == 0, "tags": [1], "who": {"a": 1}, "x": n / 3} for n in range(40)]
    path.write_text("".join(json.dumps(r if n % 4 else {**r, "x": None}) + "\n" for n, r in enumerate(found)))
    type, untyped, read = infer.infer(path, "events.jsonl", None)
    assert (untyped, read) == (("who",), 40)
    assert infer.written("Events", type, untyped) == (
        "type Events = jsonl {\n"
        "  id:   int    unique\n"
        "  ok:   bool\n"
        "  tags: list\n"
        "  x:    float? null <= 50%\n"
        "  # a column whose values have no type here: 'who'\n"
        "  rows >= 20\n"
        "}\n"
    )
    assert plain.check(path, "jsonl", type).ok


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_files_with_types_of_their_own(tmp_path: Path, kind: str) -> None:
    source, path = tmp_path / "t.csv", tmp_path / f"t.{kind}"
    source.write_text(rows(100))
    con = duckdb.connect()
    table = f"SELECT *, [age] AS list, day::DATE AS date FROM read_csv('{source}')"
    if kind == "parquet":
        con.execute(f"COPY ({table}) TO '{path}' (FORMAT parquet)")
    else:
        feather.write_feather(con.sql(table).to_arrow_table(), path)
    type, untyped, _ = infer.infer(path, path.name, None)
    assert not untyped
    assert {c.name: c.type.name for c in type.columns} == {
        "id": "int", "age": "int", "share": "float", "spent": "float", "plan": "str", "churn": "bool",
        "zip": "str", "visits": "int", "email": "str", "note": "str", "day": "str",
        "list": "list", "date": "str",
    }  # fmt: skip
    assert validate.check(path, type, path.name).ok


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(*[st.sampled_from(NUMBERS + TEXTS + LISTS)] * 2), max_size=40), st.integers(1, 5))
def test_what_is_proposed_holds(cells: list[tuple[str, str]], times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("a", "b"), *cells * times])
        type, untyped, _ = infer.infer(path, "t.csv", None)
        assert not untyped
        assert plain.check(path, "csv", type).findings == ()
        assert infer.written("T", type, untyped).startswith("type T = csv {")


def test_an_empty_file_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("")
    with pytest.raises(Failure, match="without a header"):
        infer.infer(path, "empty.csv", None)
