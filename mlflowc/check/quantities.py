"""What expressions of gates are: numbers with units, conditions, one or many."""

from __future__ import annotations

from typing import NamedTuple

from mlflowc.ir import model as ir


class Type(NamedTuple):
    """`kind` is `number`, `bool` or `any` (a mistake was reported); `many`: one value for each instance."""

    kind: str
    unit: str = ""
    many: bool = False


class Typed(NamedTuple):
    """An expression and its type."""

    expr: ir.Expr
    type: Type
