"""Whether a real file is of the type that the pipeline declares.

Two engines give one verdict: Python for csv, tsv and jsonl files up to `SMALL`, which needs no other library
and is quicker than importing one; DuckDB for larger ones, and for Parquet and Arrow. DuckDB is the extra
`mlflowc[data]`. Without it, Python goes on up to `LARGEST_WITHOUT`; beyond that, and for Parquet and Arrow,
it is a failure that names the command to install it: a declared type is never silently left unchecked.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from mlflowc import extras
from mlflowc.check.infer import kind_of
from mlflowc.data import plain
from mlflowc.data.declared import COLUMNAR, TEXT
from mlflowc.data.findings import Finding, Verdict
from mlflowc.errors import Failure
from mlflowc.ir.model import FileType

SMALL = 1 << 20
LARGEST_WITHOUT = 256 << 20
# A folder's findings end with the first so many files that are not of their type.
_FILES_SHOWN = 5


def check(path: Path, type: FileType, name: str) -> Verdict:
    """The verdict on the file (or folder) at `path`, which messages call `name`.

    Raises `Failure` when it cannot be checked here.
    """
    try:
        if type.element is not None:
            return _folder(path, type.element, name)
        return _file(path, type, name)
    except OSError as e:
        raise Failure(f"cannot read `{name}`: {e.strerror or e}") from e


def _folder(folder: Path, type: FileType, name: str) -> Verdict:
    """A folder of files of that type; hidden ones do not count."""
    rows, findings, bad = 0, list[Finding](), 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        inner = path.relative_to(folder).as_posix()
        verdict = check(path, type, f"{name.rstrip('/')}/{inner}")
        rows += verdict.rows or 0
        findings += [replace(f, file=inner) for f in verdict.findings]
        bad += not verdict.ok
        if bad == _FILES_SHOWN:
            break
    return Verdict(rows, tuple(findings))


def _file(path: Path, type: FileType, name: str) -> Verdict:
    kind = kind_of(name.removesuffix(".gz")) if type.kind == "table" else type.kind
    if kind not in (*TEXT, *COLUMNAR):
        raise Failure(
            f"`{name}` is declared as a table, and its name does not say of which kind",
            help="declare `csv`, `tsv`, `jsonl`, `parquet` or `arrow` instead of `table`",
        )
    if kind in TEXT:
        size = path.stat().st_size
        if size <= SMALL or (size <= LARGEST_WITHOUT and not installed("duckdb")):
            return plain.check(path, kind, type)
    return with_duckdb(path, kind, type, name)


def with_duckdb(path: Path, kind: str, type: FileType, name: str) -> Verdict:
    """The same by DuckDB, whatever the size. Raises `Failure` when that is not installed, or gives up."""
    need(kind, name)
    import duckdb

    from mlflowc.data import bigtext, columnar

    try:
        if kind in COLUMNAR:
            return columnar.check(path, kind, type)
        return bigtext.check(path, kind, type)
    except duckdb.Error as e:
        reason = str(e).splitlines()[0]
        raise Failure(f"`{name}` could not be checked against its type: {reason}") from e


def need(kind: str, name: str) -> None:
    """Raises `Failure` when a library is missing that reads large files, or files of that kind."""
    for module in ("duckdb", "pyarrow") if kind == "arrow" else ("duckdb",):
        if not installed(module):
            raise Failure(
                f"to look into `{name}`, `{module}` is needed, and not installed",
                help=f"{extras.install('data')}\n"
                "without it, a type of such a file can only say the kind, and no columns",
            )


def installed(module: str) -> bool:
    """Whether a library is there to be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        return False
