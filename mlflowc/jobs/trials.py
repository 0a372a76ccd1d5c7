"""What a job that runs some trials of a sweep hands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlflowc.errors import Failure
from mlflowc.jobs.handover import FOLDER, ignored_folder
from mlflowc.jobs.model import Job
from mlflowc.runtime import bundle
from mlflowc.runtime.bundle import Bundle, BundleError
from mlflowc.runtime.plan import Plan
from mlflowc.runtime.records import Record
from mlflowc.runtime.sweeping import results
from mlflowc.runtime.sweeping.components import failed
from mlflowc.runtime.sweeping.driver import Done, Driver
from mlflowc.runtime.workspace import Workspace


def depart(
    ws: Workspace,
    job: Job,
    plan: Plan,
    driver: Driver | None,
    deep: Mapping[str, str | None],
    shared: Callable[[Record], bool] | None = None,
) -> int:
    """Writes the bundle of a job that ran some trials; returns its size in bytes. Raises `Failure`.

    What came of every trial goes along, also of those that other jobs ran before; of what they wrote only
    that of the best so far, unless it is `shared`. So the jobs of the last round know and have all that is
    needed.
    """
    known = [r for s in plan.steps if s.key and (r := ws.store.record(s.key)) is not None]
    own: list[Record] = []
    upstream = {r.key: r for r in known if r.stage not in job.stages}
    if driver is not None:
        best = driver.best()
        for done in driver.done:
            record = _record(ws, done)
            whole = done is best and results.has_content(ws, done)
            if whole and not (shared is not None and shared(record)):
                own.append(record)
            elif record.key:
                upstream[record.key] = record
    # The deep key of the sweep stands for the job: with it, what the job left counts as what it would make.
    keys = {s: k for s in job.stages if (k := deep.get(s)) is not None}
    try:
        ignored_folder(ws.root / FOLDER)
        made = Bundle(job.id, tuple(own), tuple(upstream.values()), keys)
        return bundle.write(made, ws.root / FOLDER / f"{job.id}.tar", ws.store)
    except BundleError as e:
        raise Failure(f"cannot hand over the trials of `{job.id}`: {e}", help="run the job again") from e
    except OSError as e:
        raise Failure(f"cannot write `{FOLDER}/{job.id}.tar`: {e.strerror}") from e


def _record(ws: Workspace, done: Done) -> Record:
    """The record of a trial; of one that failed, that it did; made up where only the lock speaks of it."""
    stage = done.trial.stage
    if not done.good:
        return failed(stage.id, done.key)
    there = ws.store.record(done.key)
    return there or Record(done.key, stage.id, {}, done.outputs, done.metrics, ws.values(stage))
