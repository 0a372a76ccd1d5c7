"""Data over an unprotected connection."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_LOCAL = ("http://localhost", "http://127.", "http://[::1]")

CHECK = Check(
    "MLP421",
    Severity.WARNING,
    "data over plain http",
    explanation(
        """
        Over `http://` anyone between the server and the machine can change the data when it is pinned for
        the first time. Its hash is checked from then on, but the first content is trusted.
        """,
        """
        data feed: csv = url("http://example.org/feed.csv")
        stage a {
          in feed
          out x = "x.csv"
          run = "cp {{feed}} {{x}}"
        }
        """,
        """
        data feed: csv = url("https://example.org/feed.csv")
        stage a {
          in feed
          out x = "x.csv"
          run = "cp {{feed}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Addresses of `data`; servers on the machine itself are fine."""
    for block in facts.typed.data:
        for _, value in block.value.args:
            if isinstance(value, str) and value.startswith("http://") and not value.startswith(_LOCAL):
                yield Diagnostic.of(
                    CHECK,
                    f"`{block.value.name}` is fetched over plain http",
                    block.settings.get("source", block.span),
                    help="write `https://` if the server has it",
                )
