"""GNU make: a target for each stage, gate, report and event. The hash decides, not the timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from mlflowc.backends import text

from mlflowc.diagnostic import Check, Diagnostic
from mlflowc.ir.model import Pipeline
from mlflowc.jobs.graph import predecessors
from mlflowc.jobs.model import Workflow
from mlflowc.jobs.names import Names, slug
from mlflowc.target import Emission, GeneratedFile, Settings, with_header

CHECKS: tuple[Check, ...] = ()

_OWN = ("all", "check", "clean", "help")


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    about: str
    after: tuple[str, ...]
    recipe: tuple[str, ...]

    @property
    def name_quoted(self) -> str:
        return _escape(quote(self.name))

    @property
    def about_quoted(self) -> str:
        return _escape(quote(self.about))


def emit(
    workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings
) -> tuple[Emission, tuple[Diagnostic, ...]]:
    """`Makefile`, or `mlpipe.mk` with prefixed targets where the project has a Makefile of its own."""
    prefix = "mlpipe-" if settings.own_makefile else ""
    targets = _targets(workflows, pipeline, settings, prefix)
    waited_for = {p for s in pipeline.stages for p in predecessors(s)}
    names = dict(zip((s.id for s in pipeline.stages), targets, strict=False))
    # A sweep that nothing reads runs by its own name alone.
    alone = {s.id for s in pipeline.stages if s.sweep} - {s for g in pipeline.gates for s in g.stages}
    finals = [names[s.id].name for s in pipeline.stages if s.id not in waited_for | alone]
    own = [
        _Target(prefix + "all", "bring every stage up to date", (), ()),
        _Target(prefix + "check", "check the pipeline file", (), ()),
        _Target(prefix + "clean", "remove the outputs of all stages; the cache keeps them", (), ()),
        _Target(prefix + "help", "list the targets", (), ()),
    ]
    paths = [o.path for s in pipeline.stages for o in s.outputs]
    body = text.render(
        "makefile.j2",
        prefix=prefix,
        targets=targets,
        own=[t.name for t in own],
        help=[*own, *targets],
        finals=finals,
        file=_file(settings),
        clean=_escape(" ".join(quote(p) for p in [*paths, text.BUNDLES, text.REPORTS])),
    )
    name = "mlpipe.mk" if settings.own_makefile else "Makefile"
    file = GeneratedFile(text.inside(settings, name), with_header(body, pipeline, "make", settings))
    notes = ("add `include mlpipe.mk` to your Makefile",) if settings.own_makefile else ()
    return Emission((file,), notes), ()


def owned(settings: Settings) -> tuple[str, ...]:
    """Both names: a project may have got a Makefile of its own since."""
    return (text.inside(settings, "Makefile"), text.inside(settings, "mlpipe.mk"))


def _targets(
    workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings, prefix: str
) -> list[_Target]:
    """Stages first, in their order; then gates, reports, events. Actions have none: only an event acts."""
    names = Names(tuple(prefix + n for n in _OWN))
    name_of: dict[str, str] = {}
    targets = []
    for stage in pipeline.stages:
        name_of[stage.id] = _take(names, prefix, stage.id, "stage")
        after = tuple(name_of[p] for p in predecessors(stage) if p in name_of)
        kind = "sweep" if stage.sweep else "stage"
        about = f"{kind} {stage.id}: {', '.join(o.path for o in stage.outputs)}"
        targets.append(_Target(name_of[stage.id], about, after, (_exec(stage.id, settings),)))
    groups = [
        *((g.name, "gate", g.stages) for g in pipeline.gates),
        *((r.name, "report", r.stages) for r in pipeline.reports),
    ]
    for name, kind, stages in groups:
        after = tuple(name_of[s] for s in stages if s in name_of)
        target = _take(names, prefix, name, kind)
        targets.append(_Target(target, f"{kind} {name}", after, (_exec(name, settings),)))
    for workflow in workflows:
        # One after the other, in the order of the job graph: what a CI service would do, on one machine.
        recipe = tuple(
            f"$(MLPIPEC) {_tail(text.exec_command(j, workflow, settings, post=False))}" for j in workflow.jobs
        )
        about = f"all jobs of the event {workflow.id}, here"
        targets.append(_Target(names.take(f"{prefix}on-{workflow.id}"), about, (), recipe))
    return targets


def _take(names: Names, prefix: str, name: str, kind: str) -> str:
    wanted = prefix + slug(name)
    if wanted in {prefix + own for own in _OWN}:
        wanted = f"{prefix}{kind}-{slug(name)}"
    return names.take(wanted)


def _exec(name: str, settings: Settings) -> str:
    return f"$(MLPIPEC) exec {_escape(quote(name))}{_file(settings)}"


def _tail(command: str) -> str:
    return _escape(command.removeprefix("mlpipec "))


def _file(settings: Settings) -> str:
    return f" -f {_escape(quote(settings.file))}" if settings.file else ""


def _escape(text: str) -> str:
    """Text that make leaves as it is."""
    return text.replace("$", "$$")
