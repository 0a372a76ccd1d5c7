"""Type expressions: what is written becomes `ir.FileType` and `ir.ScalarType`, and named types are looked
up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from mlflowc.check import lattice, values
from mlflowc.check.context import Context
from mlflowc.check.lattice import ANY, UNKNOWN_SCALAR
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity
from mlflowc.ir import direction
from mlflowc.ir import model as ir
from mlflowc.resolve import scope as scopes
from mlflowc.resolve.scope import Entry, Scope
from mlflowc.syntax import ast

BAD_TYPE = Check(
    "MLP216",
    Severity.ERROR,
    "a type that does not make sense",
    """
The kinds of files are `path file dir text csv tsv jsonl json yaml markdown html parquet arrow image
notebook model archive
sqlite metrics table`; `dir[image]` is a folder of images. Tables have columns, `metrics` has fields, other
kinds have
neither. The scalar types are `int float str bool duration size`, `list[int]`, `enum ["a", "b"]`, and
`int?` may be absent.

```mlpipe fails
mlpipe 1
pipeline example
data raw: csv[int] = "raw.csv"
```

```mlpipe
mlpipe 1
pipeline example
data raw: csv { id: int } = "raw.csv"
```
""",
)
BAD_CONSTRAINT = Check(
    "MLP217",
    Severity.ERROR,
    "a constraint that does not make sense",
    """
Columns take `unique`, `in [a, b]`, `in low..high`, `matches "regex"` and `null <= 5%`; a table takes `rows
>= N`; a field of metrics takes `minimize` or `maximize`, which says when it is better. The values
have the column's type, a range goes from the lower to the higher end, and only numbers have one.

```mlpipe fails
mlpipe 1
pipeline example
data raw: csv { age: int in 120..0 } = "raw.csv"
```

