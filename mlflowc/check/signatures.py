"""What each stage offers to others, before any stage is checked: its instances and the types of its
outputs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from mlflowc.check import infer, values
from mlflowc.check.context import Context
from mlflowc.check.lattice import ANY, TABLES, spell_value
from mlflowc.check.types import Types
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.frozen import dataclass, replace
from mlflowc.ir import model as ir
from mlflowc.resolve import scope as scopes
from mlflowc.resolve.scope import Entry, Scope
from mlflowc.span import Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast, template

EACH = Check(
    "MLP232",
    Severity.ERROR,
    "an `each` that cannot be spread out",
    """
`each NAME in [a, b]` makes one instance of the stage for every value. The values are literals, all
different, and fit for a file name: letters, digits and `_ . + : @ / -`. `each seed in 1..5` counts from the
one to the other, both included.

```mlpipe fails
mlpipe 1
pipeline example
stage train each lang in ["de", "de"] {
  out model = "models/{{lang}}.pkl"
  run = "train {{lang}} {{model}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage train each lang in ["de", "fr"] {
  out model = "models/{{lang}}.pkl"
  run = "train {{lang}} {{model}}"
}
```
""",
)
SAME_PATH = Check(
    "MLP233",
    Severity.ERROR,
    "instances that would write the same path",
    """
Every instance of an `each` writes its own files, so the path of an output, and of what is kept, holds the
variable.

```mlpipe fails
mlpipe 1
pipeline example
stage train each lang in ["de", "fr"] {
  out model = "models/model.pkl"
  run = "train {{lang}} {{model}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage train each lang in ["de", "fr"] {
  out model = "models/{{lang}}.pkl"
  run = "train {{lang}} {{model}}"
}
```
""",
)
ENDING = Check(
    "MLP218",
    Severity.ERROR,
    "a type that the path contradicts",
    """
The path's ending tells a kind of file, and the type written beside it is another. Programs that open the
file would go by the one or the other.

```mlpipe fails
mlpipe 1
pipeline example
data raw: parquet = "raw.csv"
```

