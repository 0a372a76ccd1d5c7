"""What the shell offers after a Tab: the names in the pipeline that the words so far mean.

A completion never fails and never says anything: where the pipeline does not compile, nothing is offered.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable

import click

from mlflowc import project
from mlflowc.errors import Failure
from mlflowc.ir.feeds import is_pinned
from mlflowc.ir.model import Pipeline

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _of(names: Callable[[Pipeline], Iterable[str]]) -> Completer:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        pipeline = _pipeline(ctx)
        if pipeline is None:
            return []
        given = ctx.params.get(param.name or "")
        # What stands on the line already is not offered again.
        taken = given if param.nargs == -1 and isinstance(given, tuple | list) else ()
        found = dict.fromkeys(n for n in names(pipeline) if n not in taken)
        return [n for n in found if n.startswith(incomplete)]

    return complete


def _pipeline(ctx: click.Context) -> Pipeline | None:
    # The command group is not run during completion, so that its `-C` is followed here.
    folder = ctx.find_root().params.get("folder")
    file = ctx.params.get("file")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            if folder:
                os.chdir(folder)
            return project.load(file if isinstance(file, str) else None).pipeline
    except (Failure, OSError):
        return None


def _stages(pipeline: Pipeline) -> list[str]:
    return [name for s in pipeline.stages for name in dict.fromkeys((s.name, s.id))]


def _targets(pipeline: Pipeline) -> list[str]:
    gates = [g.name for g in pipeline.gates]
    return [*_stages(pipeline), *gates, *(r.name for r in pipeline.reports)]


stages = _of(_stages)
targets = _of(_targets)
drawn = _of(lambda p: [*_targets(p), *(a.name for a in p.actions)])
outputs = _of(lambda p: [f"{s.id}.{o.name}" for s in p.stages for o in s.outputs])
reports = _of(lambda p: [r.name for r in p.reports])
events = _of(lambda p: [e.id for e in p.events])
data = _of(lambda p: [d.name for d in p.data if is_pinned(d)])
settings = _of(lambda p: [f"{param.name}=" for param in p.params])


def codes(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The codes of diagnostics."""
    from mlflowc.check import registry  # the compiler, which no other completion loads when nothing changed

    return [c.code for c in registry.all_checks() if c.code.startswith(incomplete.upper())]
