"""Threads that do jobs. As `concurrent.futures`, which brings `logging` along and is slow to import."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self


class Threads:
    """At most `most` threads, each made when there is no idle one for a job. The end of the `with` block
    waits for all jobs. A job tells its outcome itself, and raises nothing.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._made: list[threading.Thread] = []

    def submit(self, job: Callable[[], object]) -> None:
        """Has `job` done by the next thread that is free."""
        self._jobs.put(job)
        if self._idle.acquire(blocking=False) or len(self._made) == self._most:
            return
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._made)}")
        self._made.append(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # and all that it knows, while this waits
            self._idle.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._made:
            self._jobs.put(None)
        for thread in self._made:
            thread.join()
