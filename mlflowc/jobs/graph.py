"""The stages that an event wants, their edges, and how they fuse into jobs.

One job a stage is wrong (each start costs a minute), one job for all is wrong (no parallelism, and a GPU
waits for a CSV). So: take the stages wanted, leave out the edges that follow from others, and join along
what is then a chain: `a -> b` where `b` is all that follows `a` and `a` is all that `b` waits for, and
both run in the same place, environment and trust. Joining only chains can never make a cycle, and never
puts two stages that could run at once into one job.

Sets of stages are ints used as bit sets: stage `i` of the topological order is bit `i`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping

from mlflowc.frozen import dataclass
from mlflowc.ir.model import Pipeline, Stage, StageOutput


@dataclass(frozen=True, slots=True)
class Wanted:
    """Stages in topological order, and for each the ids of its direct predecessors among them."""

    stages: tuple[Stage, ...]
    before: Mapping[str, tuple[str, ...]]


def predecessors(stage: Stage) -> tuple[str, ...]:
    """The ids of the stages that `stage` reads from or comes after, each once, in the order declared."""
    read = [s.stage for i in stage.inputs for s in i.sources if isinstance(s, StageOutput)]
    return tuple(dict.fromkeys([*read, *stage.after]))


def wanted(pipeline: Pipeline, targets: Iterable[str]) -> Wanted:
    """`targets` (stage ids) and everything upstream of them."""
    by_id = {s.id: s for s in pipeline.stages}
    seen: set[str] = set()
    stack = [t for t in targets if t in by_id]
    while stack:
        id = stack.pop()
        if id not in seen:
            seen.add(id)
            stack.extend(p for p in predecessors(by_id[id]) if p in by_id)
    stages = tuple(s for s in pipeline.stages if s.id in seen)
    return Wanted(stages, {s.id: tuple(p for p in predecessors(s) if p in seen) for s in stages})


def fuse(graph: Wanted, place: Callable[[Stage], Hashable]) -> list[list[Stage]]:
    """The stages as chains, in a topological order; stages of one chain agree in `place`."""
    number = {s.id: n for n, s in enumerate(graph.stages)}
    direct = _reduced(graph, number)
    followers = [0] * len(graph.stages)
    for before in direct:
        for b in before:
            followers[b] += 1
    chains: list[list[Stage]] = []
    chain_of: list[int] = []
    for n, stage in enumerate(graph.stages):
        before = direct[n]
        joined = None
        if len(before) == 1 and followers[before[0]] == 1:
            last = graph.stages[before[0]]
            if place(last) == place(stage):
                joined = chain_of[before[0]]
        if joined is None:
            joined = len(chains)
            chains.append([])
        chains[joined].append(stage)
        chain_of.append(joined)
    # Chains stand in the order of their first stages. That order is topological: only a chain's first
    # stage waits for anything outside, and only its last is waited for.
    return chains


def _reduced(graph: Wanted, number: Mapping[str, int]) -> list[list[int]]:
    """The transitive reduction: for each stage the predecessors that no other predecessor implies."""
    ancestors: list[int] = []
    direct: list[list[int]] = []
    for stage in graph.stages:
        before = [number[p] for p in graph.before[stage.id]]
        implied = 0
        for b in before:
            implied |= ancestors[b]
        direct.append([b for b in before if not implied >> b & 1])
        for b in before:
            implied |= 1 << b
        ancestors.append(implied)
    return direct
