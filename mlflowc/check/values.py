"""Literals, and the settings of blocks: each setting has a reader that says what it takes."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlflowc.check.context import Context
from mlflowc.check.lattice import spell_value
from mlflowc.diagnostic import Check, Edit, Fix, Label, Severity
from mlflowc.frozen import dataclass, field
from mlflowc.ir import model as ir
from mlflowc.span import Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast

UNKNOWN_SETTING = Check(
    "MLP208",
    Severity.ERROR,
    "a setting that the block does not have",
    """
Each kind of block has its own settings; the message lists them, or names the nearest.

```mlpipe fails
mlpipe 1
pipeline example
runner big { memmory = 64GiB }
```

```mlpipe
mlpipe 1
pipeline example
runner big { memory = 64GiB }
```
""",
)
TWICE = Check(
    "MLP209",
    Severity.ERROR,
    "a setting given twice",
    """
A setting stands once in its block: which of two would count could not be told. Keep one of them.

```mlpipe fails
mlpipe 1
pipeline example
runner big { cpu = 4, cpu = 8 }
```

```mlpipe
mlpipe 1
pipeline example
runner big { cpu = 8 }
```
""",
)
VALUE = Check(
    "MLP210",
    Severity.ERROR,
    "a value of the wrong kind",
    """
The setting or item wants another kind of value. Durations and sizes carry their unit (`15m`, `16GiB`),
paths and texts are strings, several values are a list.

```mlpipe fails
mlpipe 1
pipeline example
runner big { timeout = 90 }
```

```mlpipe
mlpipe 1
pipeline example
runner big { timeout = 90m }
```
""",
)
MISSING = Check(
    "MLP211",
    Severity.ERROR,
    "something that must be said is not",
    """
A stage needs a `run`, an action too; a sweep needs `vary` and `goal`; a schedule needs its cron expression.
The message says what is missing.

```mlpipe fails
mlpipe 1
pipeline example
stage train { out model = "model.pkl" }
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out model = "model.pkl"
  run = "train {{model}}"
}
```
""",
)
CHECKS = (UNKNOWN_SETTING, TWICE, VALUE, MISSING)


class Bad:
    """What a reader gives for a value that it has complained about."""


BAD = Bad()
Reader = Callable[[Context, ast.Expr], Any]


@dataclass(slots=True)
class Settings:
    """The settings of a block: values by key, with the place of each value. A bad value is absent."""

    values: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` where it is not given (or bad)."""
        return self.values.get(key, default)


def read(ctx: Context, items: Iterable[ast.Item], table: Mapping[str, Reader], block: str) -> Settings:
    """The settings among `items`, read by `table`; other items are the caller's."""
    found = Settings()
    for item in items:
        if not isinstance(item, ast.Setting):
            continue
        key = item.key.text
        if key in found.spans:
            earlier = (Label(found.spans[key], "first given here"),)
            ctx.report(
                TWICE, f"`{key}` is given twice", item.key.span, related=earlier, help="keep one of them"
            )
            continue
        found.spans[key] = item.value.span
        reader = table.get(key)
        if reader is None:
            unknown_setting(ctx, item.key, block, table)
            continue
        value = reader(ctx, item.value)
        if value is not BAD:
            found.values[key] = value
    return found


def unknown_setting(ctx: Context, key: ast.Dotted | ast.Name, block: str, known: Iterable[str]) -> None:
    """Says that `block` has no setting `key`."""
    names = list(known)
    guess = nearest(key.text, names)
    ctx.report(
        UNKNOWN_SETTING,
        f"{block} has no setting `{key.text}`",
        key.span,
        help=f"write `{guess}`?" if guess else "it has " + ", ".join(f"`{n}`" for n in names),
        fix=Fix(f"write `{guess}`", (Edit(key.span, guess),)) if guess else None,
    )


