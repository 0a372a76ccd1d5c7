"""What a drawing of a pipeline shows: nodes and edges, already placed in layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlflowc.errors import Failure
from mlflowc.ir.model import DataRef, Input, Pipeline, StageOutput
from mlflowc.spell import nearest

KINDS = ("data", "stage", "sweep", "gate", "report", "action")
_PLURALS = {
    "data": "data sources",
    "stage": "stages",
    "sweep": "sweeps",
    "gate": "gates",
    "report": "reports",
    "action": "actions",
}


@dataclass(frozen=True, slots=True)
class Node:
    """`id` is unique in the drawing, `name` what is shown, `detail` a few words more (a runner, a source).

    `layer` is the length of the longest way to it from a node without inputs.
    """

    id: str
    kind: str
    name: str
    detail: str
    layer: int


@dataclass(frozen=True, slots=True)
class Edge:
    """From a producer to its consumer. `label` names the outputs that go along it; `dashed`: order only."""

    source: str
    target: str
    label: str = ""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """Nodes in drawing order (a producer before its consumers), edges in that of their consumers."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def summary(self) -> str:
        """`5 stages, 1 data source, 1 gate`."""
        parts = []
        for kind in sorted(KINDS, key=lambda k: k != "stage"):
            n = sum(node.kind == kind for node in self.nodes)
            if n:
                parts.append(f"{n} {_PLURALS[kind].removesuffix('s') if n == 1 else _PLURALS[kind]}")
        return ", ".join(parts) or "nothing in it"


def drawing(pipeline: Pipeline, targets: Sequence[str] = ()) -> Drawing:
    """The whole pipeline, or the named stages, gates, reports, actions with everything that they need.

    Raises `Failure` (usage) for a target that does not exist.
    """
    parts = {
        **{f"data:{d.name}": ("data", d.name, d.source) for d in pipeline.data},
        **{f"stage:{s.id}": ("stage", s.id, s.runner or "") for s in pipeline.stages},
        **{f"sweep:{s.name}": ("sweep", s.name, f"over {s.stage}") for s in pipeline.sweeps},
        **{f"gate:{g.name}": ("gate", g.name, "") for g in pipeline.gates},
        **{f"report:{r.name}": ("report", r.name, "") for r in pipeline.reports},
        **{f"action:{a.name}": ("action", a.name, a.approve or "") for a in pipeline.actions},
    }
    edges = [e for e in _edges(pipeline) if e.source in parts and e.target in parts]
    if targets:
        keep = _upstream(edges, _chosen(parts, pipeline, targets))
        parts = {id: part for id, part in parts.items() if id in keep}
        edges = [e for e in edges if e.target in keep]
    order, layers = _layers(list(parts), edges)
    nodes = tuple(Node(id, *parts[id], layer=layers[id]) for id in order)
    rank = {id: n for n, id in enumerate(order)}
    edges.sort(key=lambda e: (rank[e.target], rank[e.source]))
    return Drawing(pipeline.name, nodes, tuple(edges))


def _edges(pipeline: Pipeline) -> list[Edge]:
    names = {f"stage:{s.id}" for s in pipeline.stages}
    names |= {f"sweep:{s.name}" for s in pipeline.sweeps}
    names |= {f"gate:{g.name}" for g in pipeline.gates} | {f"action:{a.name}" for a in pipeline.actions}
    edges: list[Edge] = []
    for stage in pipeline.stages:
        edges += _consumer(f"stage:{stage.id}", stage.inputs, stage.after, names)
    for sweep in pipeline.sweeps:
        edges.append(Edge(f"stage:{sweep.stage}", f"sweep:{sweep.name}", dashed=True))
    for gate in pipeline.gates:
        edges += [Edge(f"stage:{id}", f"gate:{gate.name}") for id in gate.stages]
    for report in pipeline.reports:
        edges += [Edge(f"stage:{id}", f"report:{report.name}") for id in report.stages]
    for action in pipeline.actions:
        edges += _consumer(f"action:{action.name}", action.inputs, action.after, names)
    return edges


def _consumer(target: str, inputs: Iterable[Input], after: Iterable[str], names: set[str]) -> list[Edge]:
    """The edges into a stage or an action; `names` are the ids of all that can be referred to."""
    read: dict[str, list[str]] = {}
    for item in inputs:
        for source in item.sources:
            if isinstance(source, StageOutput):
                kind = "stage" if f"stage:{source.stage}" in names else "sweep"
                outputs = read.setdefault(f"{kind}:{source.stage}", [])
                if source.output not in outputs:
                    outputs.append(source.output)
            elif isinstance(source, DataRef):
                read.setdefault(f"data:{source.data}", [])
    edges = [Edge(source, target, ", ".join(outputs)) for source, outputs in read.items()]
    for name in after:
        before = [id for kind in ("stage", "gate", "action") if (id := f"{kind}:{name}") in names]
        edges += [Edge(id, target, dashed=True) for id in before if id not in read]
    return edges


def _chosen(parts: dict[str, tuple[str, str, str]], pipeline: Pipeline, targets: Sequence[str]) -> set[str]:
    chosen: set[str] = set()
    for target in targets:
        found = {id for id, (_, name, _) in parts.items() if name == target}
        found |= {f"stage:{s.id}" for s in pipeline.stages if s.name == target}
        if not found:
            guess = nearest(target, (name for _, name, _ in parts.values()))
            raise Failure(
                f"there is no `{target}` in the pipeline",
                help=f"did you mean `{guess}`?" if guess else "`mlpipec graph` shows all there is",
                code=2,
            )
        chosen |= found
    return chosen


def _upstream(edges: Iterable[Edge], chosen: set[str]) -> set[str]:
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge.target, []).append(edge.source)
    keep, todo = set(chosen), list(chosen)
    while todo:
        for source in sources.get(todo.pop(), ()):
            if source not in keep:
                keep.add(source)
                todo.append(source)
    return keep


def _layers(ids: Sequence[str], edges: Iterable[Edge]) -> tuple[list[str], dict[str, int]]:
    """Ids in layer order (ties as given), and the layer of each. A data source stands one layer before
    its first consumer, not at the top, where its edge would cross everything between."""
    sources: dict[str, list[str]] = {id: [] for id in ids}
    consumers: dict[str, list[str]] = {id: [] for id in ids}
    for edge in edges:
        sources[edge.target].append(edge.source)
        consumers[edge.source].append(edge.target)
    missing = {id: len(sources[id]) for id in ids}
    layers = dict.fromkeys(ids, 0)
    ready = [id for id in ids if not missing[id]]
    for id in ready:
        for consumer in consumers[id]:
            layers[consumer] = max(layers[consumer], layers[id] + 1)
            missing[consumer] -= 1
            if not missing[consumer]:
                ready.append(consumer)
    for id in ids:
        if not sources[id] and consumers[id]:
            layers[id] = max(0, min(layers[c] for c in consumers[id]) - 1)
    rank = {id: n for n, id in enumerate(ids)}
    return sorted(ids, key=lambda id: (layers[id], rank[id])), layers
