"""Stages and actions: their items, settings and commands."""

from __future__ import annotations

from functools import partial
from typing import Any

from mlflowc.check import auths, values
from mlflowc.check.blocks import Blocks
from mlflowc.check.components import Binding, bindings, open_params
from mlflowc.check.context import Context
from mlflowc.check.inputs import Inputs
from mlflowc.check.model import Part, Step, Text
from mlflowc.check.params import Params
from mlflowc.check.references import References, chain
from mlflowc.check.signatures import SAME_PATH, Instance, Scalar, Signature, filled, says_all
from mlflowc.check.templates import Names, command
from mlflowc.diagnostic import Label
from mlflowc.frozen import dataclass, field
from mlflowc.ir import model as ir
from mlflowc.resolve import scope as scopes
from mlflowc.resolve.scope import Entry, Scope
from mlflowc.span import Span
from mlflowc.syntax import ast
from mlflowc.syntax.template import RESERVED


def _code(ctx: Context, expr: ast.Expr) -> Any:
    expr = values.bare(expr)
    if isinstance(expr, ast.NameExpr) and expr.name.text in ("auto", "none"):
        return ir.Code(expr.name.text)
    if isinstance(expr, ast.NameExpr):
        return values.wrong(ctx, expr, "`auto`, `none` or a list of paths", 'as in `code = ["src/"]`')
    written = values.texts(ctx, expr)
    if written is values.BAD:
        return values.BAD
    paths = tuple(values.clean_path(ctx, p, expr.span) for p in written)
    return values.BAD if values.BAD in paths else ir.Code("paths", paths)


# Settings of stages and actions; `env`, `runner`, `after` and `run` are looked at later, in their scope.
_BOTH: dict[str, values.Reader] = {
    "env": values.expression,
    "runner": values.expression,
    "timeout": values.duration,
    "secrets": values.names,
    "auth": auths.providers,
    "dir": values.path,
    "after": values.expression,
    "run": values.expression,
}
STAGE: dict[str, values.Reader] = {
    **_BOTH,
    "retry": values.integer(0, 100),
    "code": _code,
    "code_key": values.one_of("bytes", "ast"),
}
ACTION: dict[str, values.Reader] = {**_BOTH, "approve": values.text}


@dataclass(frozen=True, slots=True)
class Tools:
    """What reading a step needs."""

    ctx: Context
    blocks: Blocks
    params: Params
    references: References
    inputs: Inputs


@dataclass(slots=True)
class _Body:
    """What the items of one step (one instance) came to."""

    inputs: list[Part[ir.Input]] = field(default_factory=list)
    params: list[Part[tuple[str, ...]]] = field(default_factory=list)
    outputs: list[Part[ir.Output]] = field(default_factory=list)
    keeps: list[Part[ir.Keep]] = field(default_factory=list)
    after: list[Part[tuple[str, ...]]] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    bound: dict[str, Binding] = field(default_factory=dict)


def stage(tools: Tools, signature: Signature) -> list[Step[ir.Stage]]:
    """The instances of one stage."""
    ctx, entry = tools.ctx, signature.entry
    names(ctx, (*signature.items, *signature.added), tuple(n for n, _ in signature.axes))
    what = f"stage `{entry.name}`"
    own = values.Settings()
    if signature.component is not None:
        what = f"component `{signature.component.name}`"
    found = values.read(ctx, signature.items, STAGE, what)
    values.refuse_nested(ctx, signature.items, what)
    bound: dict[str, Binding] = {}
    if signature.component is not None:
        own, bound = bindings(ctx, tools.params, signature, STAGE)
    elif isinstance(entry.decl, ast.InstanceDecl):
        return []  # its component is unknown, and that has been said
    common = _Common(tools, entry, signature.scope, found, own)
    if "run" not in found.spans and "run" not in own.spans:
        ctx.report(values.MISSING, f"{what} has no command", entry.span, help='give it one: `run = "…"`')
    _same_paths(ctx, signature)
    get = common.get
    retry, timeout, code = get("retry", 0), get("timeout"), get("code", ir.Code())
    code = ir.Code(code.mode, code.paths, get("code_key", code.key))
    env, runner, secrets = common.block("env"), common.block("runner"), common.secrets()
    auth = common.auth()
    place, spans = ctx.place(entry.span), {**found.spans, **own.spans}
    steps: list[Step[ir.Stage]] = []
    for instance in signature.instances.values():
        body = _read_body(common, signature, instance, bound)
        made = ir.Stage(
            id=instance.id,
            name=entry.name,
            place=place,
            inputs=tuple(p.value for p in body.inputs),
            params=tuple(sorted({n for p in body.params for n in p.value})),
            outputs=tuple(p.value for p in body.outputs),
            keeps=tuple(p.value for p in body.keeps),
            env=env,
            runner=runner,
            timeout=timeout,
            retry=retry,
            secrets=secrets,
            after=tuple(sorted({n for p in body.after for n in p.value})),
            code=code,
            dir=get("dir"),
            each=instance.each,
            commands=tuple(t.value for t in body.texts),
            auth=auth,
        )
        steps.append(
            Step(
                made, entry.span, entry.decl.span, spans, tuple(body.inputs), tuple(body.params),
                tuple(body.outputs),
                tuple(body.keeps), tuple(body.after), tuple(body.texts),
                signature.component.name if signature.component else None,
            )
        )  # fmt: skip
    return steps


