"""A run on a terminal: lines as elsewhere, and below them the stages that are running, with their time.

The only module of the runtime that imports rich, and imported only when something runs before a person's
eyes.
"""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from mlflowc.runtime.events import RunResult, StageResult
from mlflowc.runtime.plan import Plan
from mlflowc.runtime.progress import Lines, duration

_SHOWN = 8


class LiveLines(Lines):
    """`Lines` with a live region below."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, stamps=False)
        self._console = Console(file=stream, highlight=False)
        self._running: dict[str, tuple[float, Spinner]] = {}
        self._total = 0
        self._done = 0
        self._live = Live(
            console=self._console, get_renderable=self._region, refresh_per_second=8, transient=True
        )

    def planned(self, plan: Plan) -> None:
        """Opens the region."""
        self._total = len(plan.steps)
        if not plan.idle:
            self._live.start()

    def started(self, stage: str, reason: str) -> None:
        """Adds the stage to the region."""
        self._running[stage] = (time.monotonic(), Spinner("dots", style="blue"))
        super().started(stage, reason)

    def finished(self, result: StageResult) -> None:
        """Takes it out again."""
        self._running.pop(result.stage, None)
        self._done += 1
        super().finished(result)

    def ended(self, result: RunResult) -> None:
        """Closes the region."""
        self._live.stop()

    def raw(self, data: bytes) -> None:
        """Above the region."""
        text = Text.from_ansi(data.decode("utf-8", "replace").rstrip("\n"))
        self._console.print(text, soft_wrap=True)

    def _region(self) -> Group:
        table = Table.grid(padding=(0, 1))
        now = time.monotonic()
        running = list(self._running.items())
        for stage, (began, spinner) in running[:_SHOWN]:
            table.add_row(spinner, Text(stage, style="bold"), Text(duration(now - began), style="dim"))
        if len(running) > _SHOWN:
            table.add_row("", Text(f"and {len(running) - _SHOWN} more", style="dim"))
        kept = self._total - self._done - len(running)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            ProgressBar(total=max(1, self._total), completed=self._done, width=24),
            Text(f"{self._done} done, {len(running)} running, {max(0, kept)} to go", style="dim"),
        )
        return Group(table, line)
