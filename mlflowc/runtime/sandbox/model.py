"""The words of the sandbox: how strict it is, and what it found."""

from __future__ import annotations

from enum import StrEnum

from mlflowc.frozen import dataclass


class Mode(StrEnum):
    """How a stage is held to what it declares: not at all, by telling, by refusing."""

    OFF = "off"
    AUDIT = "audit"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that a stage's command touched and does not declare.

    `stage` is the stage's id. `path` is relative to the project where it lies in it, else absolute. `act` is
    `read` or `write`.
    """

    stage: str
    path: str
    act: str = "read"

    @property
    def outside(self) -> bool:
        """Whether it lies outside of the project."""
        return self.path.startswith("/")