def action(tools: Tools, entry: Entry) -> Step[ir.Action]:
    """One action."""
    ctx, decl = tools.ctx, entry.decl
    assert isinstance(decl, ast.BlockDecl)
    what = f"action `{entry.name}`"
    names(ctx, decl.items, ())
    found = values.read(ctx, decl.items, ACTION, what)
    values.refuse_nested(ctx, decl.items, what)
    if "run" not in found.spans:
        ctx.report(values.MISSING, f"{what} has no command", entry.span, help='give it one: `run = "…"`')
    for item in decl.items:
        if isinstance(item, ast.OutItem | ast.KeepItem):
            ctx.report(
                values.VALUE,
                "an action is an effect: it has no outputs and keeps nothing",
                item.span,
                help="what makes files is a stage",
            )
    common = _Common(tools, entry, ctx.main, found, values.Settings())
    signature = Signature(entry, (), {}, decl.items, ctx.main, {})
    body = _read_body(common, signature, Instance(entry.name), {})
    made = ir.Action(
        name=entry.name,
        place=ctx.place(entry.span),
        inputs=tuple(p.value for p in body.inputs),
        params=tuple(sorted({n for p in body.params for n in p.value})),
        env=common.block("env"),
        runner=common.block("runner"),
        timeout=found.get("timeout"),
        secrets=common.secrets(),
        approve=found.get("approve"),
        after=tuple(sorted({n for p in body.after for n in p.value})),
        dir=found.get("dir"),
        commands=tuple(t.value for t in body.texts),
        auth=common.auth(),
    )
    return Step(
        made, entry.span, decl.span, found.spans, tuple(body.inputs), tuple(body.params), (), (),
        tuple(body.after), tuple(body.texts),
    )  # fmt: skip


def names(ctx: Context, items: tuple[ast.Item, ...], variables: tuple[ast.Name, ...]) -> None:
    """Says which inputs, outputs, kept paths and variables of a step have one name."""
    seen: dict[str, Span] = {v.text: v.span for v in variables}
    for item in items:
        match item:
            case ast.InItem(name=dotted):
                name = dotted.parts[-1]
            case ast.OutItem(name=name) | ast.KeepItem(name=name):
                pass
            case _:
                continue
        if name.text in seen or name.text in RESERVED:
            related = (Label(seen[name.text], "first declared here"),) if name.text in seen else ()
            why = "is declared twice in this step" if related else "has a meaning of its own in `{{…}}`"
            ctx.report(scopes.DUPLICATE, f"`{name.text}` {why}", name.span, related=related, help="rename it")
        elif not name.text[0].islower() or name.text.lower() != name.text:
            ctx.report(
                scopes.STYLE,
                f"`{name.text}` is not a name",
                name.span,
                help="names are lower case: letters, digits and `_`",
            )
        seen.setdefault(name.text, name.span)


def _same_paths(ctx: Context, signature: Signature) -> None:
    if len(signature.instances) < 2:
        return
    for item in (*signature.items, *signature.added):
        if isinstance(item, ast.OutItem | ast.KeepItem):
            path = values.bare(item.value)
            if isinstance(path, ast.Str) and not says_all(path, signature.axes):
                name = next(
                    (
                        n.text
                        for n, o in signature.axes
                        if len(o) > 1 and f"{{{{{n.text}}}}}" not in path.value
                    ),
                    "stage",
                )
                ctx.report(
                    SAME_PATH,
                    f"all {len(signature.instances)} instances of `{signature.name}` would write this path",
                    path.span,
                    related=(Label(signature.entry.span, "declared with `each` here"),),
                    help=f"put `{{{{{name}}}}}` into it",
                )