```mlpipe
mlpipe 1
pipeline example
data raw: csv = "raw.csv"
```
""",
)
CHECKS = (EACH, SAME_PATH, ENDING)

Scalar = str | int | float | bool
_SAFE = re.compile(r"[\w.+:@/-]+", re.ASCII)
# What a stage made of a component may have beside what the component has.
_ADDED = ast.InItem | ast.OutItem | ast.KeepItem | ast.ParamItem
# More instances than this of one stage is a slip.
MOST_INSTANCES = 10_000


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance: its id and the values of its variables; a stage without `each` has one, without
    variables."""

    id: str
    each: tuple[tuple[str, Scalar], ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """What `{{…}}` may say in the instance's paths."""
        return {
            "stage": self.id.replace("[", "-").replace(",", "-").replace("]", ""),
            **{n: shown(v) for n, v in self.each},
        }


@dataclass(frozen=True, slots=True)
class Offer:
    """An output as others see it."""

    name: str
    type: ir.FileType
    item: ast.OutItem

    @property
    def declared(self) -> Span:
        """Where its type is written, else its name."""
        return self.item.type.span if self.item.type else self.item.name.span


@dataclass(frozen=True, slots=True)
class Signature:
    """A stage: `items` are its body (a component's, where it is made of one, looked up in `scope`),
    `bindings`
    what the stage itself says to the component, and `added` the inputs, outputs, … that it has beside
    those."""

    entry: Entry
    axes: tuple[tuple[ast.Name, tuple[Scalar, ...]], ...]
    instances: dict[tuple[Scalar, ...], Instance]
    items: tuple[ast.Item, ...]
    scope: Scope
    offers: dict[str, Offer]
    component: Entry | None = None
    bindings: tuple[ast.Item, ...] = ()
    added: tuple[ast.Item, ...] = ()

    @property
    def name(self) -> str:
        """The declared name."""
        return self.entry.name


def shown(value: Scalar) -> str:
    """A value of `each` in an id or a path."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def build(ctx: Context, types: Types) -> dict[str, Signature]:
    """The signatures of all stages, in the order of the source."""
    found: dict[str, Signature] = {}
    for decl in ctx.modules.main.tree.decls:
        if isinstance(decl, ast.InstanceDecl) or (
            isinstance(decl, ast.BlockDecl) and decl.keyword.text == "stage"
        ):
            assert decl.name is not None
            entry = ctx.main.things.get(decl.name.text)
            if entry is not None and entry.decl is decl:
                signature = _signature(ctx, types, entry, decl)
                if signature is not None:
                    found[entry.name] = signature
    return found


def _signature(
    ctx: Context, types: Types, entry: Entry, decl: ast.BlockDecl | ast.InstanceDecl
) -> Signature | None:
    axes = _axes(ctx, decl.each)
    if isinstance(decl, ast.BlockDecl):
        offers = _offers(ctx, types, decl.items, ctx.main)
        return Signature(entry, axes, _instances(ctx, entry, axes), decl.items, ctx.main, offers)
    component = ctx.find(ctx.main, "component", decl.component.parts)
    if component is None:
        return Signature(entry, axes, _instances(ctx, entry, axes), (), ctx.main, {}, None, decl.items)
    assert isinstance(component.decl, ast.BlockDecl)
    scope = ctx.scopes[component.module]
    added = tuple(i for i in decl.items if isinstance(i, _ADDED))
    bindings = tuple(i for i in decl.items if not isinstance(i, _ADDED))
    offers = {**_offers(ctx, types, added, ctx.main), **_offers(ctx, types, component.decl.items, scope)}
    instances = _instances(ctx, entry, axes)
    return Signature(entry, axes, instances, component.decl.items, scope, offers, component, bindings, added)


def _axes(
    ctx: Context, clauses: tuple[ast.EachClause, ...]
) -> tuple[tuple[ast.Name, tuple[Scalar, ...]], ...]:
    axes: list[tuple[ast.Name, tuple[Scalar, ...]]] = []
    for clause in clauses:
        if any(clause.name.text == name.text for name, _ in axes) or clause.name.text in ("stage", "params"):
            taken = "is taken" if clause.name.text in ("stage", "params") else "stands twice"
            ctx.report(EACH, f"the variable `{clause.name.text}` {taken}", clause.name.span)
            continue
        expr = values.bare(clause.values)
        if isinstance(expr, ast.RangeExpr):
            axes.append((clause.name, _each_range(ctx, expr)))
            continue
        if not isinstance(expr, ast.ListExpr) or not expr.items:
            ctx.report(
                EACH,
                "`each` wants a list of values, or a range",
                expr.span,
                help='as in `each lang in ["de", "fr"]` or `each seed in 1..5`',
            )
            axes.append((clause.name, ()))
            continue
        axes.append((clause.name, tuple(_each_values(ctx, expr))))
    return tuple(axes)


def _each_range(ctx: Context, expr: ast.RangeExpr) -> tuple[Scalar, ...]:
    """Whole numbers from the lower to the higher end, both of them included."""
    low, high = values.literal(expr.low), values.literal(expr.high)
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in (low, high)):
        ctx.report(EACH, "a range of `each` is of whole numbers", expr.span, help="as in `each seed in 1..5`")
        return ()
    assert isinstance(low, int) and isinstance(high, int)
    if low > high:
        help = f"write `{high}..{low}`"
        ctx.report(EACH, "this range is empty: its lower end is above its higher one", expr.span, help=help)
        return ()
    if high - low >= MOST_INSTANCES:
        message = f"this makes {high - low + 1:,} instances; {MOST_INSTANCES:,} is the most"
        ctx.report(EACH, message, expr.span)
        return ()
    return tuple(range(low, high + 1))


def _each_values(ctx: Context, expr: ast.ListExpr) -> list[Scalar]:
    found: list[Scalar] = []
    seen: dict[str, Span] = {}
    for item in expr.items:
        value = values.literal(item)
        if not isinstance(value, str | int | float | bool):
            ctx.report(EACH, "a value of `each` is a string, a number or a boolean", item.span)
        elif not _SAFE.fullmatch(shown(value)):
            ctx.report(
                EACH,
                f"{spell_value(value)} is not fit for a name",
                item.span,
                help="letters, digits and `_.+:@/-`",
            )
        elif shown(value) in seen:
            related = (Label(seen[shown(value)], "first here"),)
            ctx.report(EACH, f"{spell_value(value)} stands twice", item.span, related=related)
        else:
            found.append(value)
            seen[shown(value)] = item.span
    return found


def _instances(
    ctx: Context, entry: Entry, axes: tuple[tuple[ast.Name, tuple[Scalar, ...]], ...]
) -> dict[tuple[Scalar, ...], Instance]:
    if not axes:
        return {(): Instance(entry.name)}
    count = 1
    for _, options in axes:
        count *= len(options)
    if count > MOST_INSTANCES:
        ctx.report(EACH, f"this makes {count:,} instances; {MOST_INSTANCES:,} is the most", entry.span)
        return {}
    found: dict[tuple[Scalar, ...], Instance] = {}
    for point in itertools.product(*(options for _, options in axes)):
        each = tuple((name.text, value) for (name, _), value in zip(axes, point, strict=True))
        found[point] = Instance(f"{entry.name}[{','.join(shown(v) for v in point)}]", each)
    return found


def _offers(ctx: Context, types: Types, items: tuple[ast.Item, ...], scope: Scope) -> dict[str, Offer]:
    found: dict[str, Offer] = {}
    for item in items:
        if isinstance(item, ast.OutItem) and item.name.text not in found:
            found[item.name.text] = Offer(item.name.text, _out_type(ctx, types, item, scope), item)
    return found


def _out_type(ctx: Context, types: Types, item: ast.OutItem, scope: Scope) -> ir.FileType:
    path = values.bare(item.value)
    written = path.value if isinstance(path, ast.Str) else ""
    if item.type is None:
        return infer.type_of(written) if written else ir.FileType("path")
    return settle(ctx, types.file(item.type, scope), written, item.type.span)


def settle(ctx: Context, type: ir.FileType, path: str, span: Span) -> ir.FileType:
    """A declared type beside a path: they must go together, and `table` becomes the kind that the path
    tells."""
    if type is ANY:
        return type
    if type.kind == "table":
        kind = infer.kind_of(path)
        if kind in TABLES:
            return replace(type, kind=kind)
        ctx.report(
            ENDING,
            f"`{path}` does not tell which kind of table it is",
            span,
            help="write `csv`, `parquet`, …",
        )
        return replace(type, kind="any")
    told = infer.contradicts(type.kind, path) if path else None
    if told is not None:
        ctx.report(
            ENDING, f"`{path}` says {told}, and its type says {type.kind}", span, help="change one of them"
        )
    return type


def filled(
    ctx: Context, literal: ast.Str, names: Mapping[str, str], *, inside: bool = True
) -> str | values.Bad:
    """The path that `literal` says for one instance, with `names` filled in: the variables of `each`, and
    `{{stage}}` in what it writes."""
    if "{{" not in literal.value:
        cleaned: str | values.Bad = values.clean_path(ctx, literal.value, literal.span, inside=inside)
        return cleaned
    pieces: list[str] = []
    for part in template.parts(literal):
        if isinstance(part, str):
            pieces.append(part)
        elif part.text in names:
            pieces.append(names[part.text])
        else:
            guess = nearest(part.text, names)
            has = ", ".join(f"`{{{{{n}}}}}`" for n in names)
            ctx.report(
                scopes.UNKNOWN,
                f"a path has no placeholder `{part.text}` here",
                part.span,
                help=f"write `{guess}`?"
                if guess
                else f"it has {has or 'the variables of `each`, and none is here'}",
            )
            return values.BAD
    made: str | values.Bad = values.clean_path(ctx, "".join(pieces), literal.span, inside=inside)
    return made


def says_all(literal: ast.Str, axes: tuple[tuple[ast.Name, tuple[Scalar, ...]], ...]) -> bool:
    """Whether the path differs for every instance: it holds `{{stage}}`, or each variable that has a
    choice."""
    said = {p.text for p in template.parts(literal) if not isinstance(p, str)}
    if said - {"stage", *(name.text for name, _ in axes)}:
        return True  # it holds something unknown, and that has been said
    return "stage" in said or all(len(options) < 2 or name.text in said for name, options in axes)
