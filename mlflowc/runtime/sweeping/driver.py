"""One sweep while it runs: which trial comes next, and what came of those that are done.

Trials go in rounds. All of a grid, and all random draws, are one round; with `tpe` a round has `parallel`
trials, which are chosen when those of the rounds before are done. So a run that was interrupted, a run on
another machine, and the jobs of a CI service choose the same trials and find each other's results.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, field
from mlflowc.ir import sweeps
from mlflowc.ir.model import Param, Stage, Sweep, Value
from mlflowc.ir.sweeps import Part
from mlflowc.runtime.records import Metrics, OutputRecord
from mlflowc.runtime.sweeping import points, tpe
from mlflowc.runtime.sweeping.points import Point


@dataclass(frozen=True, slots=True)
class Trial:
    """`stage` is the swept stage with the trial's values. `own`: it is to be run here if it was not yet,
    and with `again` even if it was."""

    number: int
    point: Mapping[str, Value]
    stage: Stage
    own: bool = True
    again: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a trial: `key`, `metrics` and `outputs` of its result, `seconds` of its command (None: not
    known).

    `message` says why it failed. `cached`: there was a result before.
    """

    trial: Trial
    good: bool
    key: str = ""
    metrics: Metrics = field(default_factory=dict)
    outputs: tuple[OutputRecord, ...] = ()
    seconds: float | None = None
    message: str = ""
    cached: bool = False


class Driver:
    """Only the thread that schedules touches it."""

    def __init__(
        self, sweep: Sweep, base: Stage, params: Mapping[str, Param], part: Part | None = None
    ) -> None:
        """`base` is the swept stage. `part`: only that of the sweep is done here, the rest is known."""
        self.sweep = sweep
        self.part = part
        self.done: list[Done] = []
        self.stopped = False
        self._base = base
        self._whole = frozenset(v.param for v in sweep.vary if params[v.param].type.name == "int")
        self._best: tuple[tuple[float, int], Done] | None = None
        self._queue: deque[Trial] = deque()
        self._running = 0
        self._round = 0
        self._number = 0
        self._last = sweeps.rounds(sweep) - 1 if part is None or part.index is None else part.round

    def next(self) -> Trial | None:
        """A trial to be run now; None while enough of them run, or others must be done first.

        Raises `Failure` where the trials of a round cannot be chosen.
        """
        # The jobs of a service are what runs at once there.
        if self._running >= (self.sweep.parallel if self.part is None else 1):
            return None
        if not self._queue and not self._running and self._round <= self._last:
            self._choose()
        if not self._queue:
            return None
        self._running += 1
        return self._queue.popleft()

    def tell(self, done: Done) -> None:
        """A trial that `next` gave is done."""
        self._running -= 1
        self.done.append(done)
        self._compare(done)

    def again(self, trial: Trial, once_more: Trial) -> None:
        """Has a trial run once more: what it made is gone."""
        self.done = [d for d in self.done if d.trial is not trial]
        self._best = None
        for done in self.done:
            self._compare(done)
        self._queue.append(once_more)

    @property
    def over(self) -> bool:
        """Whether all trials are done."""
        return not self._running and (self.stopped or (not self._queue and self._round > self._last))

    @property
    def idle(self) -> bool:
        """Whether none runs."""
        return not self._running

    def value(self, done: Done) -> float | None:
        """What the goal is about; None for a trial that failed, or whose value is no number."""
        value = done.metrics.get(self.sweep.output, {}).get(self.sweep.field) if done.good else None
        return None if value is None or not math.isfinite(value) else float(value)

    def best(self) -> Done | None:
        """The trial with the best value, of equal ones the first; None where there is none."""
        return self._best[1] if self._best is not None else None

    def _compare(self, done: Done) -> None:
        value = self.value(done)
        if value is None:
            return
        rank = (value if self.sweep.goal == "maximize" else -value, -done.trial.number)
        if self._best is None or rank > self._best[0]:
            self._best = (rank, done)

    def _choose(self) -> None:
        lost = [d for d in self.done if unknown(d)]
        if lost and self._round:
            raise missing(self.sweep, lost[0])
        chosen = self._points()
        for position, point in enumerate(chosen):
            self._number += 1
            own = self.part is None or self.part.has(self._round, position)
            if (
                self.part is not None
                and self.part.index is not None
                and self._round == self._last
                and not own
            ):
                continue  # another job's, and nothing here waits for it
            stage = sweeps.trial(self.sweep, self._base, self._number, point)
            self._queue.append(Trial(self._number, point, stage, own))
        self._round += 1

    def _points(self) -> list[Point]:
        total = sweeps.count(self.sweep)
        if self.sweep.search == "grid":
            return points.grid(self.sweep)
        if self.sweep.search == "random":
            return points.random(self.sweep, total, self._whole)
        size = min(self.sweep.parallel, total - self._number)
        told = [
            tpe.Told(dict(d.trial.point), self.value(d))
            for d in sorted(self.done, key=lambda d: d.trial.number)
        ]
        return tpe.propose(self.sweep, told, self._round, size, self._whole)


def unknown(done: Done) -> bool:
    """Whether another job had to run this trial, and nothing is known of it."""
    return not (done.good or done.cached or done.trial.own)


def missing(sweep: Sweep, done: Done) -> Failure:
    """What to say then."""
    return Failure(
        f"trial {done.trial.number} of `{sweep.name}` {done.message}",
        help="run the job again that was to run it; trials that are done stay done",
    )


def nothing_good(driver: Driver) -> Failure:
    """Why a sweep has no best trial."""
    name, goal = driver.sweep.name, f"{driver.sweep.output}.{driver.sweep.field}"
    good = [d for d in driver.done if d.good]
    if good:
        return Failure(f"no trial of `{name}` has a number for `{goal}`", help="NaN and infinity are none")
    first = min(driver.done, key=lambda d: d.trial.number)
    return Failure(
        f"all {len(driver.done)} trials of `{name}` failed; the first: {first.message.rstrip('.')}",
        help=f"its output and log are under `.mlpipe/failed/{first.trial.stage.id}/`",
    )
