"""What a run has to tell while it goes on, as values; listeners print them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

from mlflowc.frozen import dataclass, field
from mlflowc.runtime.plan import Plan
from mlflowc.runtime.records import Metrics, OutputRecord
from mlflowc.runtime.sandbox.model import Finding
from mlflowc.runtime.unlike import Unlike


class Outcome(StrEnum):
    """What became of a stage.

    `KEPT`: it was up to date. `SKIPPED`: it never began, as a stage before it failed, or any did, or the run
    was interrupted. `CANCELLED`: it was interrupted.
    """

    RAN = "ran"
    RESTORED = "restored"
    KEPT = "up to date"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def good(self) -> bool:
        """Whether its outputs are there."""
        return self in (Outcome.RAN, Outcome.RESTORED, Outcome.KEPT)


@dataclass(frozen=True, slots=True)
class StageResult:
    """`seconds`: how long it took. `saved`: how long the run took that it took the place of.

    `message` and `help` say why it failed, `left` where its partial outputs and its log are. `findings` are
    files that an audit saw it touch undeclared. `note` is worth telling beside.
    `unlike` is another result of the same key, if there is one.
    """

    stage: str
    outcome: Outcome
    key: str = ""
    outputs: tuple[OutputRecord, ...] = ()
    metrics: Metrics = field(default_factory=dict)
    seconds: float = 0.0
    saved: float = 0.0
    message: str = ""
    help: str = ""
    left: Path | None = None
    findings: tuple[Finding, ...] = ()
    note: str = ""
    unlike: Unlike | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of all stages of a plan, in its order."""

    stages: tuple[StageResult, ...]
    seconds: float
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether every stage has its outputs."""
        return not self.interrupted and all(s.outcome.good for s in self.stages)

    def stage(self, stage: str) -> StageResult | None:
        """The result of the stage with that id."""
        return next((s for s in self.stages if s.stage == stage), None)

    def count(self, outcome: Outcome) -> int:
        """How many stages came out so."""
        return sum(s.outcome is outcome for s in self.stages)


class Listener(Protocol):
    """Is told, one call at a time, in whatever thread."""

    def planned(self, plan: Plan) -> None: ...
    def started(self, stage: str, reason: str) -> None: ...
    def output(self, stage: str, lines: bytes) -> None: ...
    def note(self, stage: str, text: str) -> None: ...
    def stopping(self, running: int) -> None: ...
    def finished(self, result: StageResult) -> None: ...
    def ended(self, result: RunResult) -> None: ...


class Silent:
    """A listener that does nothing; also the base of those that care for some events only."""

    def planned(self, plan: Plan) -> None:
        """The run begins."""

    def started(self, stage: str, reason: str) -> None:
        """A stage's command is about to run."""

    def output(self, stage: str, lines: bytes) -> None:
        """Whole lines that a command wrote."""

    def note(self, stage: str, text: str) -> None:
        """Something worth a line: a retry, waiting for another process."""

    def stopping(self, running: int) -> None:
        """The run was interrupted; so many commands are asked to end."""

    def finished(self, result: StageResult) -> None:
        """A stage is done, one way or another."""

    def ended(self, result: RunResult) -> None:
        """The run is over."""
