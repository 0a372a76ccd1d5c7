"""`better(METRIC, than = …, by = …, confidence = …)` and `no_worse(…)`: a metric against another, in the
direction in which it improves, and over several instances with a confidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mlflowc.check import values
from mlflowc.check.context import Context
from mlflowc.check.quantities import Typed
from mlflowc.diagnostic import Check, Severity
from mlflowc.ir import model as ir
from mlflowc.syntax import ast

COMPARISON = Check(
    "MLP249",
    Severity.ERROR,
    "a comparison of metrics that says too little",
    """
`better(METRIC, than = …)` holds where the metric is better than the other, `no_worse(METRIC, than = …)`
where it is not worse. `than` is `baseline("main")` for the same metric there, another metric, or a number.
`by` is the margin: by how much better at least, or how much worse at most; as a number, or as a
percentage of what it is compared with. With `confidence`, the metric is one of several instances,
and the margin is kept with that certainty.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out scores: metrics { auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require better(train.scores.auc, than = baseline("main"), confidence = 95%) }
```

```mlpipe
mlpipe 1
pipeline example
stage train each seed in 1..5 {
  out scores: metrics { auc: float } = "metrics/{{seed}}.json"
  run = "train {{seed}} {{scores}}"
}
gate quality {
  require better(train[*].scores.auc, than = baseline("main"), by = 0.5%, confidence = 95%)
}
```
""",
)
CHECKS = (COMPARISON,)

FUNCTIONS = ("better", "no_worse")
_OPTIONS = ("than", "by", "confidence")

Read = Callable[[ast.Expr], Typed | None]
Same = Callable[[ast.CallExpr], tuple[str, str] | None]


def comparison(ctx: Context, expr: ast.CallExpr, name: str, read: Read, same: Same) -> ir.Call | None:
    """The call as a value; None with a diagnostic. `read` reads an expression, `same` the revision and the
    `missing` of a bare `baseline(…)`."""
    subject = _subject(ctx, expr, name, read)
    options = _options(ctx, expr, name)
    if subject is None or options is None:
        return None
    found: list[tuple[str, ir.Expr]] = []
    than = _than(ctx, options["than"], subject, read, same)
    if than is None:
        return None
    found.append(("than", than))
    for key, check in (("by", _margin), ("confidence", _confidence)):
        if key in options:
            made = check(ctx, options[key], subject, read)
            if made is None:
                return None
            found.append((key, made))
    if "confidence" in options and (few := _few(subject, than)):
        ctx.report(
            COMPARISON, f"a confidence takes several values, and {few}", options["confidence"].span,
            help="run the stage several times, as in `stage train each seed in 1..5 { … }`, "
            "and compare `train[*].…`",
        )  # fmt: skip
        return None
    return ir.Call(name, (subject,), tuple(found))


def _subject(ctx: Context, expr: ast.CallExpr, name: str, read: Read) -> ir.Metric | None:
    plain = [a for a in expr.args if a.name is None]
    if len(plain) != 1:
        span = plain[1].span if len(plain) > 1 else expr.span
        ctx.report(
            COMPARISON, f"`{name}` takes one metric, then `than = …`", span,
            help=f'`{name}(train.scores.auc, than = baseline("main"))`',
        )  # fmt: skip
        return None
    made = read(plain[0].value)
    if made is None:
        return None
    if not isinstance(made.expr, ir.Metric) or made.expr.baseline is not None:
        ctx.report(
            COMPARISON, f"`{name}` compares a metric of this run", plain[0].span, help="`train.scores.auc`"
        )
        return None
    return made.expr


def _options(ctx: Context, expr: ast.CallExpr, name: str) -> dict[str, ast.Expr] | None:
    found: dict[str, ast.Expr] = {}
    for argument in expr.args:
        if argument.name is None:
            continue
        key = argument.name.text
        if key not in _OPTIONS:
            help = ", ".join(f"`{o}`" for o in _OPTIONS)
            ctx.report(COMPARISON, f"`{name}` has no option `{key}`", argument.name.span, help=help)
            return None
        if key in found:
            ctx.report(COMPARISON, f"`{key}` stands twice", argument.span)
            return None
        found[key] = argument.value
    if "than" not in found:
        help = f'`{name}(…, than = baseline("main"))`'
        ctx.report(COMPARISON, f"`{name}` says what it compares with", expr.span, help=help)
        return None
    return found


def _than(ctx: Context, expr: ast.Expr, subject: ir.Metric, read: Read, same: Same) -> ir.Expr | None:
    inner = values.bare(expr)
    if isinstance(inner, ast.CallExpr) and _is_baseline(inner):
        revision = same(inner)
        return None if revision is None else replace(subject, baseline=revision[0], missing=revision[1])
    made = read(expr)
    if made is None:
        return None
    if not isinstance(made.expr, ir.Metric | ir.Number | ir.ParamRef):
        ctx.report(COMPARISON, "a baseline, a metric or a number is wanted here", expr.span)
        return None
    if made.type.unit == "%":
        ctx.report(COMPARISON, "a percentage of nothing", expr.span)
        return None
    if isinstance(made.expr, ir.Metric) and made.expr.lower != subject.lower:
        ctx.report(COMPARISON, "one of the two is better when lower, the other when higher", expr.span)
        return None
    if {made.type.unit, subject.unit} == {"s", "B"}:
        ctx.report(COMPARISON, "a duration and a size do not go together", expr.span)
        return None
    return made.expr


def _is_baseline(call: ast.CallExpr) -> bool:
    return isinstance(call.function, ast.NameExpr) and call.function.name.text == "baseline"


def _margin(ctx: Context, expr: ast.Expr, subject: ir.Metric, read: Read) -> ir.Expr | None:
    made = read(expr)
    if made is None:
        return None
    if not isinstance(made.expr, ir.Number | ir.ParamRef):
        ctx.report(COMPARISON, "a margin is a number or a percentage", expr.span, help="as in `by = 0.5%`")
        return None
    if isinstance(made.expr, ir.Number) and made.expr.value < 0:
        help = "`no_worse(…, by = 1%)` lets it be so much worse"
        ctx.report(COMPARISON, "a margin is not negative", expr.span, help=help)
        return None
    if made.type.unit not in ("", "%", subject.unit):
        ctx.report(COMPARISON, "this margin is not in the unit of the metric", expr.span)
        return None
    return made.expr


def _confidence(ctx: Context, expr: ast.Expr, subject: ir.Metric, read: Read) -> ir.Expr | None:
    made = read(expr)
    if made is None:
        return None
    number = made.expr
    if isinstance(number, ir.Number) and number.unit in ("", "%"):
        share = number.value / 100 if number.unit == "%" else number.value
        if 0.5 <= share <= 0.9999:
            return number
    ctx.report(
        COMPARISON, "a confidence is between 50% and 99.99%", expr.span, help="as in `confidence = 95%`"
    )
    return None


def _few(subject: ir.Metric, than: ir.Expr) -> str:
    if len(subject.stages) < 2:
        return "this is one"
    if isinstance(than, ir.Metric) and len(than.stages) < 2:
        return "`than` is one"
    return ""
