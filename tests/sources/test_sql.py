"""`sql(…)` against SQLite and a PostgreSQL server."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow.ipc
import pyarrow.parquet
import pytest

from mlflowc.sources.port import GoneError
from tests.e2e.conftest import absent
from tests.sources.conftest import Taker
from tests.support.postgres import PASSWORD, postgres, program

QUERY = "select id, name, score, ok, day, at, raw from people order by id"
TABLE = """
create table people (id int primary key, name text, score double precision, ok boolean, day date,
  at timestamptz, raw bytea, price numeric(10, 2));
insert into people values
  (1, 'Ann', 0.1, true, '2024-02-29', '2024-02-29 12:00:00+02', '\\x00ff', 1.50),
  (2, 'O''Hara, "Bo"', null, false, null, null, null, null),
  (3, '', 1e300, null, '1999-12-31', '1999-12-31 23:59:59.25+00', '', 12345678.90);
"""
CSV = (
    "id,name,score,ok,day,at,raw\n"
    "1,Ann,0.1,true,2024-02-29,2024-02-29T10:00:00+00:00,00ff\n"
    '2,"O\'Hara, ""Bo""",,false,,,\n'
    '3,"",1e+300,,1999-12-31,1999-12-31T23:59:59.250000+00:00,\n'
)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A PostgreSQL server with a table."""
    if program("postgres") is None:
        absent("PostgreSQL is not installed: apt-get install postgresql")
    with postgres() as address:
        with psycopg.connect(address) as db:
            db.execute(TABLE)  # type: ignore[arg-type]
        yield address


@pytest.fixture
def people(taker: Taker) -> Taker:
    """A project with an SQLite file."""
    with sqlite3.connect(taker.root / "app.db") as db:
        db.execute("create table people (id integer, name text, score real, raw blob)")
        rows = [(2, 'O\'Hara, "Bo"', None, None), (1, "Ann", 0.1, b"\0\xff"), (3, "", 1e300, b"")]
        db.executemany("insert into people values (?, ?, ?, ?)", rows)
    db.close()
    (taker.root / "q.sql").write_text("-- all of them\nselect * from people order by id;\n")
    return taker


def test_rows_of_postgresql_in_every_format(taker: Taker, server: str) -> None:
    taker.env["DATABASE_URL"] = server
    args = {"connection": "env:DATABASE_URL", "query": QUERY}
    got, version = taker.take("sql", **args)
    assert got.read_text() == CSV
    assert version == {"rows": "3"}
    got, _ = taker.take("sql", "t/x", **args, format="tsv")
    with got.open(newline="") as file:
        assert [row[:2] for row in csv.reader(file, delimiter="\t")][1:] == [
            ["1", "Ann"],
            ["2", 'O\'Hara, "Bo"'],
            ["3", ""],
        ]
    priced = {**args, "query": "select id, price, score, ok from people order by id"}
    got, _ = taker.take("sql", "j/x", **priced, format="jsonl")
    assert got.read_text().splitlines()[0] == '{"id": 1, "price": 1.50, "score": 0.1, "ok": true}'
    assert json.loads(got.read_text().splitlines()[1]) == {"id": 2, "price": None, "score": None, "ok": False}
    got, _ = taker.take("sql", "p/x", **args, format="parquet")
    table = pyarrow.parquet.read_table(got)
    kinds = ["int64", "string", "double", "bool", "date32[day]", "timestamp[us, tz=UTC]", "binary"]
    assert [str(f.type) for f in table.schema] == kinds
    assert table["name"].to_pylist() == ["Ann", 'O\'Hara, "Bo"', ""]
    got, _ = taker.take("sql", "a/x", **args, format="arrow")
    assert pyarrow.ipc.open_file(got).read_all().equals(table)


def test_rows_of_sqlite(people: Taker) -> None:
    expected = 'id,name,score,raw\n1,Ann,0.1,00ff\n2,"O\'Hara, ""Bo""",,\n3,"",1e+300,\n'
    for n, address in enumerate(["app.db", "sqlite:///app.db", f"sqlite:///{people.root}/app.db"]):
        got, _ = people.take("sql", f"g{n}/x", connection=address, query="q.sql")
        assert got.read_text() == expected
    got, _ = people.take("sql", "p/x", connection="app.db", query="q.sql", format="parquet")
    table = pyarrow.parquet.read_table(got)
    assert [str(f.type) for f in table.schema] == ["int64", "string", "double", "binary"]
    mixed = "select 1 as x union all select 'a'"
    assert (
        "several types" in people.refused("sql", connection="app.db", query=mixed, format="parquet").message
    )


