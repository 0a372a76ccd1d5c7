"""A query whose rows come in any order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
# One row has but one order.
_SINGLE = re.compile(r"\blimit\s+1\s*;?\s*$", re.IGNORECASE)

CHECK = Check(
    "MLP427",
    Severity.WARNING,
    "a query without an order",
    explanation(
        """
        A database may give the same rows in another order each time. What is pinned is the content of the
        file, so a query without `order by` looks changed when nothing has, and stages run again for it; and
        where the bytes are gone from every cache, they cannot be had again.
        """,
        """
        data people: csv = sql("env:DATABASE_URL", query = "select id, age from people")
        stage a {
          in people
          out x = "x.csv"
          run = "cp {{people}} {{x}}"
        }
        """,
        """
        data people: csv = sql("env:DATABASE_URL", query = "select id, age from people order by id")
        stage a {
          in people
          out x = "x.csv"
          run = "cp {{people}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Queries of `sql`, in the file or in one of their own."""
    for block in facts.typed.data:
        if block.value.source != "sql":
            continue
        query = str(dict(block.value.args).get("query", ""))
        text = facts.loader.read(query) if query.endswith(".sql") else query
        if not isinstance(text, str):
            continue
        plain = _COMMENT.sub(" ", text)
        if not _ORDER.search(plain) and not _SINGLE.search(plain):
            where = f"`{query}`" if query.endswith(".sql") else "the query"
            yield Diagnostic.of(
                CHECK,
                f"{where} says no order: the same rows may come as another content",
                block.settings.get("source", block.span),
                help="end it with `order by`, over columns that tell every row from every other",
            )
