"""Events: when something runs, and what."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlflowc.check import params as parameters
from mlflowc.check import unbuilt, values
from mlflowc.check.blocks import arguments
from mlflowc.check.context import Context
from mlflowc.check.datasources import DataTable
from mlflowc.check.lattice import scalar_fits, spell_scalar
from mlflowc.check.model import Event, Part
from mlflowc.check.params import Params
from mlflowc.check.steps import Tools, step_ids
from mlflowc.check.types import Types
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.ir import model as ir
from mlflowc.resolve import scope as scopes
from mlflowc.span import Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast

EVENT = Check(
    "MLP247",
    Severity.ERROR,
    "an event that is not understood",
    """
The events are `pull_request`, `push("main")`, `tag("v*")`, `schedule("17 3 * * *", zone = "Europe/Paris")`
and `manual`.

```mlpipe fails
mlpipe 1
pipeline example
stage train { run = "train" }
on pull_requests { run = [train] }
```

```mlpipe
mlpipe 1
pipeline example
stage train { run = "train" }
on pull_request { run = [train] }
```
""",
)
FIXED = Check(
    "MLP248",
    Severity.ERROR,
    "data that cannot be refreshed",
    """
`refresh` takes data whose source can move, such as a URL. A path of the repository moves with its commits.

```mlpipe fails
mlpipe 1
pipeline example
data raw = "data/raw.csv"
stage train {
  in  raw
  run = "train {{raw}}"
}
on push("main") { refresh = [raw], run = [train] }
```