```mlpipe
mlpipe 1
pipeline example
data raw: csv { age: int in 0..120 } = "raw.csv"
```
""",
)
CHECKS = (BAD_TYPE, BAD_CONSTRAINT)

# What other languages and libraries call a scalar.
_ELSEWHERE = {
    **dict.fromkeys(("string", "varchar", "object", "category"), "str"),
    **dict.fromkeys(("integer", "int32", "int64", "long"), "int"),
    **dict.fromkeys(("number", "double", "float32", "float64", "real", "numeric"), "float"),
    "boolean": "bool",
}
_NUMBERS = ("int", "float", "duration", "size")
_METRIC_SCALARS = ("int", "float", "bool", "duration", "size", "any")
_UNIT_KINDS = {
    "duration": ("duration",),
    "size": ("size",),
    "int": ("int",),
    "float": ("int", "float", "percent"),
}


class Types:
    """Reads type expressions in the scope of the file they stand in. Named types are read once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._named: dict[tuple[str, str], ir.FileType | ir.ScalarType] = {}
        self._open: list[Entry] = []

    def named(self, entry: Entry) -> ir.FileType | ir.ScalarType:
        """What a `type` declaration means."""
        key = (entry.module, entry.name)
        if key in self._named:
            return self._named[key]
        if entry in self._open:
            circle = self._open[self._open.index(entry) :]
            way = " → ".join(e.name for e in (*circle, entry))
            related = tuple(Label(e.span, "goes on here") for e in circle[1:])
            self._ctx.report(BAD_TYPE, f"a type is made of itself: {way}", entry.span, related=related)
            self._named[key] = ANY
            return ANY
        self._open.append(entry)
        assert isinstance(entry.decl, ast.TypeDecl)
        made = self.any(entry.decl.type, self._ctx.scopes[entry.module])
        self._open.pop()
        if isinstance(made, ir.FileType) and made is not ANY:
            made = replace(made, name=entry.name)
        return self._named.setdefault(key, made)

    def any(self, expr: ast.TypeExpr, scope: Scope) -> ir.FileType | ir.ScalarType:
        """The type that `expr` writes, of a file or of a value."""
        name = expr.name.text
        if name in lattice.SCALARS or name in ("list", "enum"):
            return self._scalar(expr, scope)
        if name in lattice.KINDS:
            return self._file(expr, scope)
        last = expr.name.parts[-1]
        if last.text[:1].isupper() or len(expr.name.parts) > 1:
            entry = self._ctx.find(scope, "type", expr.name.parts)
            return self._extended(self.named(entry), expr, scope) if entry else ANY
        known = [*lattice.KINDS, *lattice.SCALARS, "list", "enum", *scope.types]
        problem = scopes.unknown(last, "type", known)
        if last.text in _ELSEWHERE:
            problem = replace(problem, help=f"write `{_ELSEWHERE[last.text]}`")
        self._ctx.problems.append(problem)
        return ANY

    def file(self, expr: ast.TypeExpr, scope: Scope) -> ir.FileType:
        """The file type that `expr` writes; ANY with a diagnostic where it is none."""
        made = self.any(expr, scope)
        if isinstance(made, ir.FileType):
            return made
        if made is not UNKNOWN_SCALAR:
            self._ctx.report(
                BAD_TYPE,
                f"`{expr.name.text}` is a type of values, and a type of files is wanted here",
                expr.span,
                help="such as `csv`, `model`, `metrics { auc: float }` or `file`",
            )
        return ANY

    def scalar(self, expr: ast.TypeExpr, scope: Scope) -> ir.ScalarType:
        """The type of values that `expr` writes; UNKNOWN_SCALAR with a diagnostic where it is none."""
        made = self.any(expr, scope)
        if isinstance(made, ir.ScalarType):
            return made
        if made is not ANY:
            self._ctx.report(
                BAD_TYPE,
                f"`{expr.name.text}` is a type of files, and a type of values is wanted here",
                expr.span,
                help="`int`, `float`, `str`, `bool`, `duration`, `size`, `list[…]` or `enum […]`",
            )
        return UNKNOWN_SCALAR

    # -- scalars --

    def _scalar(self, expr: ast.TypeExpr, scope: Scope) -> ir.ScalarType:
        name = expr.name.text
        if expr.columns is not None:
            self._ctx.report(BAD_TYPE, f"`{name}` has no columns", expr.span)
        if name == "enum":
            options = tuple(a.value for a in expr.args if isinstance(a, ast.Str))
            if not options or len(options) != len(expr.args):
                self._ctx.report(
                    BAD_TYPE, "an enum lists its values", expr.span, help='as in `enum ["a", "b"]`'
                )
                return UNKNOWN_SCALAR
            return ir.ScalarType("enum", expr.optional, tuple(dict.fromkeys(options)))
        if name == "list":
            inner = [a for a in expr.args if isinstance(a, ast.TypeExpr)]
            if len(inner) != 1 or len(expr.args) != 1:
                self._ctx.report(
                    BAD_TYPE, "a list has one type of elements", expr.span, help="as in `list[int]`"
                )
                return UNKNOWN_SCALAR
            return ir.ScalarType("list", expr.optional, (), self.scalar(inner[0], scope))
        if expr.args:
            self._ctx.report(BAD_TYPE, f"`{name}` takes nothing in brackets", expr.span)
        return ir.ScalarType(name, expr.optional)

    # -- files --

    def _file(self, expr: ast.TypeExpr, scope: Scope) -> ir.FileType:
        kind = expr.name.text
        if expr.optional:
            self._ctx.report(BAD_TYPE, "a file cannot be optional", expr.span, help="drop the `?`")
        element: ir.FileType | None = None
        if expr.args:
            inner = expr.args[0]
            if kind != "dir" or len(expr.args) != 1 or not isinstance(inner, ast.TypeExpr):
                self._ctx.report(
                    BAD_TYPE, f"`{kind}` takes nothing in brackets", expr.span, help="only `dir[T]` does"
                )
            else:
                element = self.file(inner, scope)
        return self._with_columns(ir.FileType(kind, element=element), expr, scope)

    def _extended(
        self, base: ir.FileType | ir.ScalarType, expr: ast.TypeExpr, scope: Scope
    ) -> ir.FileType | ir.ScalarType:
        """A named type with what the use of it adds: columns, or `?`."""
        if expr.args:
            self._ctx.report(BAD_TYPE, f"`{expr.name.text}` takes nothing in brackets", expr.span)
        if isinstance(base, ir.ScalarType):
            if expr.columns is not None:
                self._ctx.report(BAD_TYPE, f"`{expr.name.text}` has no columns", expr.span)
            return replace(base, optional=True) if expr.optional else base
        if expr.optional and base is not ANY:
            self._ctx.report(BAD_TYPE, "a file cannot be optional", expr.span, help="drop the `?`")
        if expr.columns is None or base is ANY:
            return base
        return self._with_columns(replace(base, name=None), expr, scope)

    def _with_columns(self, base: ir.FileType, expr: ast.TypeExpr, scope: Scope) -> ir.FileType:
        if expr.columns is None:
            return base
        if base.kind not in lattice.TABLES and base.kind not in ("table", "metrics"):
            what = "a table (`csv`, `parquet`, …) has columns, `metrics` has fields"
            self._ctx.report(BAD_TYPE, f"{lattice.article(base.kind)} has no columns", expr.span, help=what)
            return base
        columns = {c.name: c for c in base.columns}
        seen: dict[str, ast.ColumnNode] = {}
        rows = list(base.constraints)
        for item in expr.columns:
            if isinstance(item, ast.ConstraintNode):
                rows.extend(self._table_constraint(item, base.kind))
                continue
            name = item.name.text
            if name in seen:
                related = (Label(seen[name].name.span, "first here"),)
                self._ctx.report(
                    scopes.DUPLICATE, f"`{name}` stands twice in this type", item.name.span, related=related
                )
                continue
            seen[name] = item
            columns[name] = self._column(item, base.kind, scope)
        return replace(base, columns=tuple(columns.values()), constraints=tuple(rows))

    def _column(self, item: ast.ColumnNode, kind: str, scope: Scope) -> ir.Column:
        type = self.scalar(item.type, scope)
        if kind == "metrics" and type.name not in _METRIC_SCALARS:
            self._ctx.report(
                BAD_TYPE,
                f"a field of metrics is a number, and `{item.name.text}` is {lattice.spell_scalar(type)}",
                item.type.span,
                help="`float`, `int`, `bool`, `duration` or `size`",
            )
            type = UNKNOWN_SCALAR
        return ir.Column(item.name.text, type, self.constraints(item.constraints, type, kind))

    # -- constraints --

    def _table_constraint(self, node: ast.ConstraintNode, kind: str) -> Iterable[ir.Constraint]:
        name, value = node.name.text, values.literal(node.value) if node.value else None
        span = node.value.span if node.value else node.span
        if name != "rows" or kind == "metrics":
            has = (
                "metrics has fields only"
                if kind == "metrics"
                else "a table has `rows`, as in `rows >= 1_000`"
            )
            self._ctx.report(
                BAD_CONSTRAINT, f"there is no constraint `{name}` here", node.name.span, help=has
            )
            return ()
        inner = values.bare(node.value) if node.value else None
        if isinstance(inner, ast.RangeExpr):
            low, high = values.literal(inner.low), values.literal(inner.high)
            if _count(low) and _count(high) and low <= high:  # type: ignore[operator]
                return (ir.Constraint("rows", low=low, high=high),)  # type: ignore[arg-type]
        elif _count(value):
            assert isinstance(value, int)
            bounds = {
                ">=": (value, None), ">": (value + 1, None), "<=": (None, value), "<": (None, value - 1),
                "==": (value, value),
            }.get(node.op)  # fmt: skip
            if bounds:
                return (ir.Constraint("rows", low=bounds[0], high=bounds[1]),)
        self._ctx.report(
            BAD_CONSTRAINT, "a number of rows is wanted here", span, help="as in `rows >= 1_000`"
        )
        return ()

    def constraints(
        self, nodes: Iterable[ast.ConstraintNode], type: ir.ScalarType, kind: str = ""
    ) -> tuple[ir.Constraint, ...]:
        """The constraints of a column, field or parameter of `type`; `kind` is that of the file."""
        found: list[ir.Constraint] = []
        for node in nodes:
            made = self._constraint(node, type, kind)
            if isinstance(made, Diagnostic):
                self._ctx.problems.append(made)
            elif any(made.op == f.op or {made.op, f.op} == {*direction.OPS} for f in found):
                self._ctx.report(
                    BAD_CONSTRAINT, f"`{node.name.text}` stands twice", node.span, help="keep one of them"
                )
            else:
                found.append(made)
        return tuple(found)

    def _constraint(
        self, node: ast.ConstraintNode, type: ir.ScalarType, kind: str
    ) -> ir.Constraint | Diagnostic:
        value = values.bare(node.value) if node.value is not None else None
        match node.name.text:
            case "unique":
                return ir.Constraint("unique")
            case "minimize" | "maximize" as op if kind == "metrics":
                return ir.Constraint(op)
            case "minimize" | "maximize" as op:
                message = f"only a field of metrics has `{op}`"
                return Diagnostic.of(
                    BAD_CONSTRAINT, message, node.span, help="as in `metrics { loss: float minimize }`"
                )
            case "matches":
                return _matches(node, type, value)
            case "null":
                share = (
                    values.literal(value)
                    if isinstance(value, ast.Num) and value.kind in ("percent", "int", "float")
                    else None
                )
                if node.op == "<=" and isinstance(share, int | float) and 0 <= share <= 1:
                    return ir.Constraint("null", high=share)
                return Diagnostic.of(
                    BAD_CONSTRAINT, "a share of nulls is wanted", node.span, help="as in `null <= 5%`"
                )
        if isinstance(value, ast.RangeExpr):
            return _range(value, type)
        if isinstance(value, ast.ListExpr):
            return _options(value, type)
        return Diagnostic.of(
            BAD_CONSTRAINT,
            "a list or a range is wanted behind `in`",
            node.span,
            help="as in `in [1, 2]` or `in 0..10`",
        )


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _matches(
    node: ast.ConstraintNode, type: ir.ScalarType, value: ast.Expr | None
) -> ir.Constraint | Diagnostic:
    assert isinstance(value, ast.Str)
    if type.name not in ("str", "any"):
        return Diagnostic.of(
            BAD_CONSTRAINT, f"only `str` has a pattern, not {lattice.spell_scalar(type)}", node.span
        )
    try:
        re.compile(value.value)
    except (re.error, OverflowError, RecursionError) as e:
        return Diagnostic.of(BAD_CONSTRAINT, f"this regular expression does not compile: {e}", value.span)
    return ir.Constraint("matches", pattern=value.value)