def refuse_nested(ctx: Context, items: Iterable[ast.Item], block: str, known: Iterable[str] = ()) -> None:
    """Says of every nested block not in `known` that `block` has none such."""
    allowed = set(known)
    for item in items:
        if isinstance(item, ast.Nested) and item.name.text not in allowed:
            help = "it has " + ", ".join(f"`{k} {{ … }}`" for k in sorted(allowed)) if allowed else ""
            ctx.report(UNKNOWN_SETTING, f"{block} has no block `{item.name.text}`", item.name.span, help=help)


def wrong(ctx: Context, expr: ast.Expr, wanted: str, help: str = "", fix: Fix | None = None) -> Any:
    """Says that `expr` should be `wanted`; gives BAD."""
    ctx.report(VALUE, f"{wanted} is wanted here", expr.span, help=help, fix=fix)
    return BAD


def quoted(span: Span, text: str) -> Fix:
    """The fix that writes `text` in quotes at `span`."""
    return Fix(f'write "{text}"', (Edit(span, f'"{text}"'),))


# --- literals ----------------------------------------------------------------------------------


def bare(expr: ast.Expr) -> ast.Expr:
    """`expr` without the parentheses around it."""
    while isinstance(expr, ast.Paren):
        expr = expr.inner
    return expr


def literal(expr: ast.Expr) -> ir.Value | Bad:
    """The value of a literal: durations in seconds, sizes in bytes, `5%` as 0.05; BAD for anything else."""
    expr = bare(expr)
    match expr:
        case ast.Str(value=value) | ast.Bool(value=value):
            return value
        case ast.Num(kind=kind, value=number):
            return number / 100 if kind == "percent" else number
        case ast.UnaryExpr(op="-"):
            inner = literal(expr.operand)
            return -inner if isinstance(inner, int | float) and not isinstance(inner, bool) else BAD
        case ast.NameExpr() if expr.name.text == "null":
            return None
        case ast.ListExpr():
            values = [literal(i) for i in expr.items]
            return (
                BAD
                if any(isinstance(v, Bad) for v in values)
                else tuple(v for v in values if not isinstance(v, Bad))
            )
    return BAD


def any_literal(ctx: Context, expr: ast.Expr) -> Any:
    """Any literal."""
    value = literal(expr)
    return wrong(ctx, expr, "a literal value") if isinstance(value, Bad) else value


def text(ctx: Context, expr: ast.Expr) -> Any:
    """A string."""
    expr = bare(expr)
    if isinstance(expr, ast.Str):
        return expr.value
    help = f'write `"{expr.name.text}"`' if isinstance(expr, ast.NameExpr) else 'as in `"…"`'
    return wrong(ctx, expr, "a string", help)


def boolean(ctx: Context, expr: ast.Expr) -> Any:
    """`true` or `false`."""
    expr = bare(expr)
    return expr.value if isinstance(expr, ast.Bool) else wrong(ctx, expr, "`true` or `false`")


def integer(low: int = 0, high: int | None = None) -> Reader:
    """A reader of whole numbers from `low` to `high`."""
    wanted = (
        f"a whole number from {low} to {high}" if high is not None else f"a whole number of at least {low}"
    )

    def reader(ctx: Context, expr: ast.Expr) -> Any:
        value = literal(expr)
        inner = bare(expr)
        plain = not isinstance(inner, ast.Num) or inner.kind == "int"
        if isinstance(value, int) and not isinstance(value, bool) and plain:
            inside = low <= value and (high is None or value <= high)
            return value if inside else wrong(ctx, expr, wanted)
        return wrong(ctx, expr, wanted)

    return reader


def amount(ctx: Context, expr: ast.Expr) -> Any:
    """A number of at least zero, without a unit."""
    value, inner = literal(expr), bare(expr)
    if isinstance(inner, ast.Num) and inner.kind in ("int", "float") and isinstance(value, int | float):
        return float(value)
    return wrong(ctx, expr, "a number, such as `1.2`")


