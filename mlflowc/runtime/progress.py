"""A run as lines of text: with timestamps where nobody watches, and the lines at its end everywhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TextIO

from mlflowc.runtime.events import Outcome, RunResult, Silent, StageResult
from mlflowc.runtime.laststate import nothing_to_do
from mlflowc.runtime.plan import Action, Plan
from mlflowc.terminal import style, visible

MARKS = {
    Outcome.RAN: ("✓", "green"),
    Outcome.RESTORED: ("↺", "cyan"),
    Outcome.KEPT: ("·", "dim"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.SKIPPED: ("-", "dim"),
    Outcome.CANCELLED: ("-", "yellow"),
}


def duration(seconds: float) -> str:
    """`40 ms`, `1.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """`812 B`, `3.4 kB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class Lines(Silent):
    """Writes a line an event to `stream`; output of commands with the stage's name before each line."""

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.time, stamps: bool = True
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._stamps = stamps
        self._gone = False

    def started(self, stage: str, reason: str) -> None:
        """`▶ train: parameter … changed`."""
        why = f": {visible(reason)}" if reason else ""
        self.line(f"{self.paint('▶', 'blue')} {self.paint(stage, 'bold')}{why}")

    def output(self, stage: str, lines: bytes) -> None:
        """Passes lines on, each with the stage's name."""
        prefix = self.paint(f"{stage} │ ", "dim").encode()
        body = (
            prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
            if lines.endswith(b"\n")
            else prefix + lines
        )
        self.raw(body)

    def note(self, stage: str, text: str) -> None:
        """`train: waiting …`."""
        self.line(f"{self.paint(stage, 'bold')}: {visible(text)}")

    def stopping(self, running: int) -> None:
        """`stopping 1 stage; Ctrl-C again kills it`."""
        self.line(
            f"stopping {count(running, 'stage')}; Ctrl-C again kills {'it' if running == 1 else 'them'}"
        )

    def finished(self, result: StageResult) -> None:
        """`✓ train 2.1 s`, or `✗ train: exit code 1`."""
        mark, colour = MARKS[result.outcome]
        words = {
            Outcome.RAN: f" {duration(result.seconds)}",
            Outcome.RESTORED: " restored from the cache",
            Outcome.KEPT: " up to date after all",
            Outcome.FAILED: ": " + visible(result.message.partition("\n")[0]),
            Outcome.SKIPPED: " not run",
            Outcome.CANCELLED: " interrupted",
        }[result.outcome]
        note = f": {visible(result.note)}" if result.note else ""
        self.line(f"{self.paint(mark, colour)} {self.paint(result.stage, 'bold')}{words}{note}")

    def line(self, text: str) -> None:
        """One line, with the time before it where that is wanted."""
        stamp = time.strftime("%H:%M:%S ", time.localtime(self._clock())) if self._stamps else ""
        self.raw(f"{self.paint(stamp, 'dim')}{text}\n".encode("utf-8", "surrogateescape"))

    def raw(self, data: bytes) -> None:
        """Bytes as they are. A reader that has gone away, or a full disk, does not end the run."""
        if self._gone:
            return
        try:
            buffer = getattr(self._stream, "buffer", None)
            if buffer is None:
                self._stream.write(data.decode("utf-8", "replace"))
            else:
                self._stream.flush()
                buffer.write(data)
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True

    def paint(self, text: str, *styles: str) -> str:
        """Colour, where the stream takes it."""
        return style(text, *styles, stream=self._stream)


def summary(result: RunResult) -> list[str]:
    """The last lines of a run: what ran, what was cached, how long, what it saved."""
    ran, restored = result.count(Outcome.RAN), result.count(Outcome.RESTORED)
    kept, failed = result.count(Outcome.KEPT), result.count(Outcome.FAILED)
    skipped = result.count(Outcome.SKIPPED) + result.count(Outcome.CANCELLED)
    total = len(result.stages)
    if result.ok and kept == total:
        return [nothing_to_do(total)]
    parts = [f"{ran} ran"] if ran else []
    parts += [f"{restored} restored"] if restored else []
    parts += [f"{kept} up to date"] if kept else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{skipped} not run"] if skipped else []
    line = f"{count(total, 'stage')}: {', '.join(parts)}, in {duration(result.seconds)}"
    saved = sum(r.saved for r in result.stages if r.outcome in (Outcome.RESTORED, Outcome.KEPT))
    if saved >= 1:
        line += f"; the cache saved {duration(saved)}"
    return [line]


def failures(result: RunResult, root_name: Callable[[StageResult], str]) -> list[tuple[str, str]]:
    """Message and help of each stage that failed. `root_name` says where its remains are."""
    found = []
    for r in result.stages:
        if r.outcome is Outcome.FAILED:
            where = root_name(r)
            help = "\n".join(
                t for t in (r.help, f"its log and what it wrote are in `{where}`" if where else "") if t
            )
            found.append((f"stage `{r.stage}` failed: {r.message}", help))
    return found


def plan_lines(plan: Plan) -> list[tuple[str, str, str]]:
    """`(word, stage, reason)` of each step that is not up to date."""
    words = {
        Action.RUN: "run",
        Action.RESTORE: "restore",
        Action.WAIT: "perhaps run",
        Action.BLOCKED: "cannot run",
    }
    return [(words[s.action], s.stage.id, s.reason) for s in plan.steps if s.action is not Action.KEEP]


def count(number: int, noun: str) -> str:
    """`1 stage`, `3 stages`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def write(stream: TextIO, text: str) -> None:
    """Text to a stream whose reader may have gone away."""
    with contextlib.suppress(BrokenPipeError):
        stream.write(text)
        stream.flush()
