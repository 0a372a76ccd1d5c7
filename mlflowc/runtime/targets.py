"""What was asked for: names on the command line, or an event, as stages, gates and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, replace
from mlflowc.ir.model import Event, Param, Pipeline, Stage, StageOutput
from mlflowc.spell import nearest


@dataclass(frozen=True, slots=True)
class Wanted:
    """Ids of stages, names of gates, reports and actions, each in the pipeline's order."""

    stages: tuple[str, ...]
    gates: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


def plain(pipeline: Pipeline) -> tuple[str, ...]:
    """What is brought up to date where nothing is named: all stages, and the sweeps that these or gates read.

    A sweep that nothing reads is run by its name alone.
    """
    if not pipeline.sweeps:
        return tuple(s.id for s in pipeline.stages)
    ordinary = [s.id for s in pipeline.stages if s.sweep is None]
    return tuple(s.id for s in closure(pipeline, [*ordinary, *(s for g in pipeline.gates for s in g.stages)]))


def resolve(pipeline: Pipeline, names: Sequence[str]) -> Wanted:
    """Stages by id or name (all instances), gates and reports with their stages. No names: see `plain`.

    Raises `Failure` for a name that there is not, with the nearest one that there is.
    """
    if not names:
        return Wanted(plain(pipeline), tuple(g.name for g in pipeline.gates))
    gates = {g.name: g.stages for g in pipeline.gates}
    reports = {r.name: r.stages for r in pipeline.reports}
    actions = {
        a.name: {x.stage for i in a.inputs for x in i.sources if isinstance(x, StageOutput)}
        for a in pipeline.actions
    }
    by_name: dict[str, list[str]] = {}
    for stage in pipeline.stages:
        by_name.setdefault(stage.id, []).append(stage.id)
        if stage.name != stage.id:
            by_name.setdefault(stage.name, []).append(stage.id)
    stages: set[str] = set()
    for name in names:
        if name in by_name:
            stages.update(by_name[name])
        elif name in gates or name in reports or name in actions:
            stages.update(gates.get(name) or reports.get(name) or actions.get(name) or ())
        else:
            raise _unknown(name, [*by_name, *gates, *reports, *actions])
    asked = set(names)
    return Wanted(
        tuple(s.id for s in pipeline.stages if s.id in stages),
        tuple(g for g in gates if g in asked and g not in by_name),
        tuple(r for r in reports if r in asked and r not in by_name and r not in gates),
        tuple(a for a in actions if a in asked and a not in by_name and a not in gates and a not in reports),
    )


def event(pipeline: Pipeline, event_id: str) -> Event:
    """The event with that id, or the only one of that kind. Raises `Failure` with the ids that there are."""
    of_kind = [e for e in pipeline.events if e.kind == event_id.replace("-", "_")]
    for candidate in pipeline.events:
        if candidate.id == event_id or of_kind == [candidate]:
            return candidate
    known = [e.id for e in pipeline.events]
    guess = nearest(event_id, known)
    raise Failure(
        f"there is no event `{event_id}`",
        help=f"did you mean `{guess}`?" if guess else f"events: {', '.join(known) or 'none'}",
        code=2,
    )


def under_event(pipeline: Pipeline, event: Event, keep: Iterable[str] = ()) -> Pipeline:
    """The pipeline with the parameter values that hold under `event`; parameters in `keep` stay as they
    are.
    """
    fixed = set(keep)
    values = {i.name: i.default for i in event.inputs} | dict(event.with_params)
    params = tuple(
        replace(p, value=values[p.name]) if p.name in values and p.name not in fixed else p
        for p in pipeline.params
    )
    known = {p.name for p in params}
    added = tuple(Param(i.name, i.type, i.default) for i in event.inputs if i.name not in known)
    return replace(pipeline, params=params + added)


def upstream(stage: Stage) -> tuple[str, ...]:
    """Ids of the stages that must be done before this one, sorted."""
    ids = {s.stage for i in stage.inputs for s in i.sources if isinstance(s, StageOutput)}
    return tuple(sorted(ids | set(stage.after)))


def closure(pipeline: Pipeline, stages: Iterable[str]) -> tuple[Stage, ...]:
    """Those stages and all that they need, in the pipeline's (topological) order."""
    by_id = {s.id: s for s in pipeline.stages}
    needed: set[str] = set()
    todo = list(stages)
    while todo:
        stage = todo.pop()
        if stage not in needed:
            needed.add(stage)
            todo.extend(upstream(by_id[stage]))
    return tuple(s for s in pipeline.stages if s.id in needed)


def _unknown(name: str, known: list[str]) -> Failure:
    guess = nearest(name, known)
    names = ", ".join(sorted(set(known))[:20])
    return Failure(
        f"there is no stage, gate or report `{name}`",
        help=f"did you mean `{guess}`?"
        if guess
        else f"there are: {names}"
        if names
        else "the pipeline is empty",
        code=2,
    )
