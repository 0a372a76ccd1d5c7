"""A Python version that no environment can be made with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.span import Span

_VERSION = re.compile(r"3\.(?:[89]|[1-9]\d)(?:\.\d{1,2})?")

CHECK = Check(
    "MLP342",
    Severity.ERROR,
    "a Python that cannot be had",
    explanation(
        """
        An environment is made with Python 3.8 or later, and `python` says which minor version: `3.11` or
        `3.11.9`. `3` alone would be another one next year, under the same key.
        """,
        """
        env py { python = "2.7" }
        stage a {
          env = py
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        env py { python = "3.11" }
        stage a {
          env = py
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`python` of each `env` and of `ci`."""
    found: list[tuple[str | None, Span]] = [
        (block.value.python, block.settings.get("python", block.span)) for block in facts.typed.envs
    ]
    if facts.typed.ci is not None and "python" in facts.typed.ci.settings:
        found.append((facts.typed.ci.value.python, facts.typed.ci.settings["python"]))
    for version, span in found:
        if version is not None and not _VERSION.fullmatch(version):
            yield Diagnostic.of(
                CHECK,
                f"no environment can be made with Python `{version}`",
                span,
                help='3.8 or later, with its minor version: `"3.11"`',
            )
