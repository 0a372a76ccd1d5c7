"""Expressions of gates: metrics, baselines, parameters, rows, arithmetic; each with its type."""

from __future__ import annotations

from mlflowc.check import better, lattice, values
from mlflowc.check.context import Context
from mlflowc.check.datasources import DataTable
from mlflowc.check.metricref import RowsOf, metric
from mlflowc.check.params import Params
from mlflowc.check.quantities import Type, Typed
from mlflowc.check.references import Chain, References, chain
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.ir import direction
from mlflowc.ir import model as ir
from mlflowc.spell import nearest
from mlflowc.syntax import ast

OPERANDS = Check(
    "MLP240",
    Severity.ERROR,
    "an expression whose parts do not go together",
    """
A requirement is a condition: a comparison, or conditions joined by `and`, `or`, `not`. Arithmetic takes
numbers.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out scores: metrics { auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.auc }
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out scores: metrics { auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.auc >= 0.8 }
```
""",
)
UNITS = Check(
    "MLP241",
    Severity.ERROR,
    "units that do not go together",
    """
A duration and a size cannot be added or compared. A plain number goes with either: it counts seconds or
bytes.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out scores: metrics { time: duration, auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.time <= 2GiB }
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out scores: metrics { time: duration, auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.time <= 2h }
```
""",
)
FUNCTION = Check(
    "MLP242",
    Severity.ERROR,
    "a function that is unknown or wrongly called",
    """
Gates know `mean`, `min`, `max`, `sum`, `std` (of the instances of a stage, or of several values), `abs`,
and `better` and `no_worse`, which compare a metric with a baseline.

```mlpipe
mlpipe 1
pipeline example
stage train each lang in ["de", "fr"] {
  out scores: metrics { auc: float } = "metrics/{{lang}}.json"
  run = "train {{lang}} {{scores}}"
}
gate quality {
  require mean(train[*].scores.auc) >= 0.8
  require min(train[*].scores.auc) >= 0.7
}
```

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out scores: metrics { time: duration, auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require median(train.scores.auc) >= 0.8 }
```
""",
)
BASELINE = Check(
    "MLP243",
    Severity.ERROR,
    "a baseline that is not understood",
    """
`baseline("main").train.scores.auc` is the metric as it was at a revision. `missing = fail` makes the gate
fail where that revision has none; by default it passes, and says so.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out scores: metrics { time: duration, auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.auc >= baseline().train.scores.auc }
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out scores: metrics { time: duration, auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.auc >= baseline("main").train.scores.auc }
```
""",
)
CHECKS = (OPERANDS, UNITS, FUNCTION, BASELINE)

_REDUCE = ("mean", "min", "max", "sum", "std")
FUNCTIONS = (*_REDUCE, "abs", *better.FUNCTIONS)
_COMPARE = ("<", "<=", ">", ">=", "==", "!=")
_UNIT_OF = {"percent": "%", "duration": "s", "size": "B"}