@dataclass(frozen=True, slots=True)
class _Common:
    """The settings of a step: those of its body, and those that a stage made of a component adds."""

    tools: Tools
    entry: Entry
    scope: Scope
    body: values.Settings
    own: values.Settings

    def get(self, key: str, default: Any = None) -> Any:
        """The stage's own setting, else the component's."""
        return self.own.get(key, self.body.get(key, default))

    def block(self, kind: str) -> str | None:
        """The IR name of the step's `env` or `runner`."""
        own = kind in self.own.spans
        expr = (self.own if own else self.body).get(kind)
        if expr is None:
            return None
        ctx = self.tools.ctx
        dotted = chain(expr)
        pieces = [link.name for link in dotted.links]
        if not isinstance(dotted.base, ast.NameExpr) or any(p is None for p in pieces):
            values.wrong(ctx, expr, f"the name of {scopes.a(kind)}")
            return None
        path = (dotted.base.name, *(p for p in pieces if p is not None))
        entry = ctx.find(ctx.main if own else self.scope, kind, path)
        if entry is None:
            return None
        return self.tools.blocks.name(entry)

    def secrets(self) -> tuple[str, ...]:
        """The names of the step's secrets."""
        return tuple(sorted({n for n, _ in (*self.body.get("secrets", ()), *self.own.get("secrets", ()))}))

    def auth(self) -> tuple[str, ...]:
        """The providers whose credentials the step's commands get."""
        return tuple(sorted({*self.body.get("auth", ()), *self.own.get("auth", ())}))


def _read_body(common: _Common, signature: Signature, instance: Instance, bound: dict[str, Binding]) -> _Body:
    tools, ctx = common.tools, common.tools.ctx
    body = _Body(bound=bound)
    each: dict[str, Scalar] = dict(instance.each)
    open_ = open_params(signature) if signature.component else {}
    for item in signature.items:
        match item:
            case ast.InItem():
                _input(tools, signature, item, body, each)
            case ast.ParamItem() if not open_:
                _param(ctx, tools.params, item, body)
            case ast.OutItem() | ast.KeepItem():
                _written(ctx, signature, item, bound.get(item.name.text), instance, body)
    for name in open_:
        binding = bound.get(name)
        if binding is not None and binding.param is not None:
            body.params.append(Part((binding.param,), binding.span, binding.span))
    for item in signature.added:
        match item:
            case ast.InItem():
                found = tools.inputs.read(signature.name, item, item.value, ctx.main, each)
                if found is not None:
                    body.inputs.append(found)
            case ast.ParamItem():
                _param(ctx, tools.params, item, body)
            case ast.OutItem() | ast.KeepItem():
                _written(ctx, signature, item, None, instance, body)
    after = common.get("after")
    if after is not None:
        body.after.extend(_after(tools, after, each, common.entry.kind))
    run = common.get("run")
    if run is not None:
        body.texts.extend(_commands(common, run, signature, instance, body))
    return body


def _written(
    ctx: Context,
    signature: Signature,
    item: ast.OutItem | ast.KeepItem,
    binding: Binding | None,
    instance: Instance,
    body: _Body,
) -> None:
    """An output, or a kept path."""
    path, name = _path(ctx, binding, item.value, instance), item.name
    source = (binding.value if binding else item.value).span
    if path is None:
        return
    if isinstance(item, ast.KeepItem):
        keep = ir.Keep(name.text, path)
        body.keeps.append(Part(keep, name.span, item.span, None, source))
        return
    made = ir.Output(name.text, signature.offers[name.text].type, path)
    written = item.type.span if item.type else None
    body.outputs.append(Part(made, name.span, item.span, written, source))


def _input(
    tools: Tools, signature: Signature, item: ast.InItem, body: _Body, each: dict[str, Scalar]
) -> None:
    value = item.value
    if signature.component is not None:
        binding = body.bound.get(item.name.parts[-1].text)
        if binding is not None:
            value = binding.value
        elif value is None:
            return  # left open, and that has been said
    made = tools.inputs.read(signature.name, item, value, signature.scope, each)
    if made is not None:
        body.inputs.append(made)


def _param(ctx: Context, params: Params, item: ast.ParamItem, body: _Body) -> None:
    if item.type is not None or item.default is not None:
        ctx.report(
            values.VALUE,
            "a stage names parameters, it does not declare them",
            item.span,
            help=f"write `param {item.name.text}` here, and declare it at the top of the file",
        )
    expanded = params.expand(ctx, item.name)
    if expanded:
        body.params.append(Part(expanded, item.name.span, item.span))


def _path(ctx: Context, binding: Binding | None, value: ast.Expr, instance: Instance) -> str | None:
    expr = values.bare(binding.value if binding else value)
    if not isinstance(expr, ast.Str):
        values.wrong(ctx, expr, "a path", 'as in `"models/model.pkl"`')
        return None
    made = filled(ctx, expr, instance.names)
    return None if isinstance(made, values.Bad) else made


