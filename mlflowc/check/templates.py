"""Placeholders: `{{…}}` in commands and in the text of reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mlflowc.check.components import Binding
from mlflowc.check.context import Context
from mlflowc.check.model import Part, Text
from mlflowc.check.params import Params
from mlflowc.check.signatures import Scalar
from mlflowc.diagnostic import Check, Edit, Fix, Severity
from mlflowc.ir import model as ir
from mlflowc.spell import nearest
from mlflowc.syntax import ast, template
from mlflowc.syntax.template import Placeholder

PLACEHOLDER = Check(
    "MLP230",
    Severity.ERROR,
    "a placeholder that stands for nothing",
    """
In a command, `{{name}}` is an input, an output, a kept path or a variable of `each` of the same step, or
`{{params.a.b}}`
a parameter that it declares; `{{inputs}}`, `{{outputs}}` and `{{params}}` are all of them at once, as
JSON. In the text of a report it is a metric (`{{train.scores.auc}}`), a number of rows
(`{{prepare.clean.rows}}`) or a parameter.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out model = "model.pkl"
  run = "train --out {{modle}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out model = "model.pkl"
  run = "train --out {{model}}"
}
```
""",
)
UNDECLARED = Check(
    "MLP231",
    Severity.ERROR,
    "a parameter that a command uses and its step does not declare",
    """
A parameter decides the result only where the step declares it: otherwise a change of it would not run the
step again.

```mlpipe fails
mlpipe 1
pipeline example
param lr = 0.1
stage train {
  run = "train --lr {{params.lr}}"
}
```

```mlpipe
mlpipe 1
pipeline example
param lr = 0.1
stage train {
  param lr
  run = "train --lr {{params.lr}}"
}
```
""",
)
CHECKS = (PLACEHOLDER, UNDECLARED)


class Names(NamedTuple):
    """What the placeholders of one step may name. `bound` are a component's own parameters (None where a
    stage
    gives one no value), and None in a stage that is not made of one. `all` gives the names that `{{inputs}}`,
    `{{outputs}}` and `{{params}}` stand for."""

    kind: str
    inputs: set[str]
    outputs: set[str]
    keeps: set[str]
    each: dict[str, Scalar]
    params: set[str]
    stage: str
    bound: dict[str, Binding | None] | None
    all: Callable[[], dict[str, tuple[str, ...]]]


def command(ctx: Context, literal: ast.Str, names: Names, params: Params) -> Text:
    """One command with its placeholders."""
    value: list[str | ir.Slot] = []
    slots: list[Part[ir.Slot]] = []
    for part in template.parts(literal):
        made = part if isinstance(part, str) else _slot(ctx, part, names, params, literal)
        if made is None:
            continue
        if isinstance(made, ir.Slot) and isinstance(part, Placeholder):
            slots.append(Part(made, part.span, part.span))
        if isinstance(made, str) and value and isinstance(value[-1], str):
            value[-1] += made
        else:
            value.append(made)
    return Text(tuple(value), literal.span, tuple(slots))


def _slot(
    ctx: Context, part: Placeholder, names: Names, params: Params, literal: ast.Str
) -> ir.Slot | str | None:
    text = part.text
    for kind, known in (
        ("input", names.inputs),
        ("output", names.outputs),
        ("keep", names.keeps),
        ("each", names.each),
    ):
        if text in known:
            return ir.Slot(kind, text)
    if text.startswith("params."):
        return _param(ctx, part, text.removeprefix("params."), names, params)
    if text in ("inputs", "outputs", "params") and text in (found := names.all()):
        return ir.Slot(text, ",".join(found[text]))
    if text == "stage" and names.kind == "stage":
        return names.stage
    candidates = [
        *names.inputs,
        *names.outputs,
        *names.keeps,
        *names.each,
        *(f"params.{p}" for p in names.params),
    ]
    guess = nearest(text, candidates)
    help, fix = "", None
    if guess:
        help, fix = f"write `{{{{{guess}}}}}`?", Fix(f"write `{guess}`", (Edit(part.span, guess),))
    elif text in params.parts:
        help = f"write `{{{{params.{text}}}}}`, and declare it: `param {text}`"
    elif text.partition(".")[0] in ctx.main.things and "." in text:
        help = f"take it in: `in {text}`, then `{{{{{text.rpartition('.')[2]}}}}}`"
    elif candidates:
        help = "there is " + ", ".join(f"`{{{{{c}}}}}`" for c in candidates[:8])
    ctx.report(PLACEHOLDER, f"`{{{{{text}}}}}` stands for nothing here", part.span, help=help, fix=fix)
    return None


def _param(ctx: Context, part: Placeholder, name: str, names: Names, params: Params) -> ir.Slot | None:
    if names.bound is not None and (name in names.bound or name not in names.params):
        binding = names.bound.get(name)
        if binding is None and name in names.bound:
            return None  # the stage gives it no value, and that has been said
        if binding is None:
            guess = nearest(name, names.bound)
            help = (
                f"write `{{{{params.{guess}}}}}`?"
                if guess
                else "a component declares its parameters with `param`"
            )
            ctx.report(PLACEHOLDER, f"the component has no parameter `{name}`", part.span, help=help)
            return None
        if binding.each is not None:
            return ir.Slot("each", binding.each)
        return ir.Slot("param", binding.param) if binding.param else None
    if name in names.params:
        ctx.refer(part.span, "param", name, params.parts[name].span)
        return ir.Slot("param", name)
    if name not in params.parts:
        params.missing(ctx, name, part.span)
        return None
    ctx.report(
        UNDECLARED,
        f"the command uses the parameter `{name}`, and the {names.kind} does not declare it",
        part.span,
        help=f"add `param {name}`",
    )
    return ir.Slot("param", name)