class Expressions:
    """Reads the expressions of gates. `depth` of an expression is bounded by the parser."""

    def __init__(self, ctx: Context, references: References, params: Params, data: DataTable) -> None:
        self._ctx = ctx
        self._references = references
        self._params = params
        self._data = data
        self.stages: set[str] = set()  # whose current metrics were named

    def condition(self, expr: ast.Expr) -> ir.Expr | None:
        """An expression that must be a condition."""
        made = self.read(expr)
        if made is None:
            return None
        if made.type.kind == "number":
            self._ctx.report(
                OPERANDS,
                "a requirement is a condition, and this is a number",
                expr.span,
                help="compare it, as in `… >= 0.8`",
            )
            return None
        return made.expr

    def read(self, expr: ast.Expr) -> Typed | None:
        """An expression; None with a diagnostic where it has a mistake."""
        expr = values.bare(expr)
        match expr:
            case ast.Num():
                unit = _UNIT_OF.get(expr.kind, "")
                return Typed(ir.Number(expr.value, unit), Type("number", unit))
            case ast.Bool():
                number = ir.Number(int(expr.value))
                return Typed(ir.Binary("==", number, ir.Number(1)), Type("bool"))
            case ast.UnaryExpr():
                return self._unary(expr)
            case ast.BinaryExpr():
                return self._binary(expr)
            case ast.CallExpr(function=ast.NameExpr(name=name)) if name.text != "baseline":
                return self._call(expr, name)
            case ast.NameExpr() | ast.Attribute() | ast.Index() | ast.CallExpr():
                return self._named(chain(expr))
        help = f"another revision's figures: `baseline({expr.raw})`" if isinstance(expr, ast.Str) else ""
        self._ctx.report(OPERANDS, "a number, a metric or a condition is wanted here", expr.span, help=help)
        return None

    def _unary(self, expr: ast.UnaryExpr) -> Typed | None:
        inner = self.read(expr.operand)
        if inner is None:
            return None
        wanted = "number" if expr.op == "-" else "bool"
        if inner.type.kind != wanted:
            self._ctx.report(
                OPERANDS,
                f"`{expr.op}` takes a {_words(wanted)}, and this is a {_words(inner.type.kind)}",
                expr.operand.span,
            )
            return None
        if isinstance(inner.expr, ir.Number) and expr.op == "-":
            return Typed(ir.Number(-inner.expr.value, inner.expr.unit), inner.type)
        return Typed(ir.Unary(expr.op, inner.expr), inner.type)

    def _binary(self, expr: ast.BinaryExpr) -> Typed | None:
        # A long chain (`a and b and …`) leans to the left: walk down it instead of recursing.
        spine: list[ast.BinaryExpr] = [expr]
        while isinstance(left := values.bare(spine[-1].left), ast.BinaryExpr):
            spine.append(left)
        made = self.read(spine[-1].left)
        for node in reversed(spine):
            right = self.read(node.right)
            made = self._joined(node, made, right)
        return made

    def _joined(self, node: ast.BinaryExpr, left: Typed | None, right: Typed | None) -> Typed | None:
        if left is None or right is None:
            return None
        op = node.op
        wanted = "bool" if op in ("and", "or") else "number"
        for side, written in ((left, node.left), (right, node.right)):
            if side.type.kind != wanted:
                message = f"`{op}` takes {_words(wanted)}s, and this is a {_words(side.type.kind)}"
                self._ctx.report(OPERANDS, message, written.span)
                return None
        many = left.type.many or right.type.many
        made = ir.Binary(op, left.expr, right.expr)
        if wanted == "bool":
            return Typed(made, Type("bool"))
        a, b = left.type.unit, right.type.unit
        if op in ("+", "-", *_COMPARE) and {a, b} == {"s", "B"}:
            self._ctx.report(
                UNITS, "a duration and a size do not go together", node.span,
                related=(Label(node.left.span, _unit_words(a)), Label(node.right.span, _unit_words(b))),
            )  # fmt: skip
            return None
        if op in _COMPARE:
            return Typed(made, Type("bool"))
        unit = (
            (a if a != "%" else b) or (b if b != "%" else "")
            if op in ("+", "-")
            else a
            if op == "*" and not b
            else ""
        )
        if op in ("+", "-") and a == b == "%":
            unit = "%"
        return Typed(made, Type("number", unit, many))

    def _call(self, expr: ast.CallExpr, name: ast.Name) -> Typed | None:
        if name.text not in FUNCTIONS:
            guess = nearest(name.text, (*FUNCTIONS, "baseline"))
            help = f"write `{guess}`?" if guess else "there is " + ", ".join(f"`{f}`" for f in FUNCTIONS)
            self._ctx.report(FUNCTION, f"there is no function `{name.text}`", name.span, help=help)
            return None
        if name.text in better.FUNCTIONS:
            call = better.comparison(self._ctx, expr, name.text, self.read, self._revision)
            return None if call is None else Typed(call, Type("bool"))
        args = [self.read(a.value) for a in expr.args if a.name is None]
        for argument in expr.args:
            if argument.name is not None:
                self._ctx.report(
                    FUNCTION, f"`{name.text}` has no option `{argument.name.text}`", argument.name.span
                )
                return None
        good = [a for a in args if a is not None]
        if len(good) < len(args):
            return None
        for made, argument in zip(good, expr.args, strict=True):
            if made.type.kind != "number":
                self._ctx.report(
                    OPERANDS, f"`{name.text}` takes numbers, and this is a condition", argument.span
                )
                return None
        if not good or (name.text == "abs" and len(good) != 1):
            wanted = "one number" if name.text == "abs" else "at least one number"
            self._ctx.report(FUNCTION, f"`{name.text}` takes {wanted}", expr.span)
            return None
        unit = good[0].type.unit
        many = name.text == "abs" and good[0].type.many
        return Typed(ir.Call(name.text, tuple(g.expr for g in good)), Type("number", unit, many))

    # -- names --

    def _named(self, at: Chain) -> Typed | None:
        if isinstance(at.base, ast.CallExpr):
            return self._baseline(at, at.base)
        if isinstance(at.base, ast.NameExpr) and at.base.name.text == "params" and at.links:
            return self._param(at)
        return self._metric(at, None, "pass")

    def _param(self, at: Chain) -> Typed | None:
        pieces = [link.name for link in at.links]
        if any(p is None for p in pieces):
            self._ctx.report(OPERANDS, "a parameter has no `[…]`", at.span)
            return None
        names = tuple(p for p in pieces if p is not None)
        expanded = self._params.expand(self._ctx, ast.Dotted(names, names[0].span.to(names[-1].span)))
        if not expanded:
            return None
        type = self._params.parts[expanded[0]].value.type
        if type.name not in ("int", "float", "duration", "size", "bool", "any"):
            self._ctx.report(
                OPERANDS, f"`{at.text}` is {lattice.spell_scalar(type)}, and a number is wanted here", at.span
            )
            return None
        ref = ir.ParamRef(expanded[0])
        if type.name == "bool":
            return Typed(ir.Binary("==", ref, ir.Number(1)), Type("bool"))
        return Typed(ref, Type("number", _UNIT_OF.get(type.name, "")))

    def _baseline(self, at: Chain, call: ast.CallExpr) -> Typed | None:
        function = call.function
        if not isinstance(function, ast.NameExpr) or function.name.text != "baseline":
            self._ctx.report(FUNCTION, "only `baseline(…)` is followed by a name", call.span)
            return None
        read = self._revision(call)
        if read is None:
            return None
        if not at.links or at.links[0].name is None:
            self._ctx.report(
                BASELINE,
                "a baseline is followed by the metric that is meant",
                at.span,
                help='as in `baseline("main").train.scores.auc`',
            )
            return None
        first = at.links[0].name
        return self._metric(Chain(ast.NameExpr(first, first.span), at.links[1:], at.span), *read)

    def _revision(self, call: ast.CallExpr) -> tuple[str, str] | None:
        """The revision and the `missing` of a `baseline(…)`."""
        revision, missing = "", "pass"
        for argument in call.args:
            key = argument.name.text if argument.name else "revision"
            if key == "missing":
                word = values.one_of("pass", "fail")(self._ctx, argument.value)
                if word is values.BAD:
                    return None
                missing = word
            elif key == "revision" and not revision:
                value = values.bare(argument.value)
                revision = value.value.strip() if isinstance(value, ast.Str) else ""
                if not revision or revision.startswith("-"):
                    self._ctx.report(
                        BASELINE, "a revision is wanted here", argument.span, help='as in `baseline("main")`'
                    )
                    return None
            else:
                self._ctx.report(
                    BASELINE,
                    "this is no argument of `baseline`",
                    argument.span,
                    help='`baseline("main", missing = fail)`',
                )
                return None
        if not revision:
            self._ctx.report(
                BASELINE, "a baseline names its revision", call.span, help='as in `baseline("main")`'
            )
            return None
        return revision, missing

    def _metric(self, at: Chain, revision: str | None, missing: str) -> Typed | None:
        reached = metric(self._ctx, self._references, at, self._data)
        if reached is None:
            return None
        if isinstance(reached, RowsOf):
            if revision is not None or len(reached.stages) != 1:
                what = (
                    "of a baseline is not known"
                    if revision is not None
                    else "of several instances is not one number"
                )
                self._ctx.report(BASELINE, f"the number of rows {what}", at.span)
                return None
            self.stages.update(reached.stages)
            return Typed(ir.Rows(reached.stages[0], reached.output), Type("number"))
        if reached.data is not None and revision is not None:
            self._ctx.report(BASELINE, "only what stages write has a baseline", at.span)
            return None
        if revision is None:
            self.stages.update(reached.stages)
        unit = _UNIT_OF.get(reached.column.type.name, "")
        lower = direction.lower_is_better(reached.column) is True
        made = ir.Metric(
            reached.stages,
            reached.output,
            reached.field,
            reached.many,
            revision,
            missing,
            lower,
            unit,
            reached.data,
        )
        if reached.column.type.name == "bool":
            return Typed(ir.Binary("==", made, ir.Number(1)), Type("bool", "", False))
        return Typed(made, Type("number", unit, reached.many))


def _words(kind: str) -> str:
    return "condition" if kind == "bool" else kind


def _unit_words(unit: str) -> str:
    return {"s": "a duration", "B": "a size"}.get(unit, "a number")
