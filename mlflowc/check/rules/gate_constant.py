"""A requirement that is always true, or never."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP413",
    Severity.WARNING,
    "a requirement that does not depend on anything",
    explanation(
        """
        The requirement is made of literals alone, or compares a value with itself. It is decided already,
        so the gate does not look at the run.
        """,
        """
        stage a {
          out m: metrics { auc: float } = "m.json"
          run = "touch {{m}}"
        }
        gate quality {
          require a.m.auc > 0.8
          require 0.9 > 0.8
        }
        """,
        """
        stage a {
          out m: metrics { auc: float } = "m.json"
          run = "touch {{m}}"
        }
        gate quality {
          require a.m.auc > 0.8
        }
        """,
    ),
)

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "!=": operator.ne,
}


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Each requirement of each gate, and each side of its `and`."""
    for block in facts.typed.gates:
        for part in block.parts:
            if not isinstance(part.value, ir.Requirement):
                continue
            verdict = _verdict(part.value.expr)
            if verdict is None:
                continue
            yield Diagnostic.of(
                CHECK,
                f"this requirement can never {'fail' if verdict else 'hold'}",
                part.source or part.whole,
                help="compare a metric of the run: `require train.scores.auc >= 0.8`",
            )


def _verdict(expr: ir.Expr) -> bool | None:
    """What an expression without metrics comes to; None where it depends on something."""
    match expr:
        case ir.Unary("not", operand):
            inner = _verdict(operand)
            return None if inner is None else not inner
        case ir.Binary("and", left, right):
            sides = (_verdict(left), _verdict(right))
            return False if False in sides else True if sides == (True, True) else None
        case ir.Binary("or", left, right):
            sides = (_verdict(left), _verdict(right))
            return True if True in sides else False if sides == (False, False) else None
        case ir.Binary(op, left, right) if op in _COMPARE:
            if left == right:
                return op in ("<=", ">=", "==")
            a, b = _number(left), _number(right)
            return None if a is None or b is None else _COMPARE[op](a, b)
        case _:
            return None


def _number(expr: ir.Expr) -> float | None:
    match expr:
        case ir.Number(value, unit):
            return value / 100 if unit == "%" else value
        case ir.Unary("-", operand):
            inner = _number(operand)
            return None if inner is None else -inner
        case ir.Binary(op, left, right) if op in "+-*/":
            a, b = _number(left), _number(right)
            if a is None or b is None or (op == "/" and b == 0):
                return None
            return {"+": a + b, "-": a - b, "*": a * b}[op] if op != "/" else a / b
        case _:
            return None
