"""The sweeps of one run: from the decision that one has to run to its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, replace
from mlflowc.ir import sweeps
from mlflowc.ir.sweeps import Part
from mlflowc.runtime.events import Outcome, StageResult
from mlflowc.runtime.plan import Action, Step
from mlflowc.runtime.sandbox.model import Finding
from mlflowc.runtime.sweeping import desk, results, trial
from mlflowc.runtime.sweeping.driver import Done, Driver, Trial, missing, unknown
from mlflowc.runtime.sweeping.trial import Upstream
from mlflowc.runtime.worker import Shared, work


@dataclass(frozen=True, slots=True)
class Opened:
    """A sweep that runs: its step, what came before it, and its trials."""

    step: Step
    upstream: Upstream
    driver: Driver
    force: bool

    @property
    def name(self) -> str:
        """The id of its stage."""
        return self.step.stage.id


@dataclass(frozen=True, slots=True)
class Lost:
    """What a trial wrote, and is wanted, is not to be had: only its record is here."""

    trial: Trial


class Sweeps:
    """Sweeps under way. `begin`, `run` and `finish` may be called in any thread, the rest in one."""

    def __init__(self, shared: Shared, part: Part | None) -> None:
        self.opened: dict[str, Opened] = {}
        self.drivers: dict[str, Driver] = {}
        self._shared = shared
        self._part = part
        self._began: dict[str, float] = {}
        self._findings: dict[str, dict[Finding, None]] = {}

    def begin(self, step: Step, upstream: Upstream) -> StageResult | Opened:
        """What came of a sweep whose result is here; else the sweep, opened."""
        ws = self._shared.ws
        if not step.key:
            step = self._shared.planner.decide(step.stage, upstream)
        if step.action is not Action.RUN:
            return work(self._shared, step, upstream)
        sweep = ws.sweeps[step.stage.sweep or ""]
        driver = Driver(sweep, ws.stage(sweep.stage), {p.name: p for p in ws.pipeline.params}, self._part)
        return Opened(step, upstream, driver, self._shared.planner.forces(step.stage.id))

    def open(self, opened: Opened) -> None:
        """Takes a sweep in, whose trials may run from now on."""
        self.opened[opened.name] = opened
        self.drivers[opened.name] = opened.driver
        self._findings[opened.name] = {}
        self._began[opened.name] = self._shared.ws.clock.monotonic()
        trials = sweeps.count(opened.driver.sweep)
        self._shared.listener.started(opened.name, f"{opened.step.reason} ({trials} trials)")

    def run(self, opened: Opened, one: Trial, gpus: tuple[str, ...] | None) -> tuple[StageResult, Done]:
        """One trial."""
        force = opened.force or one.again
        result, done = trial.run(self._shared, one, opened.upstream, gpus, force=force)
        return result, done

    def told(self, opened: Opened, result: StageResult, done: Done) -> None:
        """A trial is done."""
        driver = opened.driver
        if result.outcome is Outcome.CANCELLED:
            driver.stopped = True
        for finding in result.findings:
            # What a trial touches undeclared, its stage does.
            self._findings[opened.name][replace(finding, stage=driver.sweep.stage)] = None
        before = driver.best()
        driver.tell(done)
        if done.cached:
            return
        value, note = driver.value(done), ""
        if value is not None:
            best = driver.best() is done and before is not None
            note = f"{driver.sweep.field} {value:.6g}" + (", the best so far" if best else "")
        self._shared.listener.finished(replace(result, note=note))

    def finish(self, opened: Opened) -> StageResult | Lost:
        """Writes what the sweep leaves, when all trials are done."""
        shared, driver = self._shared, opened.driver
        lost = [d for d in driver.done if unknown(d)]
        if lost:
            return problem(opened, missing(driver.sweep, lost[0]))
        best = driver.best()
        if best is not None and not results.has_content(shared.ws, best):
            if best.trial.own and not best.trial.again:
                return Lost(best.trial)
            message = f"what trial {best.trial.number}, the best, wrote is not here"
            return StageResult(opened.name, Outcome.FAILED, message=message)
        began = self._began[opened.name]

        def write() -> tuple[float, float, list[str]]:
            seconds, lines = results.write(shared.ws, opened.step.stage, driver)
            return seconds, began, lines

        shared.writers[opened.name] = write
        result = work(shared, opened.step, opened.upstream)
        result = replace(result, findings=tuple(self._findings[opened.name]))
        if result.outcome.good:
            for done in driver.done:
                desk.forget(shared.ws, done.key)
        return result

    def lost(self, opened: Opened, lost: Lost) -> None:
        """Has that trial run again."""
        self._shared.listener.note(
            opened.name, f"trial {lost.trial.number} is the best, and what it wrote is gone: it runs again"
        )
        opened.driver.again(lost.trial, replace(lost.trial, again=True))


def problem(opened: Opened, failure: Failure) -> StageResult:
    """A sweep whose trials cannot be chosen."""
    return StageResult(
        opened.name, Outcome.FAILED, opened.step.key, message=failure.message, help=failure.help
    )


def counts(trials: Iterable[Done]) -> Mapping[str, int]:
    """How many trials ran, were known, and failed."""
    done = list(trials)
    return {
        "ran": sum(d.good and not d.cached for d in done),
        "known": sum(d.good and d.cached for d in done),
        "failed": sum(not d.good for d in done),
    }
