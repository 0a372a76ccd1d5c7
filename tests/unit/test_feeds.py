"""What can be said of data without asking its source."""

from __future__ import annotations

import pytest

from mlflowc.ir import feeds
from mlflowc.ir.model import Data, FileType, Place, Value

TAGGED: dict[str, Value] = {"name": "churn", "stage": "prod", "path": "m.pkl"}


@pytest.mark.parametrize(
    ("source", "args", "extras"),
    [
        ("path", {"path": "a.csv"}, ()),
        ("url", {"url": "https://example.org/a"}, ()),
        ("url", {"url": "file:../a"}, ()),
        ("url", {"url": "s3://bucket/a"}, ("remote",)),
        ("dvc", {"path": "a.dvc"}, ("remote",)),
        ("git", {"url": "https://example.org/a", "path": "b"}, ()),
        ("huggingface", {"name": "acme/net"}, ()),
        ("deployed", {"name": "https://example.org/a.json"}, ()),
        ("deployed", {"name": "gs://bucket/a.json"}, ("remote",)),
        ("deployed", TAGGED, ("remote",)),
        ("sql", {"connection": "data/shop.sqlite", "query": "q.sql", "format": "csv"}, ()),
        ("sql", {"connection": "env:URL", "query": "q.sql", "format": "csv"}, ("sql",)),
        ("sql", {"connection": "postgresql://h/d", "query": "q.sql", "format": "arrow"}, ("data", "sql")),
        ("sql", {"connection": "shop.sqlite", "query": "q.sql", "format": "parquet"}, ("data",)),
    ],
)
def test_jobs_install_what_fetching_takes(
    source: str, args: dict[str, Value], extras: tuple[str, ...]
) -> None:
    data = Data("d", Place("p.mlpipe", 1, 1), FileType("file"), source, tuple(args.items()))
    assert feeds.extras(data) == extras
