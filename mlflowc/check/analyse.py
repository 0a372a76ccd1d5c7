"""The whole of checking one pipeline: parsed files in, typed pipeline and findings out."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from mlflowc.check import auths, blocks, params, reports, signatures, steps, sweeps, unbuilt, values
from mlflowc.check.blocks import Blocks
from mlflowc.check.context import Context
from mlflowc.check.datasources import DataTable
from mlflowc.check.events import Events
from mlflowc.check.inputs import Inputs
from mlflowc.check.model import Block, Checked, Event, Part, Step
from mlflowc.check.references import References
from mlflowc.check.signatures import Signature
from mlflowc.check.types import Types
from mlflowc.diagnostic import Diagnostic, Label, has_errors
from mlflowc.ir import model as ir
from mlflowc.resolve import scope
from mlflowc.resolve.loader import Loader
from mlflowc.resolve.modules import Modules
from mlflowc.resolve.scope import Entry
from mlflowc.span import Source, Span
from mlflowc.syntax import ast


def analyse(
    modules: Modules, loader: Loader, overrides: Mapping[str, str], sources: dict[str, Source]
) -> tuple[Checked, tuple[Diagnostic, ...]]:
    """The typed pipeline of parsed files, and every mistake in names and types, once.

    `sources` gains the parameter files that are read. What has a mistake is left out of the typed pipeline
    where it means nothing. Raises Failure for an override that does not fit.
    """
    scopes, problems = scope.build(modules)
    ctx = Context(modules, scopes, loader, sources, problems)
    types = Types(ctx)
    for name, seen in scopes.items():
        for entry in seen.types.values():
            if entry.module == name:
                types.named(entry)
    table = params.read(ctx, types)
    data = DataTable(ctx, types)
    offered = signatures.build(ctx, types)
    references = References(ctx, offered)
    # What reads a sweep's table of trials has to know its columns.
    searches = tuple(filter(None, (sweeps.sweep(ctx, references, table, e) for e in _declared(ctx, "sweep"))))
    built = Blocks(ctx)
    tools = steps.Tools(ctx, built, table, references, Inputs(ctx, types, references, data))
    stages = tuple(s for signature in offered.values() for s in steps.stage(tools, signature))
    actions = tuple(steps.action(tools, e) for e in _declared(ctx, "action"))
    sweeps.alone(ctx, searches, stages)
    gates = tuple(reports.gate(ctx, references, table, e, data) for e in _declared(ctx, "gate"))
    reader = reports.Reports(ctx, references, table)
    shown = tuple(reader.read(e) for e in _declared(ctx, "report"))
    events = _events(Events(tools, types, data, table), modules)
    _unused_components(ctx, offered)
    _clouds(ctx, built, stages, actions, gates, shown, events)
    if not has_errors(tuple(problems)):
        params.override(table, overrides)
    name, header = _name(ctx)
    checked = Checked(
        name=name,
        edition=modules.main.tree.edition or 1,
        file=modules.main.name,
        header=header,
        sources=dict(sources),
        files=tuple(m.tree for m in modules.by_name.values()),
        params=tuple(table.parts[n] for n in sorted(table.parts)),
        envs=tuple(built.envs.values()),
        runners=tuple(built.runners.values()),
        data=data.all(),
        stages=stages,
        sweeps=searches,
        gates=gates,
        reports=shown,
        actions=actions,
        events=events,
        auths=auths.read(ctx),
        cache=blocks.cache(ctx),
        ci=blocks.ci(ctx),
        secrets=_secrets(ctx),
        references=tuple(dict.fromkeys(ctx.references)),
    )
    return checked, tuple(dict.fromkeys(ctx.problems))


def _declared(ctx: Context, kind: str) -> list[Entry]:
    return [e for e in ctx.main.things.values() if e.kind == kind]


def _events(reader: Events, modules: Modules) -> tuple[Event, ...]:
    made = [reader.read(d) for d in modules.main.tree.decls if isinstance(d, ast.OnDecl)]
    return tuple(e for e in made if e is not None)


def _secrets(ctx: Context) -> tuple[Part[str], ...]:
    found: dict[str, Part[str]] = {}
    for decl in ctx.modules.main.tree.decls:
        if isinstance(decl, ast.SecretDecl):
            name = decl.name
            if name.text in found:
                related = (Label(found[name.text].span, "first declared here"),)
                ctx.report(scope.DUPLICATE, f"`{name.text}` is declared twice", name.span, related=related)
            found.setdefault(name.text, Part(name.text, name.span, decl.span))
    return tuple(found.values())


def _name(ctx: Context) -> tuple[str, Span]:
    """The pipeline's name and its place; without a `pipeline` line it is the file's."""
    found = [d for d in ctx.modules.main.tree.decls if isinstance(d, ast.PipelineDecl)]
    for second in found[1:]:
        related = (Label(found[0].span, "first given here"),)
        ctx.report(
            values.TWICE, "a file has one pipeline", second.span, related=related, help="drop this line"
        )
    if not found:
        stem = posixpath.basename(ctx.modules.main.name).partition(".")[0].lower()
        name = re.sub(r"[^a-z0-9_]+", "_", stem).strip("_")
        return name if name[:1].isalpha() else "pipeline", Span(ctx.modules.main.name, 0, 0)
    name = found[0].name.text
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        ctx.report(
            scope.STYLE,
            f"`{name}` is not a name for a pipeline",
            found[0].name.span,
            help="names are lower case: letters, digits and `_`",
        )
    return name, found[0].name.span


def _unused_components(ctx: Context, offered: dict[str, Signature]) -> None:
    """Checks what can be checked of components that no stage is made of: their settings and names."""
    used = {(s.component.module, s.component.name) for s in offered.values() if s.component}
    for module, seen in ctx.scopes.items():
        for entry in seen.components.values():
            if entry.module == module and (entry.module, entry.name) not in used:
                assert isinstance(entry.decl, ast.BlockDecl)
                what = f"component `{entry.name}`"
                values.read(ctx, entry.decl.items, steps.STAGE, what)
                values.refuse_nested(ctx, entry.decl.items, what)
                steps.names(ctx, entry.decl.items, ())


def _clouds(
    ctx: Context,
    built: Blocks,
    stages: tuple[Step[ir.Stage], ...],
    actions: tuple[Step[ir.Action], ...],
    gates: tuple[Block[ir.Gate], ...],
    shown: tuple[Block[ir.Report], ...],
    events: tuple[Event, ...],
) -> None:
    """Refuses cloud machines for what an event runs, unless the runner names a service's own runners too."""
    launched = {n for n, r in built.runners.items() if r.value.cloud is not None and not r.value.labels}
    if not launched or "runner.cloud" not in unbuilt.ROWS:
        return
    by_id = {s.value.id: s for s in stages}
    reads = {g.value.name: g.value.stages for g in gates} | {r.value.name: r.value.stages for r in shown}
    doing = {a.value.name: a for a in actions}
    told: set[str] = set()
    for event in events:
        for part in event.run:
            waiting = [n for name in part.value for n in (reads.get(name) or (name,))]
            seen: set[str] = set()
            while waiting:
                name = waiting.pop()
                step = by_id.get(name) or doing.get(name)
                if step is None or name in seen:
                    continue
                seen.add(name)
                waiting.extend(
                    s.stage for i in step.inputs for s in i.value.sources if isinstance(s, ir.StageOutput)
                )
                waiting.extend(step.value.after)
                if step.value.runner in launched and name not in told:
                    told.add(name)
                    runner = built.runners[step.value.runner]
                    related = (
                        Label(part.span, "an event runs it"),
                        Label(runner.settings["cloud"], "declared here"),
                    )
                    at = step.settings.get("runner", step.span)
                    ctx.problems.append(
                        Diagnostic.of(
                            unbuilt.UNBUILT,
                            f"{unbuilt.ROWS['runner.cloud'].what} is not built yet in this version",
                            at,
                            related=related,
                            help=unbuilt.ROWS["runner.cloud"].instead,
                        )
                    )
