"""Look-ups over a pipeline: by name, and along its edges. Plain dictionaries, built when first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from mlflowc.ir import model as ir


class Index:
    """A pipeline with its things by name. Ids are those of stage instances, `train[de]`."""

    def __init__(self, pipeline: ir.Pipeline) -> None:
        self.pipeline = pipeline

    @cached_property
    def stages(self) -> Mapping[str, ir.Stage]:
        """Stages by id, in topological order."""
        return {s.id: s for s in self.pipeline.stages}

    @cached_property
    def instances(self) -> Mapping[str, tuple[str, ...]]:
        """The ids of the instances of each declared stage; itself for one without `each`."""
        found: dict[str, list[str]] = {}
        for stage in self.pipeline.stages:
            found.setdefault(stage.name, []).append(stage.id)
        return {name: tuple(ids) for name, ids in found.items()}

    @cached_property
    def params(self) -> Mapping[str, ir.Param]:
        """Parameters by dotted name."""
        return {p.name: p for p in self.pipeline.params}

    @cached_property
    def envs(self) -> Mapping[str, ir.Env]:
        """Environments by name."""
        return {e.name: e for e in self.pipeline.envs}

    @cached_property
    def runners(self) -> Mapping[str, ir.Runner]:
        """Runners by name."""
        return {r.name: r for r in self.pipeline.runners}

    @cached_property
    def data(self) -> Mapping[str, ir.Data]:
        """Data by name."""
        return {d.name: d for d in self.pipeline.data}

    @cached_property
    def outputs(self) -> Mapping[tuple[str, str], ir.Output]:
        """Outputs by stage id and name."""
        return {(s.id, o.name): o for s in self.pipeline.stages for o in s.outputs}

    @cached_property
    def upstream(self) -> Mapping[str, tuple[str, ...]]:
        """For each stage id the ids that it waits for: what it reads, then what it runs after; each once."""
        return {s.id: tuple(dict.fromkeys([*_reads(s.inputs), *s.after])) for s in self.pipeline.stages}

    @cached_property
    def downstream(self) -> Mapping[str, tuple[str, ...]]:
        """For each stage id the ids that wait for it, in topological order."""
        found: dict[str, list[str]] = {s.id: [] for s in self.pipeline.stages}
        for stage, before in self.upstream.items():
            for name in before:
                found[name].append(stage)
        return {name: tuple(users) for name, users in found.items()}

    def closure(self, ids: Iterable[str]) -> tuple[str, ...]:
        """`ids` and everything upstream of them, in topological order. Raises KeyError for an unknown id."""
        return self._reach(ids, self.upstream)

    def users(self, ids: Iterable[str]) -> tuple[str, ...]:
        """`ids` and everything downstream of them, in topological order. Raises KeyError for an unknown
        id."""
        return self._reach(ids, self.downstream)

    def _reach(self, ids: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        waiting = list(ids)
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(edges[name])
        return tuple(name for name in self.stages if name in seen)


def _reads(inputs: tuple[ir.Input, ...]) -> list[str]:
    return [s.stage for i in inputs for s in i.sources if isinstance(s, ir.StageOutput)]