def duration(ctx: Context, expr: ast.Expr) -> Any:
    """A duration above zero, in whole seconds, rounded up."""
    expr = bare(expr)
    if isinstance(expr, ast.Num) and expr.kind == "duration" and expr.value > 0:
        return math.ceil(expr.value)
    return wrong(ctx, expr, "a duration", "write a number with its unit: `30s`, `15m`, `6h`, `2d`")


def size(ctx: Context, expr: ast.Expr) -> Any:
    """A size above zero, in bytes."""
    expr = bare(expr)
    if isinstance(expr, ast.Num) and expr.kind == "size" and expr.value > 0:
        return math.ceil(expr.value)
    return wrong(ctx, expr, "a size", "write a number with its unit: `512MiB`, `16GiB`, `100GB`")


def one_of(*words: str, help: str = "") -> Reader:
    """A reader of one of `words`, written as a name or a string; `help` is for what resembles none."""

    def reader(ctx: Context, expr: ast.Expr) -> Any:
        expr = bare(expr)
        word = (
            expr.name.text
            if isinstance(expr, ast.NameExpr)
            else expr.value
            if isinstance(expr, ast.Str)
            else None
        )
        if word in words:
            return word
        guess = nearest(word, words) if isinstance(word, str) else None
        wanted = (
            words[0] if len(words) == 1 else ", ".join(f"`{w}`" for w in words[:-1]) + f" or `{words[-1]}`"
        )
        return wrong(ctx, expr, wanted, f"write `{guess}`?" if guess else help)

    return reader


def names(ctx: Context, expr: ast.Expr) -> Any:
    """A list of names (strings will do), or a single one: a tuple of (text, span)."""
    expr = bare(expr)
    items = expr.items if isinstance(expr, ast.ListExpr) else (expr,)
    found: list[tuple[str, Span]] = []
    for item in (bare(i) for i in items):
        if isinstance(item, ast.NameExpr):
            found.append((item.name.text, item.span))
        elif isinstance(item, ast.Str):
            found.append((item.value, item.span))
        else:
            return wrong(ctx, item, "a name", "as in `[HF_TOKEN]`")
    return tuple(found)


def texts(ctx: Context, expr: ast.Expr) -> Any:
    """A string or a list of strings, as a tuple."""
    expr = bare(expr)
    items = expr.items if isinstance(expr, ast.ListExpr) else (expr,)
    values = tuple(bare(i) for i in items)
    for value in values:
        if not isinstance(value, ast.Str):
            return wrong(ctx, value, "a string")
    return tuple(v.value for v in values if isinstance(v, ast.Str))


def expression(ctx: Context, expr: ast.Expr) -> Any:
    """The expression itself: its owner reads it later."""
    return bare(expr)


def path(ctx: Context, expr: ast.Expr) -> Any:
    """A path of the project, normalised."""
    value = text(ctx, expr)
    return value if value is BAD else clean_path(ctx, value, expr.span)


def clean_path(ctx: Context, written: str, span: Span, *, inside: bool = False) -> Any:
    """A written path in one form: POSIX, `a/./b/` as `a/b/`. `inside`: it must not leave the project."""
    problem = ""
    if not written.strip():
        problem = "a path is wanted here, and this is empty"
    elif "\0" in written or "\n" in written:
        problem = "a path cannot hold a line break or a null"
    elif "\\" in written:
        problem = "paths are written with `/`"
    elif written.startswith(("/", "~")):
        problem = f"{spell_value(written)} is not relative to the project folder"
    elif inside and posixpath.normpath(written).split("/")[0] == "..":
        problem = f"{spell_value(written)} lies outside the project folder"
    elif inside and posixpath.normpath(written) == ".":
        problem = "the project folder itself cannot be written"
    if problem:
        # Instances of `each` share a path, and one word on it is enough.
        if not any(p.code == VALUE.code and p.span == span for p in ctx.problems):
            ctx.report(VALUE, problem, span, help="paths are relative to the folder of the pipeline file")
        return BAD
    normal = posixpath.normpath(written)
    return normal + "/" if written.endswith("/") and normal != "." else normal
