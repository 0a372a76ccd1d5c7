"""How long a run will still take, by how long its stages took when they last ran."""

from __future__ import annotations

from collections.abc import Mapping

from mlflowc.runtime import targets
from mlflowc.runtime.plan import Action, Plan

# So many stages of this run stand for those of which nothing is known.
_ENOUGH = 10


class _Mean:
    def __init__(self) -> None:
        self.count = 0
        self._sum = 0.0

    def add(self, number: float) -> None:
        self.count += 1
        self._sum += number

    @property
    def value(self) -> float:
        return self._sum / max(1, self.count)


class Remaining:
    """An estimate for the stages of `plan` that are not done, `jobs` at once.

    `lasted` says how many seconds stages took when they last ran, by id. Of one that is not there, instances
    of the same stage tell, or, from ten on, the stages of this run that are done.
    """

    def __init__(self, plan: Plan, lasted: Mapping[str, float], jobs: int) -> None:
        self._jobs = max(1, jobs)
        self._names = {s.stage.id: s.stage.name for s in plan.steps}
        self._left = {s.stage.id: s for s in plan.steps if s.action in (Action.RUN, Action.WAIT)}
        # Backwards in topological order: after a stage come those that wait for it.
        self._after: dict[str, list[str]] = {}
        for step in plan.steps:
            for before in targets.upstream(step.stage):
                self._after.setdefault(before, []).append(step.stage.id)
        self._order = [s.stage.id for s in reversed(plan.steps)]
        self._lasted = {s: t for s, t in lasted.items() if s in self._names}
        self._alike: dict[str, _Mean] = {}
        self._seen = _Mean()
        for stage, seconds in self._lasted.items():
            self._alike.setdefault(self._names[stage], _Mean()).add(seconds)

    def done(self, stage: str, seconds: float | None) -> None:
        """A stage is over; it ran for so long, or not at all (None)."""
        self._left.pop(stage, None)
        if seconds is not None and stage in self._names:
            self._alike.setdefault(self._names[stage], _Mean()).add(seconds)
            self._seen.add(seconds)

    def seconds(self, running: Mapping[str, float]) -> float | None:
        """From now on, where those `running` have been at it for so many seconds; None where nobody can tell.

        The longest chain of stages takes that long, and so does all work shared by the jobs.
        """
        total = 0.0
        ways: dict[str, float] = {}
        for stage in self._order:
            takes = self._takes(stage) if stage in self._left else 0.0
            if takes is None:
                return None
            takes = max(0.0, takes - running.get(stage, 0.0))
            total += takes
            ways[stage] = takes + max((ways[s] for s in self._after.get(stage, ())), default=0.0)
        return max(total / self._jobs, max(ways.values(), default=0.0))

    def _takes(self, stage: str) -> float | None:
        known = self._lasted.get(stage)
        if known is not None:
            return known
        alike = self._alike.get(self._names[stage])
        if alike is None and self._seen.count < _ENOUGH:
            return None
        return (alike or self._seen).value
