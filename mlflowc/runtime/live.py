"""A run on a terminal: lines as elsewhere, and below them the stages that are running, with their time.

Drawn by hand, with three escape sequences: what commands write must pass through as fast as the terminal
takes it, a gigabyte if need be, and libraries for live displays parse and lay out every line.
"""

from __future__ import annotations

import threading
import time
from typing import TextIO

from mlflowc.runtime.events import RunResult, StageResult
from mlflowc.runtime.plan import Plan
from mlflowc.runtime.progress import Lines, duration
from mlflowc.terminal import width

_SHOWN = 8
_EVERY = 0.125
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR = 24


class LiveLines(Lines):
    """`Lines` with a region below that is drawn again a few times a second."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, stamps=False)
        self._guard = threading.RLock()
        self._running: dict[str, float] = {}
        self._total = self._done = 0
        self._drawn = 0
        self._whole_line = True
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def planned(self, plan: Plan) -> None:
        """Opens the region."""
        self._total = len(plan.steps)
        if not plan.idle:
            self._ticker = threading.Thread(target=self._tick, daemon=True, name="display")
            self._ticker.start()

    def started(self, stage: str, reason: str) -> None:
        """Adds the stage to the region."""
        with self._guard:
            self._running[stage] = time.monotonic()
        super().started(stage, reason)

    def finished(self, result: StageResult) -> None:
        """Takes it out again."""
        with self._guard:
            self._running.pop(result.stage, None)
            self._done += 1
        super().finished(result)

    def ended(self, result: RunResult) -> None:
        """Closes the region."""
        self._over.set()
        if self._ticker is not None:
            self._ticker.join()
        with self._guard:
            super().raw(self._erased())

    def raw(self, data: bytes) -> None:
        """Writes above the region, which comes back with the next tick."""
        with self._guard:
            super().raw(self._erased() + data)
            self._whole_line = data.endswith(b"\n")

    def _tick(self) -> None:
        frame = 0
        while not self._over.wait(_EVERY):
            frame += 1
            with self._guard:
                if self._running and self._whole_line:
                    erased = self._erased()
                    lines = self._region(_FRAMES[frame % len(_FRAMES)])
                    self._drawn = len(lines)
                    super().raw(erased + "".join(line + "\n" for line in lines).encode())

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
        lines.append(f"{bar} {self._done} done, {len(running)} running, {left} to go"[:columns])
        return [self.paint(line, "dim") for line in lines]