def _range(value: ast.RangeExpr, type: ir.ScalarType) -> ir.Constraint | Diagnostic:
    if type.name not in (*_NUMBERS, "any"):
        return Diagnostic.of(
            BAD_CONSTRAINT, f"only numbers have a range, not {lattice.spell_scalar(type)}", value.span
        )
    ends: list[int | float] = []
    for end in (value.low, value.high):
        number = values.literal(end)
        inner = values.bare(end)
        inner = values.bare(inner.operand) if isinstance(inner, ast.UnaryExpr) else inner
        good = isinstance(inner, ast.Num) and inner.kind in _UNIT_KINDS.get(type.name, (inner.kind,))
        if not good or isinstance(number, bool) or not isinstance(number, int | float):
            return Diagnostic.of(
                BAD_CONSTRAINT, f"an end of this range is a value of type {type.name}", end.span
            )
        ends.append(number)
    if ends[0] > ends[1]:
        return Diagnostic.of(
            BAD_CONSTRAINT,
            "this range is empty: its lower end is above its higher one",
            value.span,
            help="swap the ends",
        )
    return ir.Constraint("range", low=ends[0], high=ends[1])


def _options(value: ast.ListExpr, type: ir.ScalarType) -> ir.Constraint | Diagnostic:
    found: list[int | float | str | bool] = []
    for item in value.items:
        option = values.literal(item)
        if not isinstance(option, int | float | str | bool) or not value_fits(option, type):
            return Diagnostic.of(
                BAD_CONSTRAINT, f"this is not a value of type {lattice.spell_scalar(type)}", item.span
            )
        found.append(option)
    if not found:
        return Diagnostic.of(BAD_CONSTRAINT, "an empty list lets nothing through", value.span)
    return ir.Constraint("in", values=tuple(dict.fromkeys(found)))


def value_fits(value: ir.Value, type: ir.ScalarType) -> bool:
    """Whether a literal or a parameter's value is one of `type` (an int will do for a float)."""
    if type.name == "any":
        return True
    if value is None:
        return type.optional
    match type.name:
        case "bool":
            return isinstance(value, bool)
        case "int" | "size":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float" | "duration":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "str":
            return isinstance(value, str)
        case "enum":
            return isinstance(value, str) and value in type.values
        case "list":
            element = type.element
            return isinstance(value, tuple) and (
                element is None or all(value_fits(v, element) for v in value)
            )
    return False
