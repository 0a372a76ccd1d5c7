"""A Python version that is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.span import Span

_VERSION = re.compile(r"3\.\d{1,2}(\.\d{1,2})?")

CHECK = Check(
    "MLP342",
    Severity.ERROR,
    "a malformed Python version",
    explanation(
        """
        `python` is one version, `3.11` or `3.11.9`, not a range and not a name: it decides the environment
        and with it the key of every stage that uses it.
        """,
        """
        env py { python = ">=3.11" }
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
                f"`{version}` is not a version of Python",
                span,
                help='write one version, as in `"3.11"`',
            )