def _after(tools: Tools, expr: ast.Expr, each: dict[str, Scalar], kind: str) -> list[Part[tuple[str, ...]]]:
    items = expr.items if isinstance(expr, ast.ListExpr) else (expr,)
    found: list[Part[tuple[str, ...]]] = []
    for item in items:
        ids = step_ids(tools, item, each, ("stage",) if kind == "stage" else ("stage", "action", "gate"))
        if ids:
            found.append(Part(ids, item.span, item.span))
    return found


def step_ids(
    tools: Tools, expr: ast.Expr, each: dict[str, Scalar], kinds: tuple[str, ...]
) -> tuple[str, ...]:
    """What a name in `after` or `run` stands for: the ids of a stage's instances, or the thing's own name."""
    ctx, at = tools.ctx, chain(expr)
    if not isinstance(at.base, ast.NameExpr):
        values.wrong(ctx, expr, f"the name of {scopes.a(kinds[0])}")
        return ()
    entry = ctx.main.things.get(at.base.name.text)
    if entry is None or entry.kind not in kinds:
        found = ctx.main.find(kinds[0], (at.base.name,)) if entry is None else None
        problem = scopes.wrong_kind(at.base.name, kinds[0], entry) if entry else found
        if problem is not None and not isinstance(problem, Entry):
            if problem.code == scopes.UNKNOWN.code and len(kinds) > 1:
                options = [n for n, e in ctx.main.things.items() if e.kind in kinds]
                problem = scopes.unknown(at.base.name, "such thing", options)
            ctx.problems.append(problem)
        return ()
    ctx.refer(at.base.name.span, entry.kind, entry.name, entry.span)
    if entry.kind != "stage":
        if at.links:
            values.wrong(ctx, expr, f"only the name of {scopes.a(entry.kind)}", f"write `{entry.name}`")
            return ()
        return (entry.name,)
    signature = tools.references.signatures.get(entry.name)
    if signature is None:
        return ()
    selected = tools.references.instances(signature, at.links, each, at, all=True)
    if selected is None:
        return ()
    instances, _, rest = selected
    if rest:
        values.wrong(ctx, expr, "a whole stage", f"write `{entry.name}`: its outputs come together")
        return ()
    return tuple(i.id for i in instances)


def _commands(
    common: _Common, run: ast.Expr, signature: Signature, instance: Instance, body: _Body
) -> list[Text]:
    ctx = common.tools.ctx
    inputs, outputs, keeps = _declared(signature)
    inputs.update(p.value.name for p in body.inputs)
    known = Names(
        signature.entry.kind,
        inputs,
        outputs if signature.entry.kind == "stage" else set(),
        keeps if signature.entry.kind == "stage" else set(),
        dict(instance.each),
        {n for p in body.params for n in p.value},
        instance.names["stage"],
        {n: body.bound.get(n) for n in open_params(signature)} if signature.component else None,
        partial(_together, signature, body),
    )
    texts: list[Text] = []
    for item in run.items if isinstance(run, ast.ListExpr) else (run,):
        literal = values.bare(item)
        if not isinstance(literal, ast.Str):
            values.wrong(ctx, literal, "a command", "a string, or a list of them")
        elif not literal.value.strip():
            values.wrong(ctx, literal, "a command", "this one is empty")
        else:
            texts.append(command(ctx, literal, known, common.tools.params))
    if isinstance(run, ast.ListExpr) and not run.items:
        values.wrong(ctx, run, "at least one command")
    return texts


def _together(signature: Signature, body: _Body) -> dict[str, tuple[str, ...]]:
    """What `{{inputs}}`, `{{outputs}}` and `{{params}}` stand for: all that a step declares, and in a
    component, which knows what it has itself, all that the stage adds."""
    items = signature.added if signature.component else signature.items
    spans = {i.span for i in items}
    found = {"inputs": tuple(p.value.name for p in body.inputs if p.whole in spans)}
    if signature.entry.kind == "stage":
        found["outputs"] = tuple(p.value.name for p in body.outputs if p.whole in spans)
    found["params"] = tuple(sorted({n for p in body.params if p.whole in spans for n in p.value}))
    return found


def _declared(signature: Signature) -> tuple[set[str], set[str], set[str]]:
    """The names of inputs, outputs and kept paths."""
    inputs: set[str] = set()
    outputs: set[str] = set()
    keeps: set[str] = set()
    for item in (*signature.items, *signature.added):
        if isinstance(item, ast.InItem):
            inputs.add(item.name.parts[-1].text)
        elif isinstance(item, ast.OutItem):
            outputs.add(item.name.text)
        elif isinstance(item, ast.KeepItem):
            keeps.add(item.name.text)
    return inputs, outputs, keeps
