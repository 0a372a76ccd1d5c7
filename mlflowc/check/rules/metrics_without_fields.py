"""Metrics that name no field."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP425",
    Severity.WARNING,
    "metrics without fields",
    explanation(
        """
        The output is `metrics` and names no field. No gate, report or sweep can refer to one, and a file
        that lacks a figure is not noticed.
        """,
        """
        stage a {
          out m: metrics = "m.json"
          run = "touch {{m}}"
        }
        """,
        """
        stage a {
          out m: metrics { auc: float } = "m.json"
          run = "touch {{m}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Outputs of kind `metrics`."""
    for item in facts.written:
        if item.part.value.type.kind == "metrics" and not item.part.value.type.columns:
            yield Diagnostic.of(
                CHECK,
                f"`{item.step.value.name}.{item.part.value.name}` names no field",
                item.part.type or item.part.span,
                help="say which figures it holds: `metrics { accuracy: float }`",
            )