def test_many_rows_stream_and_are_the_same_each_time(taker: Taker, server: str) -> None:
    taker.env["DATABASE_URL"] = server
    query = "select i, md5(i::text) as h from generate_series(1, 35000) i order by i"
    one, version = taker.take("sql", connection="env:DATABASE_URL", query=query)
    assert version == {"rows": "35000"}
    assert len(taker.seen) == 4  # batches
    two, _ = taker.take("sql", "g2/x", connection="env:DATABASE_URL", query=query)
    assert one.read_bytes() == two.read_bytes()


def test_what_is_pinned_and_gone_is_not_replaced_by_other_rows(people: Taker) -> None:
    _, version = people.take("sql", connection="app.db", query="q.sql")
    with sqlite3.connect(people.root / "app.db") as db:
        db.execute("delete from people where id = 3")
    db.close()
    said = people.refused("sql", version, connection="app.db", query="q.sql")
    assert isinstance(said, GoneError)
    assert "gives 2 rows now, and 3 are pinned" in said.message


def test_mistakes_and_refusals_are_told_without_secrets(taker: Taker, server: str) -> None:
    def refused(query: str = "select 1 as x", **env: str) -> str:
        taker.env.update(env)
        said = taker.refused("sql", connection="env:DATABASE_URL", query=query)
        text = f"{said.message} {said.help}"
        assert PASSWORD not in text
        return text

    taker.env.pop("DATABASE_URL", None)
    assert "DATABASE_URL, which holds the address of the database, is not set" in refused()
    assert "refuses the login" in refused(DATABASE_URL=server.replace(PASSWORD, "wrong"))
    assert "cannot be asked" in refused(DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert 'database "nope" does not exist' in refused(DATABASE_URL=server.replace("/postgres", "/nope"))
    assert "only SQLite and PostgreSQL" in refused(DATABASE_URL="mysql://x/y")
    for odd in (f"u:{PASSWORD}@[bad/db", f"u:{PASSWORD} x@h/db", f"h:port/db?password={PASSWORD}&zz=1"):
        assert "is none that PostgreSQL's client takes" in refused(DATABASE_URL=f"postgresql://{odd}")
    for odd in (PASSWORD, f"host=h password={PASSWORD}", f"sqlite:////nowhere/{PASSWORD}"):
        assert "the variable holds no address" in refused(DATABASE_URL=odd)
    taker.env["DATABASE_URL"] = server.replace("postgresql://", "postgresql+psycopg://")
    assert 'relation "nope" does not exist (LINE 1' in refused("select * from nope")
    assert "is refused" in refused("delete from people")
    assert "is refused" in refused("select 1; select 2")
    assert "two columns `x`" in refused("select 1 as x, 2 as x")
    with psycopg.connect(server) as db:
        assert db.execute("select count(*) from people").fetchone() == (3,)


def test_mistakes_with_sqlite(people: Taker) -> None:
    def refused(connection: str = "app.db", query: str = "q.sql") -> str:
        return people.refused("sql", connection=connection, query=query).message

    assert "there is no database `other.db`" in refused("other.db")
    assert "cannot read the query `r.sql`" in refused(query="r.sql")
    (people.root / "e.sql").write_text(" ;\n")
    assert "the query `e.sql` is empty" in refused(query="e.sql")
    assert "no such table: nope" in refused(query="select * from nope")
    assert "is refused: " in refused(query="select 1; select 2")
    assert "is refused: " in refused(query="delete from people")
    (people.root / "bad.db").write_bytes(b"no database, but long enough to be read as one" * 9)
    assert "is refused: file is not a database" in refused("bad.db")
    assert not list(Path(people.root).glob("app.db-*"))
