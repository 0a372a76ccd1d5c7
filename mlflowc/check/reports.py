"""Gates and reports: what must hold, and what a reviewer sees."""

from __future__ import annotations

from typing import Any

from mlflowc.check import lattice, values
from mlflowc.check.context import Context
from mlflowc.check.datasources import DataTable
from mlflowc.check.expressions import Expressions
from mlflowc.check.metricref import RowsOf, metric
from mlflowc.check.model import Block, Part
from mlflowc.check.params import Params
from mlflowc.check.references import Chain, Reached, References, chain, chain_of_text
from mlflowc.check.templates import PLACEHOLDER
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.ir import model as ir
from mlflowc.resolve.scope import Entry
from mlflowc.span import Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast, template
from mlflowc.syntax.flat import format_expr

SHOW = Check(
    "MLP245",
    Severity.ERROR,
    "a line of a report that cannot be shown",
    """
A report has lines of these kinds: `metrics REF`, `params`, `plot REF { x = …, y = … }` of a table, of
metrics or of a Vega-Lite specification, `image REF`, `notebook REF`, `text "…"`, `stages`, `data`, `graph`.
Where REF is a folder, all that it holds of the kind is shown; `path` picks some. What is compared with a
revision says so: `vs "main"`.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out model: model = "model.pkl"
  run = "train {{model}}"
}
report review { plot train.model }
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out curve: csv { epoch: int, loss: float } = "loss.csv"
  run = "train {{curve}}"
}
report review { plot train.curve { x = epoch, y = loss } }
```
""",
)
CHECKS = (SHOW,)

# Kind of line -> whether it shows an output, the kinds of files that it can show, whether `vs` goes with it.
_LINES: dict[str, tuple[bool, tuple[str, ...], bool]] = {
    "metrics": (True, ("metrics", "dir"), True),
    "params": (False, (), True),
    "plot": (True, (*sorted(lattice.TABLES), "json", "yaml", "dir"), True),
    "image": (True, ("image", "dir"), True),
    "notebook": (True, ("notebook",), False),
    "text": (False, (), False),
    "stages": (False, (), True),
    "data": (False, (), True),
    "graph": (False, (), False),
}
_PLOTS = ("line", "scatter", "bar", "histogram", "confusion", "roc", "pr")


def gate(
    ctx: Context, references: References, params: Params, entry: Entry, data: DataTable
) -> Block[ir.Gate]:
    """One gate."""
    decl = entry.decl
    assert isinstance(decl, ast.BlockDecl)
    settings = values.read(ctx, decl.items, {}, f"gate `{entry.name}`")
    expressions = Expressions(ctx, references, params, data)
    parts: list[Part[ir.Requirement]] = []
    for item in decl.items:
        if not isinstance(item, ast.RequireItem):
            continue
        message = values.text(ctx, item.message) if item.message is not None else None
        made = expressions.condition(item.expr)
        if made is not None:
            text = format_expr(item.expr)
            requirement = ir.Requirement(
                made, text, ctx.place(item.span), message if isinstance(message, str) else None
            )
            parts.append(Part(requirement, item.expr.span, item.span, None, item.expr.span))
    if not any(isinstance(i, ast.RequireItem) for i in decl.items):
        ctx.report(
            values.MISSING, f"gate `{entry.name}` requires nothing", entry.span, help="add a `require`"
        )
    value = ir.Gate(
        entry.name, ctx.place(entry.span), tuple(p.value for p in parts), tuple(sorted(expressions.stages))
    )
    return Block(value, entry.span, decl.span, settings.spans, tuple(parts))


