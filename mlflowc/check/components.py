"""Stages made of components: what binds the component's open inputs, parameters and paths."""

from __future__ import annotations

from mlflowc.check import params as parameters
from mlflowc.check import values
from mlflowc.check.context import Context
from mlflowc.check.model import Part
from mlflowc.check.params import Params
from mlflowc.check.references import chain
from mlflowc.check.signatures import Signature
from mlflowc.check.types import Types
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.frozen import dataclass
from mlflowc.ir import model as ir
from mlflowc.resolve.scope import Scope
from mlflowc.span import Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast

OPEN = Check(
    "MLP250",
    Severity.ERROR,
    "something that a component leaves open and a stage does not bind",
    """
A component declares inputs (`in data: csv`) and parameters (`param lr: float`) without values. A stage
made of it gives each of them one; a parameter with a default may be left alone.

```mlpipe fails
mlpipe 1
pipeline example
component fit {
  in  data: csv
  out model: file = "models/{{stage}}.pkl"
  run = "fit {{data}} {{model}}"
}
stage train = fit
```

```mlpipe
mlpipe 1
pipeline example
component fit {
  in  data: csv
  out model: file = "models/{{stage}}.pkl"
  run = "fit {{data}} {{model}}"
}
stage train = fit { data = "data.csv" }
```
""",
)
CHECKS = (OPEN,)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a name of the component stands for in one stage.

    Of a parameter: `param` is the pipeline's parameter that it is, or `each` the variable. Of an input or a
    path: `value` is the expression that the stage wrote.
    """

    value: ast.Expr
    span: Span
    param: str | None = None
    each: str | None = None


def open_params(signature: Signature) -> dict[str, ast.ParamItem]:
    """The parameters of the stage's component, by name."""
    return {i.name.text: i for i in signature.items if isinstance(i, ast.ParamItem)}


def bindings(
    ctx: Context, params: Params, signature: Signature, table: dict[str, values.Reader]
) -> tuple[values.Settings, dict[str, Binding]]:
    """The stage's own settings, and what it binds. A literal for a parameter makes the parameter `STAGE.NAME`
    of the pipeline, which `--set` and `with` can reach."""
    assert signature.component is not None
    what = f"component `{signature.component.name}`"
    wants = open_params(signature)
    inputs = {i.name.parts[-1].text: i for i in signature.items if isinstance(i, ast.InItem)}
    paths = {i.name.text for i in signature.items if isinstance(i, ast.OutItem | ast.KeepItem)}
    written: dict[str, ast.Setting] = {}
    rest: list[ast.Item] = []
    for item in signature.bindings:
        if isinstance(item, ast.Setting) and item.key.text in {*wants, *inputs, *paths}:
            before = written.setdefault(item.key.text, item)
            if before is not item:
                related = (Label(before.key.span, "first given here"),)
                ctx.report(values.TWICE, f"`{item.key.text}` is given twice", item.key.span, related=related)
        else:
            rest.append(item)
    known = {**dict.fromkeys((*inputs, *wants, *paths), values.expression), **table}
    settings = values.read(ctx, rest, known, what)
    values.refuse_nested(ctx, rest, what)
    bound: dict[str, Binding] = {
        n: Binding(s.value, s.key.span) for n, s in written.items() if n not in wants
    }
    # `curent = x` is one mistake, not two.
    slips = [i.key.text for i in rest if isinstance(i, ast.Setting) and i.key.text not in known]
    for name, open_input in inputs.items():
        if name not in bound and open_input.value is None and not any(nearest(s, (name,)) for s in slips):
            _missing(ctx, signature, "input", name, open_input.span)
    for name, item in wants.items():
        binding = _param(ctx, params, signature, item, written.get(name))
        if binding is not None:
            bound[name] = binding
    return settings, bound


def _missing(ctx: Context, signature: Signature, kind: str, name: str, declared: Span) -> None:
    assert signature.component is not None
    ctx.report(
        OPEN,
        f"`{signature.name}` gives no value to the {kind} `{name}` of `{signature.component.name}`",
        signature.entry.span,
        related=(Label(declared, "declared here"),),
        help=f"add `{name} = …`",
    )


def _param(
    ctx: Context, params: Params, signature: Signature, item: ast.ParamItem, given: ast.Setting | None
) -> Binding | None:
    name = item.name.text
    type, limits = _declared(ctx, item, signature.scope)
    value = given.value if given else item.default
    if value is None:
        _missing(ctx, signature, "parameter", name, item.span)
        return None
    at = chain(value)
    if given is not None and isinstance(at.base, ast.NameExpr) and at.base.name.text == "params" and at.links:
        pieces = tuple(link.name for link in at.links if link.name is not None)
        expanded = params.expand(
            ctx,
            ast.Dotted(pieces, Span(at.span.file, pieces[0].span.start, at.span.end))
            if pieces
            else item.name,
        )
        if not expanded:
            return None
        found = params.parts[expanded[0]].value
        if type is not None:
            parameters.fitting(
                ctx, name, found.value, type, limits, value.span, (Label(item.span, "declared here"),)
            )
        return Binding(value, value.span, param=found.name)
    if given is not None and isinstance(at.base, ast.NameExpr) and not at.links:
        variable = next(
            ((n.text, options) for n, options in signature.axes if n.text == at.base.name.text), None
        )
        if variable is not None:
            if type is not None:
                declared = (Label(item.span, "declared here"),)
                for option in variable[1]:
                    parameters.fitting(ctx, name, option, type, limits, value.span, declared)
            return Binding(value, value.span, each=variable[0])
    made = parameters.typed_literal(ctx, value, type)
    if isinstance(made, values.Bad):
        return None
    full = f"{signature.name}.{name}"
    settled = type or parameters.natural_literal(value, made)
    parameters.fitting(
        ctx, name, made, settled, limits, value.span, (Label(item.span, "declared here"),) if given else ()
    )
    span = given.key.span if given else signature.entry.span
    params.add(ctx, Part(ir.Param(full, settled, made, None, limits), span, value.span))
    return Binding(value, span, param=full)


def _declared(
    ctx: Context, item: ast.ParamItem, scope: Scope
) -> tuple[ir.ScalarType | None, tuple[ir.Constraint, ...]]:
    if item.type is None:
        return None, ()
    types = Types(ctx)
    type = types.scalar(item.type, scope)
    return type, types.constraints(item.constraints, type)
