"""A data source whose pointer or query file does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_FILES = {"dvc": "path", "sql": "query"}

CHECK = Check(
    "MLP332",
    Severity.ERROR,
    "a data source's file does not exist",
    explanation(
        """
        `dvc("….dvc")` reads a pointer file and `sql(…, query = "….sql")` a query, both from the project.
        The file is not there, so the data could not be fetched.
        """,
        """
        data raw: csv = dvc("data/absent.csv.dvc")
        stage a {
          in raw
          out x = "x.csv"
          run = "cp {{raw}} {{x}}"
        }
        """,
        """
        data raw: csv = dvc("data/big.csv.dvc")
        stage a {
          in raw
          out x = "x.csv"
          run = "cp {{raw}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`dvc` pointers and `sql` query files."""
    for block in facts.typed.data:
        key = _FILES.get(block.value.source)
        path = dict(block.value.args).get(key) if key else None
        # A revision of its own means the pointer of another commit.
        if not isinstance(path, str) or dict(block.value.args).get("rev") is not None or facts.exists(path):
            continue
        if block.value.source == "sql" and not path.endswith(".sql"):
            continue
        help = (
            "run `dvc add` and commit the pointer"
            if block.value.source == "dvc"
            else "write the query's file"
        )
        yield Diagnostic.of(
            CHECK,
            f"`{block.value.name}` wants `{path}`, and there is no such file",
            block.settings.get("source", block.span),
            label="not found",
            help=help,
        )
