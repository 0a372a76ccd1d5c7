"""What the sections of a report are made from: the lock file now and then, and files of outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflowc.ir import model as ir
from mlflowc.report import folders
from mlflowc.report.model import Baseline, StageRow
from mlflowc.runtime import baseline
from mlflowc.runtime.baseline import Snapshot

if TYPE_CHECKING:
    from mlflowc.runtime.workspace import Workspace


@dataclass(frozen=True)
class Facts:
    """What the sections are made from."""

    ws: Workspace
    now: Snapshot
    before: Callable[[str], Snapshot]
    rows: tuple[StageRow, ...]
    several_metrics: bool = False

    @property
    def pipeline(self) -> ir.Pipeline:
        """What is reported on."""
        return self.ws.pipeline

    @functools.cached_property
    def outputs(self) -> dict[tuple[str, str], ir.Output]:
        """All outputs by stage id and name."""
        return {(s.id, o.name): o for s in self.pipeline.stages for o in s.outputs}

    def compared(self, revision: str | None) -> tuple[Snapshot | None, Baseline | None]:
        """The snapshot of a revision and its description; both None where nothing is compared."""
        if revision is None:
            return None, None
        snapshot = self.before(revision)
        return (snapshot if snapshot.found else None), Baseline(
            revision, snapshot.commit, snapshot.note, snapshot.found
        )

    def folder(self, of: Snapshot, ref: ir.StageOutput, notes: list[str], revision: str) -> dict[str, Path]:
        """The files of an output that is a folder, by their path in it; where none is to be had, a note."""
        at = f" at `{revision}`" if revision else ""
        output = of.output(ref.stage, ref.output)
        if output is None:
            notes.append(
                f"there is no {ref.stage}.{ref.output}{at}" if at else f"`{ref.stage}` has not run yet"
            )
            return {}
        found = folders.files(self.ws.root, self.ws.store, output) if output.kind == "dir" else {}
        if not found:
            notes.append(f"the content of {ref.stage}.{ref.output}{at} is not in the cache here")
        return found


def file_of(facts: Facts, of: Snapshot, ref: ir.StageOutput, notes: list[str], revision: str) -> Path | None:
    """The file of an output in `of`; where there is none, a note says why."""
    at = f" at `{revision}`" if revision else ""
    output = of.output(ref.stage, ref.output)
    if output is None:
        notes.append(f"there is no {ref.stage}.{ref.output}{at}" if at else f"`{ref.stage}` has not run yet")
        return None
    if output.kind != "file":
        notes.append(f"{ref.stage}.{ref.output}{at} is a folder")
        return None
    path = baseline.locate(facts.ws.root, facts.ws.store, output)
    if path is None:
        notes.append(f"the content of {ref.stage}.{ref.output}{at} is not in the cache here")
    return path


def title_of(refs: Sequence[ir.StageOutput]) -> str:
    """`train.curve`, or `train[*].curve` of several."""
    if not refs:
        return ""
    stage = refs[0].stage if len(refs) == 1 else refs[0].stage.split("[")[0] + "[*]"
    return f"{stage}.{refs[0].output}"


def instance_of(stage: str) -> str:
    """`de` for `train[de]`."""
    return stage.partition("[")[2].rstrip("]") or stage
