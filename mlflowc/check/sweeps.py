"""Sweeps: searches over the parameters of a stage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlflowc.check import lattice, values
from mlflowc.check.blocks import arguments
from mlflowc.check.context import Context
from mlflowc.check.facts import normal, places, within
from mlflowc.check.metricref import MetricOf, metric
from mlflowc.check.model import Block, Part, Step
from mlflowc.check.params import Params, misfit, typed_literal
from mlflowc.check.references import References, chain
from mlflowc.check.signatures import Signature
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.ir import model as ir
from mlflowc.ir import sweeps
from mlflowc.resolve.scope import Entry
from mlflowc.syntax import ast

SWEEP = Check(
    "MLP246",
    Severity.ERROR,
    "a sweep that does not make sense",
    """
A sweep searches over parameters that its stage declares, for the best value of a metric that its stage
writes.

```mlpipe fails
mlpipe 1
pipeline example
param lr = 0.1
param seed = 1
stage train {
  param lr
  out scores: metrics { auc: float } = "metrics.json"
  run = "train --lr {{params.lr}} {{scores}}"
}
sweep tune over train {
  vary seed in [1, 2]
  goal = maximize(scores.auc)
}
```

```mlpipe
mlpipe 1
pipeline example
param lr = 0.1
stage train {
  param lr
  out scores: metrics { auc: float } = "metrics.json"
  run = "train --lr {{params.lr}} {{scores}}"
}
sweep tune over train {
  vary lr in log(1e-5, 1e-1)
  search = random(trials = 20)
  goal   = maximize(scores.auc)
}
```
""",
)
CHECKS = (SWEEP,)

# More trials than these of one sweep is a slip.
MOST_TRIALS = 10_000

# Search -> its options.
_SEARCHES: dict[str, dict[str, values.Reader]] = {
    "grid": {},
    "random": {"trials": values.integer(1), "seed": values.integer()},
    "tpe": {"trials": values.integer(1), "seed": values.integer(), "startup": values.integer(1)},
}


def _search(ctx: Context, expr: ast.Expr) -> Any:
    expr = values.bare(expr)
    function = expr.function if isinstance(expr, ast.CallExpr) else expr
    name = function.name.text if isinstance(function, ast.NameExpr) else ""
    if name not in _SEARCHES:
        return values.wrong(
            ctx, expr, "a way to search", "`grid`, `random(trials = 20)` or `tpe(trials = 40, seed = 7)`"
        )
    given = arguments(ctx, expr, ("trials",), _SEARCHES[name], name) if isinstance(expr, ast.CallExpr) else {}
    if given is None:
        return values.BAD
    if name != "grid" and "trials" not in given:
        return values.wrong(ctx, expr, "a number of trials", f"write `{name}(trials = 20)`")
    return name, tuple(sorted(given.items()))


_SETTINGS: dict[str, values.Reader] = {
    "search": _search,
    "parallel": values.integer(1, 1000),
    "goal": values.expression,
}


def sweep(ctx: Context, references: References, params: Params, entry: Entry) -> Block[ir.Sweep] | None:
    """One sweep; None with a diagnostic where it has a mistake."""
    decl = entry.decl
    assert isinstance(decl, ast.SweepDecl)
    found = values.read(ctx, decl.items, _SETTINGS, f"sweep `{entry.name}`")
    signature = _stage(ctx, references, decl)
    vary = [
        v for i in decl.items if isinstance(i, ast.VaryItem) for v in [_vary(ctx, params, i)] if v is not None
    ]
    for what, missing in (
        ("varies nothing", not any(isinstance(i, ast.VaryItem) for i in decl.items)),
        ("has no goal", "goal" not in found.spans),
    ):
        if missing:
            ctx.report(values.MISSING, f"sweep `{entry.name}` {what}", entry.span)
    if signature is not None:
        varied = [(v.value.param, params.parts[v.value.param].value.type) for v in vary]
        offers = [(o.name, o.type) for o in signature.offers.values()]
        references.trials[entry.name] = sweeps.trials_type(varied, offers)
    if signature is None or not vary or "goal" not in found.values:
        return None
    _declared_by_stage(ctx, params, signature, vary)
    goal = _goal(ctx, references, signature, found.values["goal"])
    if goal is None:
        return None
    if "search" in found.spans and "search" not in found.values:
        return None
    search, options = found.get("search", ("grid", ()))
    if search == "grid" and any(not v.value.values for v in vary):
        ctx.report(
            SWEEP,
            "a grid goes over lists, and this sweep varies in a range",
            entry.span,
            help="`search = random(trials = 20)`",
        )
    _once(ctx, vary)
    made = ir.Sweep(
        entry.name, ctx.place(entry.span), signature.name, tuple(v.value for v in vary), search, options,
        found.get("parallel", 1), goal[0], goal[1].output, goal[1].field,
    )  # fmt: skip
    if sweeps.count(made) > MOST_TRIALS:
        ctx.report(
            SWEEP,
            f"sweep `{entry.name}` has {sweeps.count(made):,} trials, and {MOST_TRIALS:,} is the most",
            entry.span,
            help="vary less, or take some of them: `search = random(trials = 100)`",
        )
    return Block(made, entry.span, decl.span, found.spans, tuple(vary))


def alone(ctx: Context, found: Iterable[Block[ir.Sweep]], stages: Iterable[Step[ir.Stage]]) -> None:
    """What other stages must not do, so that sweeps can run: depend on what is varied before the swept stage,
    or write where a sweep writes."""
    steps = {s.value.id: s for s in stages}
    for block in found:
        sweep = block.value
        folder = f"{sweeps.FOLDER}/{sweep.name}"
        for step in steps.values():
            for part in places(step):
                path = normal(part.value.path)
                if within(path, folder) or within(folder, path):
                    ctx.report(
                        SWEEP, f"`{path}` is where the sweep `{sweep.name}` writes", part.source or part.span,
                        related=(Label(block.span, "the sweep"),), help="write elsewhere",
                    )  # fmt: skip
        varied = {p.value.param: p for p in block.parts}
        todo, seen = [sweep.stage], {sweep.stage}
        while todo:
            now = steps.get(todo.pop())
            if now is None:
                continue
            before = [s.stage for i in now.value.inputs for s in i.sources if isinstance(s, ir.StageOutput)]
            todo += [b for b in (*before, *now.value.after) if b not in seen]
            seen.update(before, now.value.after)
            both = [] if now.value.id == sweep.stage else [p for p in now.value.params if p in varied]
            for name in both:
                ctx.report(
                    SWEEP,
                    f"`{now.value.id}`, before `{sweep.stage}`, depends on `{name}`, too",
                    varied[name].span,
                    related=(Label(now.span, "this stage"),),
                    help="a sweep runs one stage: give each a parameter of its own",
                )


def _once(ctx: Context, vary: list[Part[ir.Vary]]) -> None:
    first: dict[str, Part[ir.Vary]] = {}
    for part in vary:
        before = first.setdefault(part.value.param, part)
        if before is not part:
            related = (Label(before.span, "first varied here"),)
            ctx.report(SWEEP, f"`{part.value.param}` is varied twice", part.span, related=related)


def _stage(ctx: Context, references: References, decl: ast.SweepDecl) -> Signature | None:
    at = chain(decl.stage)
    if not isinstance(at.base, ast.NameExpr) or at.links:
        values.wrong(ctx, decl.stage, "the name of a stage")
        return None
    stage = ctx.find(ctx.main, "stage", (at.base.name,))
    if stage is None or stage.kind != "stage":
        if stage is not None:
            values.wrong(ctx, decl.stage, "the name of a stage", f"`{stage.name}` is a {stage.kind}")
        return None
    signature = references.signatures.get(stage.name)
    if signature is not None and signature.axes:
        related = (Label(signature.entry.span, "declared here"),)
        ctx.report(
            SWEEP,
            f"`{stage.name}` has instances, and a sweep goes over one stage",
            decl.stage.span,
            related=related,
            help="give it a stage without `each`; what `each` goes through can be a parameter that it varies",
        )
        return None
    return signature


def _vary(ctx: Context, params: Params, item: ast.VaryItem) -> Part[ir.Vary] | None:
    names = params.expand(ctx, item.name)
    if len(names) != 1:
        if names:
            ctx.report(SWEEP, "one parameter is varied at a time", item.name.span)
        return None
    param = params.parts[names[0]].value
    expr = values.bare(item.value)
    made: ir.Vary | None = None
    ends: tuple[ast.Expr, ...] = ()
    if isinstance(expr, ast.ListExpr) and expr.items:
        options = [typed_literal(ctx, i, param.type) for i in expr.items]
        good = tuple(o for o in options if not isinstance(o, values.Bad))
        if len(good) == len(options):
            made, ends = ir.Vary(param.name, good), expr.items
        else:
            return None
    elif isinstance(expr, ast.RangeExpr):
        made, ends = _between(param.name, expr.low, expr.high, "linear"), (expr.low, expr.high)
    elif isinstance(expr, ast.CallExpr) and isinstance(expr.function, ast.NameExpr) and len(expr.args) == 2:
        scale = expr.function.name.text
        if scale in ("log", "linear") and all(a.name is None for a in expr.args):
            ends = (expr.args[0].value, expr.args[1].value)
            made = _between(param.name, *ends, scale)
    if made is None:
        help = "`[4, 6, 8]`, `0.1..0.9` or `log(1e-5, 1e-2)`; from low to high, and a `log` above 0"
        values.wrong(ctx, expr, "a list or a range of values to try", help)
        return None
    for end in ends:
        value = values.literal(end)
        whole = isinstance(value, int) or param.type.name != "int"
        problem = (
            misfit(param.name, value, param.type, param.constraints)
            if not isinstance(value, values.Bad) and whole
            else ""
        )
        if problem or not whole:
            ctx.report(SWEEP, problem or f"`{param.name}` is {lattice.spell_scalar(param.type)}", end.span)
    return Part(made, item.name.span, item.span, None, item.value.span)


def _between(name: str, low: ast.Expr, high: ast.Expr, scale: str) -> ir.Vary | None:
    a, b = values.literal(low), values.literal(high)
    if (
        isinstance(a, bool)
        or isinstance(b, bool)
        or not isinstance(a, int | float)
        or not isinstance(b, int | float)
    ):
        return None
    if a >= b or (scale == "log" and a <= 0):
        return None
    return ir.Vary(name, (), a, b, scale)


def _declared_by_stage(ctx: Context, params: Params, signature: Signature, vary: list[Part[ir.Vary]]) -> None:
    declared: set[str] = set()
    for item in (*signature.items, *signature.added):
        if isinstance(item, ast.ParamItem):
            text = item.name.text
            if signature.component is not None:
                declared.add(f"{signature.name}.{text}")
            declared.update(params.sections.get(text.removesuffix(".*"), ()) if item.name.star else (text,))
    for binding in signature.bindings:
        if isinstance(binding, ast.Setting):
            at = chain(binding.value)
            if isinstance(at.base, ast.NameExpr) and at.base.name.text == "params":
                declared.add(".".join(link.name.text for link in at.links if link.name is not None))
    for part in vary:
        if part.value.param not in declared:
            ctx.report(
                SWEEP,
                f"`{signature.name}` does not declare the parameter `{part.value.param}`: varying it is idle",
                part.span, related=(Label(signature.entry.span, "the stage"),),
                help=f"add `param {part.value.param}` to it",
            )  # fmt: skip


def _goal(
    ctx: Context, references: References, signature: Signature, expr: ast.Expr
) -> tuple[str, MetricOf] | None:
    call = expr if isinstance(expr, ast.CallExpr) else None
    way = call.function.name.text if call and isinstance(call.function, ast.NameExpr) else ""
    if (
        call is None
        or way not in ("maximize", "minimize")
        or len(call.args) != 1
        or call.args[0].name is not None
    ):
        values.wrong(ctx, expr, "`maximize(…)` or `minimize(…)`", "as in `maximize(scores.auc)`")
        return None
    at = chain(call.args[0].value)
    fields = [
        f"{o.name}.{f.name}"
        for o in signature.offers.values()
        if o.type.kind == "metrics"
        for f in o.type.columns
    ]
    if isinstance(at.base, ast.NameExpr) and not at.links and at.base.name.text not in signature.offers:
        meant = next((f for f in fields if f.endswith(f".{at.base.name.text}")), None)
        example = f"write `{meant}`" if meant else f"as in `{fields[0]}`" if fields else ""
        values.wrong(ctx, at.base, f"a metric of `{signature.name}`", example)
        return None
    if isinstance(at.base, ast.NameExpr) and at.base.name.text in signature.offers:
        from_stage: ast.Expr = ast.NameExpr(ast.Name(signature.name, at.base.span), at.base.span)
        first = ast.Attribute(from_stage, at.base.name, at.base.span)
        whole: ast.Expr = first
        for link in at.links:
            if link.name is not None:
                whole = ast.Attribute(whole, link.name, at.base.span.to(link.span))
        at = chain(whole)
    found = metric(ctx, references, at)
    if found is None:
        return None
    if not isinstance(found, MetricOf) or found.stages != (signature.name,):
        ctx.report(SWEEP, f"the goal is a metric of `{signature.name}`", call.args[0].span)
        return None
    return way, found
