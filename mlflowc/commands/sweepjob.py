"""A job that runs some trials of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from mlflowc import terminal
from mlflowc.commands.courier import Courier
from mlflowc.errors import Failure
from mlflowc.jobs import handover, trials
from mlflowc.jobs.model import Job
from mlflowc.runtime import execute, progress
from mlflowc.runtime.plan import Plan
from mlflowc.runtime.remotes.link import Link
from mlflowc.runtime.sandbox.guard import Guard
from mlflowc.runtime.sweeping.running import counts
from mlflowc.runtime.workspace import Workspace


def run(
    ws: Workspace,
    job: Job,
    plan: Plan,
    deep: Mapping[str, str | None],
    link: Link | None,
    guard: Guard | None,
) -> int:
    """Runs the job's trials and hands them on. A trial that fails does not make the job fail."""
    courier = Courier(link, ws, progress.Lines(sys.stdout))
    driver, result = execute.run_part(ws, plan, execute.Options(guard=guard, part=job.part), courier)
    if not result.interrupted:
        for line in courier.finish(result):
            print(line)
        size = trials.depart(ws, job, plan, driver, deep, link.holds if link else None)
        words = "the sweep has a result already"
        if driver is not None:
            own = [d for d in driver.done if d.trial.own]
            found = counts(own)
            words = f"{progress.count(len(own), 'trial')}: " + ", ".join(
                f"{n} {word}" for word, n in found.items() if n
            )
        print(terminal.style(words, "bold"))
        print(f"{handover.FOLDER}/{job.id}.tar: {progress.size(size)}")
        return 0
    courier.finish(result)
    raise Failure("interrupted; trials that are done stay done", code=130)
