"""Parameters: those of files and those declared in place, with types, limits and overrides."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace

from mlflowc.check import lattice, values
from mlflowc.check.context import Context
from mlflowc.check.lattice import spell_scalar, spell_value
from mlflowc.check.model import Part
from mlflowc.check.types import Types, value_fits
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity
from mlflowc.errors import Failure
from mlflowc.ir import model as ir
from mlflowc.resolve import paramfile
from mlflowc.resolve import scope as scopes
from mlflowc.resolve.loader import Unreadable
from mlflowc.span import Source, Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast
from mlflowc.syntax.units import measure

UNKNOWN = Check(
    "MLP222",
    Severity.ERROR,
    "a parameter that does not exist",
    """
No parameter file has it, and no `param` declares it. Names are dotted: `train.lr` is `lr` in the section
`train`; `train.*` is everything in that section.

```mlpipe fails
mlpipe 1
pipeline example
param train.lr = 0.1
stage train {
  param train.learning_rate
  run = "train --lr {{params.train.learning_rate}}"
}
```

```mlpipe
mlpipe 1
pipeline example
param train.lr = 0.1
stage train {
  param train.lr
  run = "train --lr {{params.train.lr}}"
}
```
""",
)
TWICE = Check(
    "MLP223",
    Severity.ERROR,
    "a parameter declared twice",
    """
Two files, or a file and a `param`, give the same parameter; or one gives `train` as a value and another
`train.lr`, which would make it a section. Drop one of them.

```mlpipe fails
mlpipe 1
pipeline example
params "params.yaml"
param train.lr = 0.5
```

```mlpipe
mlpipe 1
pipeline example
params "params.yaml"
param train.seed = 7
```
""",
)
MISFIT = Check(
    "MLP224",
    Severity.ERROR,
    "a parameter's value that does not fit its type",
    """
A parameter has the type that its file gives it, narrowed by `params "file" { … }` or by its `param`
declaration.
Its value, and every value that an event or `--set` gives it, must be of that type and keep to its limits.

```mlpipe fails
mlpipe 1
pipeline example
param train.lr: float in 0.0..1.0 = 2.5
```

```mlpipe
mlpipe 1
pipeline example
param train.lr: float in 0.0..1.0 = 0.5
```
""",
)
NO_VALUE = Check(
    "MLP225",
    Severity.ERROR,
    "a parameter without a value",
    """
A `param` at the top of a file has a value: `param train.lr: float = 0.1`. Only a component leaves it open.

```mlpipe fails
mlpipe 1
pipeline example
param lr: float
```

```mlpipe
mlpipe 1
pipeline example
param lr: float = 0.1
```
""",
)
CHECKS = (UNKNOWN, TWICE, MISFIT, NO_VALUE)


class Params:
    """All parameters by dotted name, in a stable order, with the place where each was declared."""

    def __init__(self) -> None:
        self.parts: dict[str, Part[ir.Param]] = {}
        # Every section (`train` of `train.lr`), with one parameter in it.
        self.sections: dict[str, list[str]] = {}
        # A file of parameters could not be read. That has been said, and what it holds is not known.
        self.unread = False

    def add(self, ctx: Context, part: Part[ir.Param]) -> bool:
        """Adds a parameter; False with a diagnostic when its name is taken."""
        name = part.value.name
        clash = self.parts.get(name)
        if clash is None and name in self.sections:
            clash = self.parts[self.sections[name][0]]
        pieces = name.split(".")
        above = [".".join(pieces[:n]) for n in range(1, len(pieces))]
        if clash is None:
            clash = next((self.parts[s] for s in above if s in self.parts), None)
        if clash is not None:
            related = (Label(clash.span, f"`{clash.value.name}` is declared here"),)
            ctx.report(TWICE, f"the parameter `{name}` is declared twice", part.span, related=related)
            return False
        self.parts[name] = part
        for section in above:
            self.sections.setdefault(section, []).append(name)
        return True

    def expand(self, ctx: Context, name: ast.Dotted) -> tuple[str, ...]:
        """What a written name stands for: one parameter, or all of `train.*`; empty with a diagnostic."""
        text = name.text.removesuffix(".*") if name.star else name.text
        if name.star and text in self.sections:
            ctx.refer(name.span, "param", name.text, self.parts[self.sections[text][0]].span)
            return tuple(sorted(self.sections[text]))
        if not name.star and text in self.parts:
            ctx.refer(name.span, "param", text, self.parts[text].span)
            return (text,)
        self.missing(ctx, name.text, name.span)
        return ()

    def missing(self, ctx: Context, text: str, span: Span) -> None:
        """Says that there is no parameter `text`; nothing where it may be in a file that cannot be read."""
        if self.unread:
            return
        plain = text.removesuffix(".*")
        help = ""
        if plain != text and plain in self.parts:
            help = f"`{plain}` is one parameter, not a section: drop the `.*`"
        elif plain == text and text in self.sections:
            help = f"`{text}` is a section: write `{text}.*`, or one of its members"
        elif guess := nearest(text, [*self.parts, *(s + ".*" for s in self.sections)]):
            help = f"write `{guess}`?"
        elif not self.parts:
            help = 'read them with `params "params.yaml"`, or declare one with `param NAME = VALUE`'
        ctx.report(UNKNOWN, f"there is no parameter `{text}`", span, help=help)


def read(ctx: Context, types: Types) -> Params:
    """The parameters that the pipeline's own file declares and reads."""
    params = Params()
    for decl in ctx.modules.main.tree.decls:
        if isinstance(decl, ast.ParamsDecl):
            _file(ctx, types, params, decl)
        elif isinstance(decl, ast.ParamDecl):
            _in_place(ctx, types, params, decl.item)
    return params


