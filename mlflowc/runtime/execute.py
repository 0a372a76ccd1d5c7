"""Runs a plan: as many stages at once as there is room for, each as soon as those before it are done."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, TypeAlias

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, replace
from mlflowc.ir.sweeps import Part
from mlflowc.runtime import commits, inuse, publish, targets, unlike
from mlflowc.runtime.events import Listener, Outcome, RunResult, Silent, StageResult
from mlflowc.runtime.index import Run
from mlflowc.runtime.lockfile import LockFile, StageEntry, changing
from mlflowc.runtime.plan import Action, Outputs, Plan, Step
from mlflowc.runtime.records import made_text
from mlflowc.runtime.resources import Resources, Share
from mlflowc.runtime.threads import Threads
from mlflowc.runtime.worker import Shared, work
from mlflowc.runtime.workspace import Workspace

if TYPE_CHECKING:
    from mlflowc.runtime.sandbox.guard import Guard
    from mlflowc.runtime.sweeping.driver import Done, Driver
    from mlflowc.runtime.sweeping.running import Lost, Opened, Sweeps


@dataclass(frozen=True, slots=True)
class Options:
    """`jobs`: stages at once (None: one a processor). `keep_going`: run what does not depend on a failed
    stage. `guard`: the sandbox to run commands in. `gpus`: how many GPUs to share out (None: those that are
    there). `part`: of sweeps, only a job's part of the trials.
    """

    jobs: int | None = None
    keep_going: bool = False
    guard: Guard | None = None
    gpus: int | None = None
    part: Part | None = None


def run(
    ws: Workspace, plan: Plan, options: Options | None = None, listener: Listener | None = None
) -> RunResult:
    """Does what the plan says. Writes `mlpipe.lock` and the index, whatever happens.

    An interrupt (SIGINT, SIGTERM, SIGHUP) ends the commands and gives a result that is `interrupted`. Raises
    `Failure` before anything runs when an input is missing.
    """
    options = options or Options()
    told = _OneByOne(listener or Silent())
    began = ws.clock.monotonic()
    blocked = [s for s in plan.steps if s.action is Action.BLOCKED]
    if blocked and not options.keep_going:
        raise Failure(
            f"stage `{blocked[0].stage.id}` cannot run: {blocked[0].reason}",
            help="restore the file, or correct the pipeline; `mlpipec check` finds such mistakes",
        )
    told.planned(plan)
    schedule = _Schedule(ws, plan, options, told)
    if schedule.todo:
        ws.prepare()
        with inuse.using(ws.cache_state):
            schedule.run()
    results = tuple(_beside_lock(ws, schedule.results[s.stage.id]) for s in plan.steps)
    publish.sweep(ws, (ws.stage(r.stage) for r in results if r.outcome.good))
    result = RunResult(results, ws.clock.monotonic() - began, schedule.interrupted)
    remember(ws, plan, result)
    told.ended(result)
    return result


def run_part(
    ws: Workspace, plan: Plan, options: Options, listener: Listener | None = None
) -> tuple[Driver | None, RunResult]:
    """Runs the part `options.part` of the sweep that is the last step of `plan`, and leaves no result of it.

    Gives what came of its trials; None where the sweep's result is here already. Raises `Failure` where the
    trials cannot be chosen.
    """
    told = _OneByOne(listener or Silent())
    began = ws.clock.monotonic()
    told.planned(plan)
    schedule = _Schedule(ws, plan, options, told)
    if schedule.todo:
        ws.prepare()
        with inuse.using(ws.state):
            schedule.run()
    stage = plan.steps[-1].stage.id
    result = schedule.results[stage]
    if result.outcome is Outcome.FAILED:
        raise Failure(result.message, help=result.help)
    ws.store.sync()
    ws.index.flush()
    ended = RunResult((result,), ws.clock.monotonic() - began, schedule.interrupted)
    return schedule.sweeps.drivers.get(stage), ended


def _beside_lock(ws: Workspace, result: StageResult) -> StageResult:
    """With word of it where a result in place is not the one that the lock names for its key."""
    if result.outcome is not Outcome.KEPT or result.unlike is not None:
        return result
    locked = ws.lock.stage(result.stage)
    if locked is None or locked.key != result.key or locked.outputs == result.outputs:
        return result
    other = unlike.against_lock(ws, result.stage, result.key, result.outputs, result.metrics)
    return replace(result, unlike=other)


def remember(ws: Workspace, plan: Plan, result: RunResult) -> None:
    """Writes the results into `mlpipe.lock` (beside what another process wrote meanwhile), and the index."""
    entries = {}
    commit = functools.cache(lambda: commits.checked_out(ws.root))
    for r in result.stages:
        if r.outcome.good:
            entry = StageEntry(r.key, r.outputs, r.metrics, ws.values(ws.stage(r.stage)))
            before = ws.lock.stage(r.stage)
            if before != entry:
                entries[r.stage] = entry
            if r.outcome is Outcome.KEPT and before is not None and (before.key != r.key or r.unlike):
                note = r.unlike.note if r.unlike else ""
                made = made_text(r.outputs, r.metrics, entry.params)
                kept = Run(r.stage, r.key, ws.clock.now(), 0.0, "kept", None, commit(), note, made)
                ws.index.remember_run(kept)
    known = {"stage": ws.stages, "data": ws.pinned}
    stale = any(kind in known and name not in known[kind] for kind, name in ws.lock.entries)
    if entries or stale or ws.lock is not ws.lock_read:
        ws.prepare()
        with changing(ws.state):
            # What others wrote meanwhile stays; who pins data, or refreshes it, writes that at once.
            theirs = {k: e for k, e in LockFile.read(ws.root).entries.items() if k[0] in ("stage", "data")}
            mine = {k: e for k, e in ws.lock.entries.items() if k[0] not in ("stage", "data")}
            ws.lock = LockFile({**mine, **theirs}).with_stages(entries).keeping("stage", ws.stages)
            ws.lock = ws.lock.keeping("data", ws.pinned)
            ws.lock.write(ws.root, ws.fs)
            ws.lock_read = ws.lock
    if any(r.outcome is not Outcome.KEPT for r in result.stages):
        ws.store.sync()
    ws.index.flush()


_PATIENCE = 0.5

_News: TypeAlias = "StageResult | Opened | Lost | tuple[StageResult, Done] | BaseException"
_Finished: TypeAlias = "queue.SimpleQueue[tuple[str, _News, Share] | None]"


class _Schedule:
    """The state of one run. Only the thread that calls `run` touches it."""

    def __init__(self, ws: Workspace, plan: Plan, options: Options, listener: Listener) -> None:
        self.ws = ws
        self.results: dict[str, StageResult] = {}
        self.interrupted = False
        self._plan = plan
        self._options = options
        self._listener = listener
        self._outputs: dict[str, Outputs | None] = {}
        self._jobs = options.jobs or os.cpu_count() or 1
        self._resources = Resources(self._jobs, gpus=options.gpus)
        self._stopping = False
        self._shared = Shared(
            ws,
            plan.planner,
            listener,
            functools.cache(lambda: commits.checked_out(ws.root)),
            guard=options.guard,
        )
        self._sweeping = any(s.stage.sweep is not None for s in plan.steps)
        self._steps = {s.stage.id: s for s in plan.steps}
        self._waiting: dict[str, int] = {}
        self._after: dict[str, list[str]] = {}
        self._ready: deque[str] = deque()
        self._finished: _Finished = queue.SimpleQueue()
        self._running = 0
        self._begun: set[str] = set()
        self._closing: set[str] = set()
        self._bug: BaseException | None = None
        self.todo: dict[str, Step] = {}
        for step in plan.steps:
            if step.action is Action.KEEP:
                self._done(_up_to_date(step), quiet=True)
            elif step.action is Action.BLOCKED:
                self._done(StageResult(step.stage.id, Outcome.FAILED, message=step.reason))
            else:
                self.todo[step.stage.id] = step

    @functools.cached_property
    def sweeps(self) -> Sweeps:
        """Those under way."""
        from mlflowc.runtime.sweeping.running import Sweeps  # most runs have none

        return Sweeps(self._shared, self._options.part)

    def run(self) -> None:
        """Until everything is done, one way or another."""
        self._prepare()
        with _interrupts(self._finished), Threads(self._jobs, "stage") as pool:
            while True:
                self._start(pool)
                if not self._running:
                    break
                self._take_one()
        if self._bug is not None:
            raise self._bug
        for stage in self.todo:
            if stage not in self.results:
                if self.interrupted:
                    begun = stage in self._begun
                    self._done(StageResult(stage, Outcome.CANCELLED if begun else Outcome.SKIPPED))
                else:
                    note = "another stage failed; `--keep-going` goes on"
                    self._done(StageResult(stage, Outcome.SKIPPED, note=note))

    def _take_one(self) -> None:
        try:
            # Not for ever: a signal that comes just before waiting begins is noticed when it ends.
            news = self._finished.get(timeout=_PATIENCE)
        except queue.Empty:
            return
        if news is None:
            if self.interrupted:
                # Asked for the second time: no more patience.
                self._shared.hurry.set()
            else:
                self._listener.stopping(self._running)
            self.interrupted = True
            self._stop()
            return
        stage, outcome, share = news
        self._running -= 1
        self._resources.give(share)
        if isinstance(outcome, BaseException):
            self._bug = self._bug or outcome
            self._stop()
            outcome = StageResult(stage, Outcome.FAILED, message=repr(outcome))
        self._take(stage, outcome)

    def _take(self, stage: str, news: StageResult | Opened | Lost | tuple[StageResult, Done]) -> None:
        if isinstance(news, StageResult):
            self._done(news)
            return
        from mlflowc.runtime.sweeping.running import Lost, Opened  # most runs have no sweep

        if isinstance(news, Opened):
            self.sweeps.open(news)
        elif isinstance(news, Lost):
            self._closing.discard(stage)
            self.sweeps.lost(self.sweeps.opened[stage], news)
        else:
            self.sweeps.told(self.sweeps.opened[stage], *news)

    def _prepare(self) -> None:
        for stage, step in self.todo.items():
            before = [s for s in targets.upstream(step.stage) if s in self.todo]
            self._waiting[stage] = len(before)
            for s in before:
                self._after.setdefault(s, []).append(stage)
            failed = [s for s in targets.upstream(step.stage) if s in self.results and not self._good(s)]
            if failed:
                self._skip(stage)
        self._ready.extend(s for s in self.todo if not self._waiting[s] and s not in self.results)

    def _start(self, pool: Threads) -> None:
        passed: list[str] = []
        refused: set[str] = set()
        while self._ready and not self._stopping and not self._resources.full:
            stage = self._ready.popleft()
            step = self._steps[stage]
            runner = step.stage.runner or ""
            share = None if runner in refused else self._resources.take(self.ws.runners.get(runner))
            if share is None:
                refused.add(runner)
                passed.append(stage)
                continue
            upstream = {s: self._outputs.get(s) for s in targets.upstream(step.stage)}
            if share.note:
                self._listener.note(stage, share.note)
            if step.stage.sweep is not None:
                self._submit(pool, stage, share, functools.partial(self.sweeps.begin, step, upstream))
            else:
                job = functools.partial(work, self._shared, step, upstream, share.visible)
                self._submit(pool, stage, share, job)
        self._ready.extendleft(reversed(passed))
        if self._sweeping:
            for opened in list(self.sweeps.opened.values()):
                self._start_trials(pool, opened)

    def _start_trials(self, pool: Threads, opened: Opened) -> None:
        runner = self.ws.runners.get(opened.step.stage.runner or "")
        while not self._stopping and not self._resources.full:
            share = self._resources.take(runner)
            if share is None:
                return
            try:
                trial = opened.driver.next()
            except Failure as e:
                self._resources.give(share)
                del self.sweeps.opened[opened.name]
                self._done(
                    StageResult(opened.name, Outcome.FAILED, opened.step.key, message=e.message, help=e.help)
                )
                return
            if trial is not None:
                job = functools.partial(self.sweeps.run, opened, trial, share.visible)
                self._submit(pool, opened.name, share, job)
                continue
            self._resources.give(share)
            if opened.driver.over and opened.name not in self._closing:
                self._close(pool, opened)
            return

    def _close(self, pool: Threads, opened: Opened) -> None:
        """All trials are done: what the sweep leaves is written; by one job, if several shared the trials."""
        part = self._options.part
        if part is not None and part.index is not None:
            self.results[opened.name] = StageResult(opened.name, Outcome.KEPT)
            del self.sweeps.opened[opened.name]
            return
        share = self._resources.take(None)
        if share is not None:
            self._closing.add(opened.name)
            self._submit(pool, opened.name, share, functools.partial(self.sweeps.finish, opened))

    def _submit(self, pool: Threads, stage: str, share: Share, job: Callable[[], _News]) -> None:
        def run() -> None:
            try:
                self._finished.put((stage, job(), share))
            except BaseException as e:
                self._finished.put((stage, e, share))

        self._running += 1
        self._begun.add(stage)
        pool.submit(run)

    def _done(self, result: StageResult, *, quiet: bool = False) -> None:
        self.results[result.stage] = result
        if self._sweeping:
            self.sweeps.opened.pop(result.stage, None)
        self._outputs[result.stage] = result.outputs if result.outcome.good else None
        if not quiet:
            self._listener.finished(result)
        if quiet:
            return
        if result.outcome.good:
            for after in self._after.get(result.stage, ()):
                self._waiting[after] -= 1
                if not self._waiting[after] and after not in self.results:
                    self._ready.append(after)
            return
        if result.outcome is Outcome.FAILED and not self._options.keep_going:
            self._stopping = True
        for after in self._after.get(result.stage, ()):
            self._skip(after)

    def _skip(self, stage: str) -> None:
        if stage not in self.results and not self.interrupted:
            self._done(StageResult(stage, Outcome.SKIPPED, note="a stage before it failed"))

    def _good(self, stage: str) -> bool:
        return self.results[stage].outcome.good

    def _stop(self) -> None:
        self._stopping = True
        self._shared.cancel.set()


def _up_to_date(step: Step) -> StageResult:
    saved = step.record.seconds if step.record else 0.0
    return StageResult(step.stage.id, Outcome.KEPT, step.key, step.outputs, step.metrics, saved=saved)


class _OneByOne:
    """Passes on to a listener, one call at a time."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._guard = threading.Lock()

    def planned(self, plan: Plan) -> None:
        with self._guard:
            self._listener.planned(plan)

    def started(self, stage: str, reason: str) -> None:
        with self._guard:
            self._listener.started(stage, reason)

    def output(self, stage: str, lines: bytes) -> None:
        with self._guard:
            self._listener.output(stage, lines)

    def note(self, stage: str, text: str) -> None:
        with self._guard:
            self._listener.note(stage, text)

    def stopping(self, running: int) -> None:
        with self._guard:
            self._listener.stopping(running)

    def finished(self, result: StageResult) -> None:
        with self._guard:
            self._listener.finished(result)

    def ended(self, result: RunResult) -> None:
        with self._guard:
            self._listener.ended(result)


@contextlib.contextmanager
def _interrupts(finished: _Finished) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP become None in the queue, where this is the main thread: nothing is torn in
    the middle.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        finished.put(None)

    # What whoever started this ignores (`nohup`) stays ignored.
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [s for s in wanted if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, interrupt) for s in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
