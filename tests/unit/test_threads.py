"""Threads that do jobs, for runs."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from mlflowc.runtime.threads import Threads


def test_all_jobs_are_done_at_the_end_by_no_more_threads_than_allowed() -> None:
    done: list[int] = []
    names: set[str] = set()

    def job(number: int) -> None:
        names.add(threading.current_thread().name)
        done.append(number)

    with Threads(3, "stage") as pool:
        for number in range(200):
            pool.submit(partial(job, number))
    assert sorted(done) == list(range(200))
    assert names <= {"stage_0", "stage_1", "stage_2"}


def test_as_many_at_once_as_allowed() -> None:
    # Each waits for the others: with fewer threads this would not end.
    together = threading.Barrier(4, timeout=60)
    with Threads(4, "stage") as pool:
        for _ in range(4):
            pool.submit(together.wait)
    assert not together.broken


def test_jobs_are_waited_for_after_an_error_too() -> None:
    done: list[int] = []
    go = threading.Event()

    def job() -> None:
        go.wait(60)
        done.append(1)

    with pytest.raises(ValueError, match="ours"), Threads(1, "stage") as pool:
        pool.submit(job)
        go.set()
        raise ValueError("ours")
    assert done == [1]