def override(params: Params, overrides: Mapping[str, str]) -> None:
    """Gives parameters the values that `--set` says. Raises Failure (usage) for what is not one."""
    for name, text in overrides.items():
        _override(params, name, text)


def _file(ctx: Context, types: Types, params: Params, decl: ast.ParamsDecl) -> None:
    path = values.clean_path(ctx, decl.path.value, decl.path.span)
    if path is values.BAD:
        return
    text = ctx.loader.read(path)
    if isinstance(text, Unreadable):
        guess = nearest(path, ctx.loader.glob(f"**/*{posixpath.splitext(path)[1]}"))
        help = f"did you mean `{guess}`?" if guess else ""
        ctx.report(paramfile.UNREADABLE, f"`{path}` cannot be read: {text.reason}", decl.path.span, help=help)
        params.unread = True
        return
    ctx.sources[path] = Source(path, text)
    raws = paramfile.read(path, text)
    if isinstance(raws, Diagnostic):
        named = Label(decl.path.span, "named here")
        ctx.problems.append(replace(raws, related=(*raws.related, named)))
        params.unread = True
        return
    found = {r.name: r for r in raws}
    narrowed = _narrowing(ctx, types, decl, found)
    for raw in raws:
        type, limits, at = narrowed.get(raw.name, (natural(raw.value), (), None))
        value = _converted(raw.value, type)
        related = (Label(at, "declared here"),) if at else ()
        if not fitting(ctx, raw.name, value, type, limits, raw.span, related):
            value = raw.value
        params.add(ctx, Part(ir.Param(raw.name, type, value, path, limits), raw.span, raw.span, at))


_Narrowed = dict[str, tuple[ir.ScalarType, tuple[ir.Constraint, ...], Span | None]]


def _narrowing(
    ctx: Context, types: Types, decl: ast.ParamsDecl, found: Mapping[str, paramfile.Raw]
) -> _Narrowed:
    narrowed: _Narrowed = {}
    for item in decl.narrowed:
        if isinstance(item, ast.ConstraintNode):
            ctx.report(
                values.VALUE,
                "a parameter with its type is wanted here",
                item.span,
                help="as in `train.lr: float`",
            )
            continue
        name = item.name.text
        if name in narrowed:
            ctx.report(TWICE, f"`{name}` is narrowed twice", item.name.span)
            continue
        type = types.scalar(item.type, ctx.main)
        limits = types.constraints(item.constraints, type)
        narrowed[name] = (type, limits, item.span)
        if name not in found:
            guess = nearest(name, found)
            ctx.report(
                UNKNOWN,
                f"`{decl.path.value}` has no parameter `{name}`",
                item.name.span,
                help=f"write `{guess}`?" if guess else "add it to the file, or drop it here",
            )
    return narrowed


def _in_place(ctx: Context, types: Types, params: Params, item: ast.ParamItem) -> None:
    name = item.name.text
    if item.name.star:
        ctx.report(scopes.STYLE, "a declaration names one parameter", item.name.span, help="drop the `.*`")
        return
    declared = types.scalar(item.type, ctx.main) if item.type else None
    if item.default is None:
        ctx.report(
            NO_VALUE, f"the parameter `{name}` has no value", item.span, help=f"write `param {name} = …`"
        )
        return
    value = typed_literal(ctx, item.default, declared)
    if isinstance(value, values.Bad):
        return
    type = declared or natural_literal(item.default, value)
    limits = types.constraints(item.constraints, type)
    fitting(ctx, name, value, type, limits, item.default.span)
    at = item.type.span if item.type else None
    params.add(
        ctx, Part(ir.Param(name, type, value, None, limits), item.name.span, item.span, at, item.default.span)
    )


# --- values ------------------------------------------------------------------------------------


def natural(value: ir.Value) -> ir.ScalarType:
    """The type that a value of a file has by itself. A null says only that there is no value: `str?`."""
    if isinstance(value, bool):
        return ir.ScalarType("bool")
    if isinstance(value, int):
        return ir.ScalarType("int")
    if isinstance(value, float):
        return ir.ScalarType("float")
    if isinstance(value, tuple):
        if any(isinstance(v, dict) for v in value):
            return ir.ScalarType("list")
        kinds = {natural(v) for v in value}
        if kinds == {ir.ScalarType("int"), ir.ScalarType("float")}:
            kinds = {ir.ScalarType("float")}
        return ir.ScalarType("list", element=kinds.pop() if len(kinds) == 1 else None)
    return ir.ScalarType("str", optional=value is None)