```mlpipe
mlpipe 1
pipeline example
data raw = "data/raw.csv"
stage train {
  in  raw
  run = "train {{raw}}"
}
on push("main") { run = [train] }
```
""",
)
CHECKS = (EVENT, FIXED)

# Event -> its arguments.
_EVENTS: dict[str, dict[str, values.Reader]] = {
    "pull_request": {"pattern": values.text},
    "push": {"pattern": values.text},
    "tag": {"pattern": values.text},
    "schedule": {"cron": values.text, "zone": values.text},
    "manual": {},
}
_RUNNABLE = ("stage", "gate", "report", "action", "sweep")
_SETTINGS: dict[str, values.Reader] = {
    "run": values.expression,
    "refresh": values.names,
    "paths": values.texts,
    "propose": values.boolean,
}


class Events:
    """Reads events, and gives each an id of its own."""

    def __init__(self, tools: Tools, types: Types, data: DataTable, params: Params) -> None:
        self._tools, self._types, self._data, self._params = tools, types, data, params
        self._ctx: Context = tools.ctx
        self._ids: set[str] = set()
        self._schedules = 0

    def read(self, decl: ast.OnDecl) -> Event | None:
        """One `on`; None with a diagnostic where the event is unknown."""
        ctx, kind = self._ctx, decl.event.text
        if kind not in _EVENTS:
            guess = nearest(kind, _EVENTS)
            help = f"write `{guess}`?" if guess else "there is " + ", ".join(f"`{e}`" for e in _EVENTS)
            ctx.report(EVENT, f"there is no event `{kind}`", decl.event.span, help=help)
            return None
        call = ast.CallExpr(ast.NameExpr(decl.event, decl.event.span), decl.args, decl.event.span)
        given = arguments(ctx, call, tuple(_EVENTS[kind]), _EVENTS[kind], kind)
        what = f"`on {kind}`"
        found = values.read(ctx, decl.items, _SETTINGS, what)
        values.refuse_nested(ctx, decl.items, what, ("with",))
        if given is not None and kind == "schedule" and "cron" not in given:
            ctx.report(
                values.MISSING, "a schedule says when", decl.event.span, help='as in `schedule("17 3 * * *")`'
            )
        run = self._run(found.get("run"))
        if "run" not in found.spans:
            ctx.report(values.MISSING, f"{what} runs nothing", decl.event.span, help="add `run = [ … ]`")
        refresh = self._refresh(found.get("refresh", ()))
        params = self._with(decl.items)
        inputs = self._inputs(decl.items, kind)
        given = given or {}
        made = ir.Event(
            id=self._id(kind, given.get("pattern")),
            kind=kind,
            place=ctx.place(decl.event.span),
            run=tuple(dict.fromkeys(n for p in run for n in p.value)),
            pattern=given.get("pattern"),
            cron=given.get("cron"),
            zone=given.get("zone"),
            paths=found.get("paths", ()),
            refresh=tuple(p.value for p in refresh),
            with_params=tuple(sorted((p.value, v) for p, v in params)),
            inputs=tuple(p.value for p in inputs),
            propose=found.get("propose", False),
        )
        spans = {
            **found.spans,
            **{a.name.text if a.name else next(iter(_EVENTS[kind]), ""): a.value.span for a in decl.args},
        }
        return Event(
            made, decl.event.span, decl.span, spans, run, refresh, tuple(p for p, _ in params), inputs
        )

    def _id(self, kind: str, pattern: str | None) -> str:
        if kind == "schedule":
            self._schedules += 1
            base = f"schedule-{self._schedules}"
        else:
            slug = re.sub(r"[^a-z0-9]+", "-", (pattern or "").lower()).strip("-")
            base = kind.replace("_", "-") + (f"-{slug}" if slug else "")
        name, n = base, 1
        while name in self._ids:
            n += 1
            name = f"{base}-{n}"
        self._ids.add(name)
        return name

    def _run(self, expr: ast.Expr | None) -> tuple[Part[tuple[str, ...]], ...]:
        if expr is None:
            return ()
        found: list[Part[tuple[str, ...]]] = []
        for item in expr.items if isinstance(expr, ast.ListExpr) else (expr,):
            ids = step_ids(self._tools, item, {}, _RUNNABLE)
            if not ids:
                continue
            found.append(Part(ids, item.span, item.span))
        return tuple(found)

    def _refresh(self, names: Iterable[tuple[str, Span]]) -> tuple[Part[str], ...]:
        found: list[Part[str]] = []
        for text, span in names:
            entry = self._ctx.find(self._ctx.main, "data", (ast.Name(text, span),))
            if entry is None:
                continue
            if entry.kind != "data":
                self._ctx.problems.append(scopes.wrong_kind(ast.Name(text, span), "data", entry))
                continue
            data = self._data.get(text)
            if data is None:
                continue
            related = Label(data.span, "declared here")
            if data.value.source == "path":
                self._ctx.report(
                    FIXED,
                    f"`{text}` is a path of the repository: there is nothing to fetch anew",
                    span,
                    related=(related,),
                )
            else:
                unbuilt.refuse(self._ctx, f"data.{data.value.source}", span, related)
                found.append(Part(text, span, span))
        return tuple(found)

    def _with(self, items: tuple[ast.Item, ...]) -> list[tuple[Part[str], ir.Value]]:
        ctx, found = self._ctx, list[tuple[Part[str], ir.Value]]()
        seen: dict[str, Span] = {}
        for block in items:
            if not isinstance(block, ast.Nested) or block.name.text != "with":
                continue
            values.refuse_nested(ctx, block.items, "`with`")
            for item in block.items:
                if not isinstance(item, ast.Setting):
                    continue
                name = item.key.text
                if name in seen:
                    related = (Label(seen[name], "first given here"),)
                    ctx.report(values.TWICE, f"`{name}` is given twice", item.key.span, related=related)
                    continue
                seen[name] = item.key.span
                names = self._params.expand(ctx, item.key)
                if len(names) != 1 or item.key.star:
                    continue
                param = self._params.parts[name].value
                value = parameters.typed_literal(ctx, item.value, param.type)
                if isinstance(value, values.Bad):
                    continue
                related = (Label(self._params.parts[name].span, "declared here"),)
                if parameters.fitting(
                    ctx, name, value, param.type, param.constraints, item.value.span, related
                ):
                    found.append((Part(name, item.key.span, item.span, None, item.value.span), value))
        return found

    def _inputs(self, items: tuple[ast.Item, ...], kind: str) -> tuple[Part[ir.EventInput], ...]:
        found: dict[str, Part[ir.EventInput]] = {}
        for item in items:
            if not isinstance(item, ast.InputItem):
                continue
            name = item.name.text
            if kind != "manual":
                self._ctx.report(
                    EVENT,
                    "only a person who starts an event can give it input",
                    item.span,
                    help="`input` stands in `on manual`",
                )
                continue
            if name in found:
                related = (Label(found[name].span, "first declared here"),)
                self._ctx.report(
                    scopes.DUPLICATE, f"`{name}` is declared twice", item.name.span, related=related
                )
                continue
            made = self._input(item)
            if made is not None:
                found[name] = Part(
                    made,
                    item.name.span,
                    item.span,
                    item.type.span,
                    item.default.span if item.default else None,
                )
        return tuple(found.values())

    def _input(self, item: ast.InputItem) -> ir.EventInput | None:
        ctx = self._ctx
        names = self._params.expand(ctx, item.name)
        if len(names) != 1 or item.name.star:
            return None
        part = self._params.parts[names[0]]
        type = self._types.scalar(item.type, ctx.main)
        limits = self._types.constraints(item.constraints, type)
        related = (Label(part.span, "declared here"),)
        value: ir.Value | values.Bad = part.value.value
        if item.default is not None:
            value = parameters.typed_literal(ctx, item.default, type)
        if isinstance(value, values.Bad):
            return None
        span = item.default.span if item.default else item.span
        if not parameters.fitting(ctx, names[0], value, type, limits, span):
            return None
        if not scalar_fits(type, part.value.type):
            declared = spell_scalar(part.value.type)
            problem = f"`{names[0]}` is of type {declared}, and this input is {spell_scalar(type)}"
            ctx.report(parameters.MISFIT, problem, item.type.span, related=related)
            return None
        if not parameters.fitting(
            ctx, names[0], value, part.value.type, part.value.constraints, span, related
        ):
            return None
        return ir.EventInput(names[0], type, value)
