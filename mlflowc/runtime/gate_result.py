"""What became of a gate, as a value."""

from __future__ import annotations

from mlflowc.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One condition of a gate and what came of it.

    `text` is the condition as written; `found` and `required` are words for a reader (`0.79`,
    `>= 0.815`), empty where the condition has no such shape. `baseline` and `difference` (found minus
    baseline) are numbers where it names one baseline metric, in `unit` (``""``, `s`, `B`). `note` says why it
    failed, or passed unseen; `detail` what a comparison found, whether it holds or not.
    """

    text: str
    passed: bool
    found: str = ""
    required: str = ""
    baseline: float | None = None
    difference: float | None = None
    note: str = ""
    detail: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate's rows, in the order of its requirements."""

    name: str
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether every row holds."""
        return all(r.passed for r in self.rows)