def natural_literal(expr: ast.Expr, value: ir.Value) -> ir.ScalarType:
    """The type of a literal; unlike a file's, it may be a duration or a size."""
    expr = values.bare(expr)
    if isinstance(expr, ast.Num) and expr.kind in ("duration", "size"):
        return ir.ScalarType(expr.kind)
    return natural(value)


def typed_literal(ctx: Context, expr: ast.Expr, type: ir.ScalarType | None) -> ir.Value | values.Bad:
    """The value of a literal that shall be of `type`; BAD with a diagnostic for what is no literal."""
    value = values.literal(expr)
    if isinstance(value, values.Bad):
        ctx.report(
            values.VALUE,
            "a literal value is wanted here",
            expr.span,
            help="parameters are known without running anything",
        )
        return values.BAD
    inner = values.bare(expr)
    unit = inner.kind if isinstance(inner, ast.Num) and inner.kind in ("duration", "size") else ""
    if type is not None and type.name != "any" and unit and unit != type.name:
        ctx.report(MISFIT, f"this is a {unit}, and {spell_scalar(type)} is wanted", expr.span)
        return values.BAD
    return _converted(value, type) if type is not None else value


def _converted(value: ir.Value, type: ir.ScalarType) -> ir.Value:
    """`value` as `type` has it: an int where a float is wanted, `"8h"` where a duration is."""
    if type.name == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type.name in ("duration", "size") and isinstance(value, str):
        measured = measure(value, type.name)
        return value if measured is None else measured
    if type.name == "list" and type.element is not None and isinstance(value, tuple):
        return tuple(_converted(v, type.element) for v in value)
    return value


def fitting(
    ctx: Context,
    name: str,
    value: ir.Value,
    type: ir.ScalarType,
    limits: tuple[ir.Constraint, ...],
    span: Span,
    related: tuple[Label, ...] = (),
) -> bool:
    """Whether `value` may stand in parameter `name`; says so at `span` when not."""
    problem = misfit(name, value, type, limits)
    if problem:
        ctx.report(MISFIT, problem, span, related=related)
    return not problem


def misfit(name: str, value: ir.Value, type: ir.ScalarType, limits: tuple[ir.Constraint, ...]) -> str:
    """Why `value` cannot be the value of `name`; empty where it can."""
    if not value_fits(value, type):
        return f"`{name}` is of type {spell_scalar(type)}, and {spell_value(value)} is not"
    for limit in limits:
        if not lattice.holds(value, limit):
            return f"`{name}` must be `{lattice.spell_constraint(limit)}`, and {spell_value(value)} is not"
    return ""


def _override(params: Params, name: str, text: str) -> None:
    part = params.parts.get(name)
    if part is None:
        guess = nearest(name, params.parts)
        help = f"write `{guess}`?" if guess else "parameters are " + ", ".join(list(params.parts)[:8])
        if not params.parts:
            help = "this pipeline has no parameters"
        raise Failure(f"`--set {name}={text}`: there is no parameter `{name}`", help=help, code=2)
    param = part.value
    value = parse(text, param.type)
    problem = (
        misfit(name, value, param.type, param.constraints)
        if not isinstance(value, values.Bad)
        else (f"{spell_value(text)} is not of type {spell_scalar(param.type)}")
    )
    if problem:
        raise Failure(f"`--set {name}={text}`: {problem}", code=2)
    assert not isinstance(value, values.Bad)
    params.parts[name] = replace(part, value=replace(param, value=value))


def parse(text: str, type: ir.ScalarType) -> ir.Value | values.Bad:
    """Text of a command line or a CI variable as a value of `type`; BAD where it is none."""
    text = text if type.name in ("str", "enum", "any") else text.strip()
    if type.optional and text in ("null", ""):
        return None
    try:
        match type.name:
            case "int":
                return int(text.replace("_", "")) if not text.startswith("_") else values.BAD
            case "float":
                number = float(text)
                return number if abs(number) < float("inf") else values.BAD
            case "bool":
                return {"true": True, "false": False}.get(text.lower(), values.BAD)
            case "duration" | "size":
                measured = measure(text, type.name)
                return values.BAD if measured is None else measured
            case "list":
                return _list(text, type)
    except ValueError:
        return values.BAD
    return text


def _list(text: str, type: ir.ScalarType) -> ir.Value | values.Bad:
    """`[1, 2]` or `1,2`."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    element = type.element or ir.ScalarType("str")
    pieces = [p.strip() for p in inner.split(",")] if inner.strip() else []
    items = [parse(p[1:-1] if len(p) > 1 and p[0] == p[-1] and p[0] in "\"'" else p, element) for p in pieces]
    if any(isinstance(i, values.Bad) for i in items):
        return values.BAD
    return tuple(i for i in items if not isinstance(i, values.Bad))