class Reports:
    """Reads reports."""

    def __init__(self, ctx: Context, references: References, params: Params) -> None:
        self._ctx = ctx
        self._references = references
        self._params = params

    def read(self, entry: Entry) -> Block[ir.Report]:
        """One report."""
        decl = entry.decl
        assert isinstance(decl, ast.BlockDecl)
        settings = values.read(self._ctx, decl.items, {}, f"report `{entry.name}`")
        parts: list[Part[ir.ReportItem]] = []
        stages: set[str] = set()
        for item in decl.items:
            if isinstance(item, ast.ShowItem):
                made = self._line(item, stages)
                if made is not None:
                    source = item.value.span if item.value else None
                    parts.append(Part(made, item.kind.span, item.span, None, source))
        if any(p.value.kind == "stages" for p in parts):
            stages.update(i.id for s in self._references.signatures.values() for i in s.instances.values())
        if not any(isinstance(i, ast.ShowItem) for i in decl.items):
            self._ctx.report(
                values.MISSING,
                f"report `{entry.name}` shows nothing",
                entry.span,
                help='add a line, such as `params vs "main"`',
            )
        value = ir.Report(
            entry.name, self._ctx.place(entry.span), tuple(p.value for p in parts), tuple(sorted(stages))
        )
        return Block(value, entry.span, decl.span, settings.spans, tuple(parts))

    def _line(self, item: ast.ShowItem, stages: set[str]) -> ir.ReportItem | None:
        ctx, kind = self._ctx, item.kind.text
        if kind not in _LINES:
            guess = nearest(kind, _LINES)
            help = f"write `{guess}`?" if guess else "there is " + ", ".join(f"`{k}`" for k in _LINES)
            ctx.report(SHOW, f"a report has no line `{kind}`", item.kind.span, help=help)
            return None
        shows, kinds, compares = _LINES[kind]
        if kind == "text":
            return self._text(item, stages)
        if (item.value is not None) != shows:
            problem = f"`{kind}` shows an output: name it" if shows else f"`{kind}` stands alone"
            help = f"as in `{kind} train.scores`" if shows else f"write `{kind}`: it shows all that there are"
            ctx.report(SHOW, problem, item.value.span if item.value else item.kind.span, help=help)
            return None
        reached = self._shown(item.value, kind, kinds) if item.value is not None else None
        if shows and reached is None:
            return None
        options = self._options(item, kind, reached)
        vs = self._revision(item, options.pop("vs", None), compares)
        refs: tuple[ir.StageOutput, ...] = ()
        if reached is not None:
            refs = tuple(ir.StageOutput(i.id, reached.offer.name) for i in reached.instances)
            stages.update(r.stage for r in refs)
        return ir.ReportItem(kind, refs, vs, tuple(sorted(options.items())))

    def _revision(self, item: ast.ShowItem, inner: Any, compares: bool) -> str | None:
        written = values.text(self._ctx, item.vs) if item.vs is not None else inner
        if written is None or written is values.BAD:
            return None
        span = item.vs.span if item.vs is not None else item.span
        if not compares:
            self._ctx.report(SHOW, f"`{item.kind.text}` compares with nothing", span, help="drop the `vs`")
            return None
        if not written.strip() or written.startswith("-"):
            self._ctx.report(SHOW, "a revision is wanted here", span, help='as in `vs "main"`')
            return None
        assert isinstance(written, str)
        return written.strip()

    def _shown(self, expr: ast.Expr, kind: str, kinds: tuple[str, ...]) -> Reached | None:
        ctx, at = self._ctx, chain(expr)
        reached = self._references.follow(at, {})
        if reached is None:
            return None
        if not isinstance(reached, Reached):
            ctx.report(SHOW, f"`{at.text}` is data, and `{kind}` shows what a stage makes", at.span)
            return None
        if reached.rest:
            ctx.report(
                SHOW,
                f"`{kind}` shows a whole output",
                at.span,
                help=f"write `{reached.signature.name}.{reached.offer.name}`",
            )
            return None
        has = reached.offer.type.kind
        if not any(lattice.narrower(has, k) for k in kinds) and has != "any":
            ctx.report(
                SHOW,
                f"`{kind}` shows {'a table' if kind == 'plot' else kinds[0]}, "
                f"and `{at.text}` is {lattice.article(has)}",
                at.span,
                related=(Label(reached.offer.declared, "declared here"),),
            )
            return None
        return reached

    def _options(self, item: ast.ShowItem, kind: str, reached: Reached | None) -> dict[str, Any]:
        table: dict[str, values.Reader] = {"title": values.text, "vs": values.text}
        if kind == "plot":
            columns = values.names
            table = {
                **table,
                "x": columns,
                "y": columns,
                "color": columns,
                "kind": values.one_of(*_PLOTS),
                "bins": values.integer(1, 1000),
            }
        if reached is not None and reached.offer.type.kind in ("dir", "any"):
            table["path"] = values.text
        found = values.read(self._ctx, item.block or (), table, f"`{kind}`")
        values.refuse_nested(self._ctx, item.block or (), f"`{kind}`")
        options: dict[str, Any] = {}
        for key, value in found.values.items():
            if key not in ("x", "y", "color"):
                options[key] = value
                continue
            if reached is not None and reached.offer.type.columns:
                self._columns(value, reached)
            plain = tuple(text for text, _ in value)
            if key != "y" and len(plain) != 1:
                self._ctx.report(values.VALUE, "one column is wanted here", found.spans[key])
                continue
            options[key] = plain[0] if len(plain) == 1 else plain
        return options

    def _columns(self, named: tuple[tuple[str, Span], ...], reached: Reached) -> None:
        columns = [c.name for c in reached.offer.type.columns]
        for text, span in named:
            if text not in columns:
                guess = nearest(text, columns)
                self._ctx.report(
                    SHOW,
                    f"`{reached.signature.name}.{reached.offer.name}` has no column `{text}`",
                    span,
                    related=(Label(reached.offer.declared, "declared here"),),
                    help=f"write `{guess}`?"
                    if guess
                    else "it has " + ", ".join(f"`{c}`" for c in columns[:8]),
                )

    # -- text --

    def _text(self, item: ast.ShowItem, stages: set[str]) -> ir.ReportItem | None:
        literal = values.bare(item.value) if item.value is not None else None
        if not isinstance(literal, ast.Str):
            self._ctx.report(
                SHOW, "`text` is followed by a string", literal.span if literal else item.kind.span
            )
            return None
        options = self._options(item, "text", None)
        self._revision(item, options.pop("vs", None), False)
        pieces: list[str | ir.Slot] = []
        for part in template.parts(literal):
            slot = part if isinstance(part, str) else self._slot(part, stages)
            if slot is not None:
                pieces.append(slot)
        return ir.ReportItem("text", (), None, tuple(sorted(options.items())), tuple(pieces))

    def _slot(self, part: template.Placeholder, stages: set[str]) -> ir.Slot | None:
        ctx = self._ctx
        at = chain_of_text(part.text, part.span)
        if at is None or not isinstance(at.base, ast.NameExpr):
            ctx.report(
                PLACEHOLDER, f"`{{{{{part.text}}}}}` is no reference", part.span,
                help="a metric (`train.scores.auc`), rows (`prepare.clean.rows`), an output, `params.lr`",
            )  # fmt: skip
            return None
        if at.base.name.text == "params" and at.links:
            return self._param(at)
        return self._output(at, stages)

    def _param(self, at: Chain) -> ir.Slot | None:
        names = tuple(link.name for link in at.links if link.name is not None)
        if len(names) < len(at.links):
            self._ctx.report(PLACEHOLDER, "a parameter has no `[…]`", at.span)
            return None
        expanded = self._params.expand(self._ctx, ast.Dotted(names, names[0].span.to(names[-1].span)))
        return ir.Slot("param", expanded[0]) if expanded else None

    def _output(self, at: Chain, stages: set[str]) -> ir.Slot | None:
        before = len(self._ctx.problems)
        reached = self._references.follow(at, {})
        if reached is None:
            return None
        if isinstance(reached, Reached) and not reached.rest and not reached.many:
            stages.update(i.id for i in reached.instances)
            return (
                ir.Slot("output", f"{reached.instances[0].id}.{reached.offer.name}")
                if reached.instances
                else None
            )
        del self._ctx.problems[before:]
        found = metric(self._ctx, self._references, at)
        if found is None:
            return None
        if len(found.stages) != 1:
            self._ctx.report(PLACEHOLDER, f"`{at.text}` is not one number", at.span, help="name one instance")
            return None
        stages.update(found.stages)
        if isinstance(found, RowsOf):
            return ir.Slot("rows", f"{found.stages[0]}.{found.output}")
        return ir.Slot("metric", f"{found.stages[0]}.{found.output}.{found.field}")
