"""Results go to the remote while the run that makes them goes on."""

from __future__ import annotations

import queue
import threading

from mlflowc.commands import sharing
from mlflowc.runtime import pins
from mlflowc.runtime.events import Listener, Outcome, RunResult, StageResult
from mlflowc.runtime.plan import Plan
from mlflowc.runtime.progress import count, size
from mlflowc.runtime.remotes.link import Link, Sum
from mlflowc.runtime.remotes.names import TRUSTED
from mlflowc.runtime.workspace import Workspace

# So many results may wait for their turn. What finds no room is pushed when the run has ended.
_ROOM = 256
# Results that are pushed in one go, at most.
_BATCH = 64


class Courier:
    """A listener that pushes what stages made, in a thread of its own, as far as this job may do so unasked.

    Everything is passed on to `listener`. Nothing that goes wrong with the remote makes the run fail: what
    was not pushed, `mlpipec cache push` sends later.
    """

    def __init__(self, link: Link | None, ws: Workspace, listener: Listener) -> None:
        self._link = link if link is not None and link.place.trust.unasked else None
        self._ws = ws
        self._listener = listener
        self._waiting: queue.Queue[str | None] = queue.Queue(_ROOM)
        self._sum = Sum()
        self._thread: threading.Thread | None = None

    def finish(self, result: RunResult, *, all_good: bool = False) -> list[str]:
        """Waits for what is on its way, pushes the rest (with `all_good`, also what was there before the
        run), and returns lines that tell. After an interrupt nothing more is sent.
        """
        if self._link is None:
            return []
        if result.interrupted:
            self._link.stop()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
        if result.interrupted:
            return []
        good = (Outcome.RAN, Outcome.RESTORED, Outcome.KEPT) if all_good else (Outcome.RAN,)
        self._push([r.key for r in result.stages if r.outcome in good and r.key not in self._sum.keys])
        ran = [self._ws.stage(r.stage) for r in result.stages if r.outcome is Outcome.RAN]
        data = self._link.push(pins.held(self._ws, ran))
        if data is not None:
            self._sum.add(data)
        lines = []
        if self._sum.new:
            where = self._link.place.trust.writes or TRUSTED
            space = "" if where == TRUSTED else f" ({where})"
            sent = f"{count(self._sum.new, 'result')} pushed to {self._link.place.address}{space}"
            lines.append(f"{sent}, {size(self._sum.bytes)}")
        return [*lines, *sharing.differing(self._sum.unlike)]

    # --- see `Listener`

    def planned(self, plan: Plan) -> None:
        """Passed on."""
        self._listener.planned(plan)

    def started(self, stage: str, reason: str) -> None:
        """Passed on."""
        self._listener.started(stage, reason)

    def output(self, stage: str, lines: bytes) -> None:
        """Passed on."""
        self._listener.output(stage, lines)

    def note(self, stage: str, text: str) -> None:
        """Passed on."""
        self._listener.note(stage, text)

    def stopping(self, running: int) -> None:
        """Passed on."""
        self._listener.stopping(running)

    def finished(self, result: StageResult) -> None:
        """Passed on; and what the stage made is put on the way."""
        self._listener.finished(result)
        if self._link is None or result.outcome is not Outcome.RAN:
            return
        if self._thread is None:
            # A run that is killed does not wait for it: a push that breaks off leaves nothing half.
            self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(result.key)
        except queue.Full:
            return

    def ended(self, result: RunResult) -> None:
        """Passed on."""
        self._listener.ended(result)

    # --- the thread

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            ended = False
            while len(batch) < _BATCH and not self._waiting.empty():
                key = self._waiting.get()
                if key is None:
                    ended = True
                    break
                batch.append(key)
            self._push(batch)
            if ended:
                return

    def _push(self, keys: list[str]) -> None:
        records = (self._ws.store.record(key) for key in keys)
        done = self._link.push(r for r in records if r is not None) if self._link is not None else None
        if done is not None:
            self._sum.add(done)
