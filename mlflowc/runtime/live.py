"""A run on a terminal: lines as elsewhere, and below them the stages that are running, with their time.

Where many stages run, those that begin and end well say nothing of themselves: what their commands write,
what fails and what is worth a note goes by, and the region below shows how far it is.

Drawn by hand, with three escape sequences: what commands write must pass through as fast as the terminal
takes it, a gigabyte if need be, and libraries for live displays parse and lay out every line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TextIO

from mlflowc.runtime.events import Outcome, RunResult, StageResult
from mlflowc.runtime.plan import Action, Plan
from mlflowc.runtime.progress import Lines, duration
from mlflowc.runtime.remaining import Remaining
from mlflowc.terminal import width

_SHOWN = 8
_EVERY = 0.125
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR = 24
# From so many stages on, those that end well leave no line.
_MANY = 60
# More than that is passed on as it comes, and the region below comes back a little later.
_LITTLE = 4096
# So often, in seconds, it is worked out how long it will take; less than that is not told.
_GUESS = 1.0
_UNREMARKABLE = frozenset({Outcome.RAN, Outcome.RESTORED, Outcome.KEPT, Outcome.SKIPPED})


class LiveLines(Lines):
    """`Lines` with a region below that is drawn again a few times a second."""

    def __init__(self, stream: TextIO, lasted: Mapping[str, float], jobs: int) -> None:
        """`lasted`: how many seconds stages took when they last ran. `jobs`: how many run at once."""
        super().__init__(stream, stamps=False)
        self._lasted, self._jobs = lasted, jobs
        self._remaining: Remaining | None = None
        self._guessed, self._guessed_at = "", -_GUESS
        self._guard = threading.RLock()
        self._running: dict[str, float] = {}
        self._planned: set[str] = set()
        self._total = self._done = 0
        self._drawn = 0
        self._whole_line = True
        self._quiet = False
        self._frame = 0
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def planned(self, plan: Plan) -> None:
        """Opens the region."""
        self._total = sum(s.action is not Action.KEEP for s in plan.steps)
        self._quiet = self._total >= _MANY
        self._remaining = Remaining(plan, self._lasted, self._jobs)
        self._planned = {s.stage.id for s in plan.steps}
        if not plan.idle:
            self._ticker = threading.Thread(target=self._tick, daemon=True, name="display")
            self._ticker.start()

    def started(self, stage: str, reason: str) -> None:
        """Adds the stage to the region."""
        with self._guard:
            self._running[stage] = time.monotonic()
            # A trial of a sweep: how many there are shows while it goes on.
            self._total += stage not in self._planned
        if not self._quiet:
            super().started(stage, reason)

    def finished(self, result: StageResult) -> None:
        """Takes it out again."""
        with self._guard:
            self._running.pop(result.stage, None)
            if self._remaining is not None:
                ran = result.outcome is Outcome.RAN
                self._remaining.done(result.stage, result.seconds if ran else None)
            if result.outcome in (Outcome.SKIPPED, Outcome.CANCELLED):
                self._total -= 1
            else:
                self._done += 1
        if not (self._quiet and result.outcome in _UNREMARKABLE):
            super().finished(result)

    def ended(self, result: RunResult) -> None:
        """Closes the region."""
        self._over.set()
        if self._ticker is not None:
            self._ticker.join()
        with self._guard:
            super().raw(self._erased())

    def raw(self, data: bytes) -> None:
        """Writes above the region, which follows at once behind a little text, else with the next tick."""
        with self._guard:
            shown = self._drawn > 0
            text = self._erased() + data
            self._whole_line = data.endswith(b"\n")
            if shown and len(data) <= _LITTLE and not self._over.is_set():
                text += self._drawing()
            super().raw(text)

    def _tick(self) -> None:
        while not self._over.wait(_EVERY):
            self._frame += 1
            with self._guard:
                super().raw(self._erased() + self._drawing())

    def _drawing(self) -> bytes:
        """The region, to be written where nothing is behind the cursor; nothing where there cannot be one."""
        if not self._running or not self._whole_line:
            return b""
        lines = self._region(_FRAMES[self._frame % len(_FRAMES)])
        self._drawn = len(lines)
        return "".join(line + "\n" for line in lines).encode("utf-8", "replace")

    def _erased(self) -> bytes:
        drawn, self._drawn = self._drawn, 0
        return f"\x1b[{drawn}F\x1b[J".encode() if drawn else b""

    def _region(self, frame: str) -> list[str]:
        now, columns = time.monotonic(), max(20, width() - 1)
        running = list(self._running.items())
        lines = [f"{frame} {stage} {duration(now - began)}"[:columns] for stage, began in running[:_SHOWN]]
        if len(running) > _SHOWN:
            lines.append(f"  and {len(running) - _SHOWN} more")
        filled = _BAR * self._done // max(1, self._total)
        left = max(0, self._total - self._done - len(running))
        bar = "━" * filled + "╌" * (_BAR - filled)
        lines.append(
            f"{bar} {self._done} done, {len(running)} running, {left} to go{self._guess(now)}"[:columns]
        )
        return [self.paint(line, "dim") for line in lines]

    def _guess(self, now: float) -> str:
        """How long it will still take, as far as stages that ran before say."""
        if now - self._guessed_at >= _GUESS and self._remaining is not None:
            self._guessed_at = now
            left = self._remaining.seconds({s: now - began for s, began in self._running.items()})
            self._guessed = f", about {duration(left)}" if left is not None and left >= _GUESS else ""
        return self._guessed
