"""What a stage must hold while it runs: its locks, and its inputs in place under them.

A stage holds the paths of its inputs together with others that read them, and those of its outputs alone. To
put an input in place it needs that input's path alone, too: another stage may be reading what is there. One
lock more for each such path (`fill`) sees to it that of many stages that wait for the same input one puts it
there, and the others find it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from mlflowc.errors import Failure
from mlflowc.runtime import locks
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.workspace import Workspace

_TRIES = 20


class Claim:
    """The locks of one stage: `own` alone, the paths of `inputs` together with other readers."""

    def __init__(
        self,
        ws: Workspace,
        own: Sequence[str],
        inputs: Sequence[OutputRecord],
        cancel: threading.Event,
        waiting: Callable[[str], None],
    ) -> None:
        """`waiting` is told when another process has to end first; `cancel` ends the waiting."""
        self._ws = ws
        self._own = own
        self._inputs = inputs
        self._cancel = cancel
        self._waiting = waiting

    def take(self, alone: Sequence[OutputRecord] = ()) -> locks.Held | None:
        """Takes the locks, those of the inputs `alone` exclusively; None when it was cancelled."""
        return self._acquire([*self._own, *map(_path, alone)], [_path(i) for i in self._inputs])

    def missing(self) -> list[OutputRecord]:
        """The inputs that are not in place, by a fresh look."""
        return [i for i in self._inputs if not self._in_place(i)]

    def fill(self, bring: Callable[[list[OutputRecord]], object]) -> locks.Held | None:
        """Takes the locks anew, with all inputs in place; None when it was cancelled.

        None of them may be held. `bring` puts inputs in place, or raises.
        """
        filling = self._acquire([f"fill {i.path}" for i in self.missing()], [])
        if filling is None:
            return None
        try:
            for _ in range(_TRIES):
                # Perhaps somebody has just put them there.
                held = self.take()
                if held is None or not (missing := self.missing()):
                    return held
                held.release()
                held = self.take(missing)
                if held is None:
                    return None
                try:
                    bring(missing)
                    ready = held.share(map(_path, missing)) and not self.missing()
                except BaseException:
                    held.release()
                    raise
                if ready:
                    return held
                held.release()
        finally:
            filling.release()
        raise Failure(
            f"`{missing[0].path}` does not stay as it was put",
            help="another process writes there: see what runs in this folder",
        )

    def _acquire(self, exclusive: Sequence[str], shared: Sequence[str]) -> locks.Held | None:
        ws = self._ws
        folder, keys = ws.state / "locks", ws.cache_state / "locks"
        return locks.acquire(folder, exclusive, shared, ws.clock, self._cancel, self._waiting, keys)

    def _in_place(self, made: OutputRecord) -> bool:
        self._ws.checkout.forget(made.path)
        seen = self._ws.checkout.look(made.path, source=False)
        return seen is not None and (seen.kind, seen.hash, seen.executable) == (
            made.kind,
            made.hash,
            made.executable,
        )


def _path(made: OutputRecord) -> str:
    return f"path {made.path}"
