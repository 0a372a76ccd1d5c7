"""`sql("env:DATABASE_URL", query = "q.sql")`: the rows that a query gives, as a file.

A database does not say whether its rows changed, so the version tells only how many came; what is pinned
is the content. The query runs once, in a transaction that only reads, and its rows are written as they come.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.ir.model import Value
from mlflowc.sources import rowfiles
from mlflowc.sources.port import Found, GoneError, Progress, Source, Version
from mlflowc.sources.rowfiles import Rows

_BATCH = 10_000
_PATIENCE = 20  # seconds for a connection, and for the lock of an SQLite file


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
    """See `mlflowc.sources.port.Opener`."""
    connection, query = str(args["connection"]), str(args["query"])
    return SqlSource(connection, query, str(args.get("format", "csv")), root, env)


class SqlSource:
    """See `Source`."""

    def __init__(self, connection: str, query: str, format: str, root: Path, env: Mapping[str, str]) -> None:
        variable = feeds.variable(connection)
        where = f"the database in ${variable}" if variable else _without_password(connection)
        self.shown = f"`{query}` in {where}" if query.endswith(".sql") else f"the query in {where}"
        self._where = where
        self._connection, self._query, self._format = connection, query, format
        self._root, self._env = root, env

    def look(self, pinned: Version | None) -> Found:
        """See `Source`. A database cannot say what a query would give."""
        self._address()
        self._text()
        return Found({})

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        address, text = self._address(), self._text()
        part = into.with_name(into.name + ".part")
        part.unlink(missing_ok=True)
        scheme = address.partition(":")[0].partition("+")[0] if "://" in address else "sqlite"
        if scheme == "sqlite":
            rows = self._sqlite(address, text)
        elif scheme in ("postgresql", "postgres"):
            rows = self._postgres(address, text)
        else:
            raise Failure(
                f"{self._where} is one of `{scheme}`, and only SQLite and PostgreSQL can be asked",
                help="export its rows in a stage, or by `data NAME = url(…)`",
            )
        with rows as found:
            number = rowfiles.write(found, self._format, part, progress, self.shown)
        if version.get("rows", str(number)) != str(number):
            part.unlink()
            raise GoneError(
                f"{self.shown} gives {number:,} rows now, and {int(version['rows']):,} are pinned",
                help="a database keeps no earlier state: take the new one with `mlpipec update`",
            )
        part.rename(into)
        return {**version, "rows": str(number)}

    # --- what is asked

    def _address(self) -> str:
        variable = feeds.variable(self._connection)
        if variable is None:
            return self._connection
        found = self._env.get(variable, "")
        if not found:
            raise Failure(
                f"the variable {variable}, which holds the address of the database, is not set",
                help=f"export {variable}=postgresql://user@host/name; in CI it is a secret of that name",
            )
        return found

    def _text(self) -> str:
        text = self._query
        if text.endswith(".sql"):
            try:
                text = (self._root / text).read_text("utf-8-sig")
            except (OSError, UnicodeDecodeError) as e:
                why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
                raise Failure(
                    f"cannot read the query `{self._query}`: {why}", help="write it there"
                ) from None
        text = text.strip().rstrip(";").rstrip()
        if not text:
            raise Failure(f"the query `{self._query}` is empty", help="write a `select` there")
        return text

    # --- who is asked

    @contextlib.contextmanager
    def _sqlite(self, address: str, text: str) -> Iterator[Rows]:
        path = self._root / Path(address.removeprefix("sqlite:///").removeprefix("sqlite://")).expanduser()
        if not path.is_file() and feeds.variable(self._connection):
            # What the variable holds is a secret, whatever it is.
            raise Failure(
                f"{self._where} is not there: the variable holds no address with `postgresql://`, and names "
                "no SQLite file",
                help="as in postgresql://user:password@host/name, or the path of an SQLite file",
            )
        if not path.is_file():
            raise Failure(
                f"there is no database `{path.name}` in `{path.parent}`",
                help="check the path; it is seen from the project folder",
            )
        try:
            with contextlib.closing(
                sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
            ) as db:
                db.execute("pragma query_only = 1")
                cursor = db.execute(text)
                names = [column[0] for column in cursor.description or ()]
                yield Rows(names, [None] * len(names), _batches(cursor))
        except (sqlite3.Error, sqlite3.Warning) as e:
            raise self._refused(str(e)) from e

    @contextlib.contextmanager
    def _postgres(self, address: str, text: str) -> Iterator[Rows]:
        psycopg = _client()
        scheme, _, rest = address.partition("://")
        plain = f"{scheme.partition('+')[0]}://{rest}"
        try:
            psycopg.conninfo.conninfo_to_dict(plain)
        except psycopg.Error:
            # What the client says of it quotes it, with the password.
            raise Failure(
                f"the address of {self._where} is none that PostgreSQL's client takes",
                help="as in postgresql://user:password@host:5432/name; odd signs in it are written as %XX",
            ) from None
        try:
            with psycopg.connect(plain, connect_timeout=_PATIENCE, application_name="mlpipec") as db:
                db.read_only = True
                db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                db.execute("set local time zone 'UTC'")
                with db.cursor(name="mlpipec") as cursor:
                    cursor.itersize = _BATCH
                    cursor.execute(text)
                    columns = cursor.description or ()
                    yield Rows(
                        [c.name for c in columns],
                        [_POSTGRES.get(c.type_code) for c in columns],
                        _batches(cursor),
                    )
        except psycopg.OperationalError as e:
            raise self._unreached(str(e)) from None
        except psycopg.Error as e:
            raise self._refused(str(e)) from None

    def _refused(self, said: str) -> Failure:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        place = next((line for line in lines if line.startswith("LINE ")), "")
        reason = lines[0] if lines else "it gave no reason"
        return Failure(
            f"{self.shown} is refused: {reason}{f' ({place})' if place else ''}",
            help="one statement that only reads: `select …`; try it with the database's own client",
        )

    def _unreached(self, said: str) -> Failure:
        line = next((x.strip() for x in reversed(said.splitlines()) if x.strip()), "no answer")
        if "password" in said or "authentication" in said or "permission denied" in said:
            return Failure(
                f"{self._where} refuses the login: {line}", help="check user and password of the address"
            )
        return Failure(
            f"{self._where} cannot be asked: {line}",
            help="check the address, and that it can be reached from here",
        )


# PostgreSQL's numbers of types -> the kinds of `rowfiles`; what is not here is text.
_POSTGRES: Mapping[int, str] = {
    16: "bool",
    17: "bytes",
    20: "int",
    21: "int",
    23: "int",
    26: "int",
    700: "float",
    701: "float",
    1082: "date",
    1114: "timestamp",
    1184: "timestamptz",
    1700: "decimal",
}


def _client() -> Any:
    try:
        import psycopg  # a client that only PostgreSQL needs
    except ModuleNotFoundError:
        raise Failure(
            "PostgreSQL needs `psycopg`, which is not installed", help=extras.install("sql")
        ) from None
    return psycopg


def _batches(cursor: Any) -> Iterator[Sequence[Sequence[Any]]]:
    while batch := cursor.fetchmany(_BATCH):
        yield batch


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    if not parts.hostname:
        return f"`{address}`"
    return f"`{parts.hostname}{parts.path}`"
