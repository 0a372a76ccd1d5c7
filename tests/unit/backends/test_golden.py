"""What is generated for whole projects, byte for byte: `tests/cases/ok/` and a training project with a GPU.

A snapshot holds the findings first, then the notes, then the files.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mlflowc import project
from mlflowc.compile import compile_text
from mlflowc.ir.model import Pipeline
from mlflowc.target import TARGETS
from tests.conftest import CHECKOUT
from tests.support.ir import digits
from tests.unit.backends.emitting import emit

CASES = {p.parent.name: p for p in sorted((CHECKOUT / "tests/cases/ok").glob("*/pipeline.mlpipe"))}


class TextExtension(SingleFileSnapshotExtension):
    """One `.txt` file a case and target."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


def compiled(path: Path) -> Pipeline:
    """The pipeline of a file."""
    found = compile_text(path.name, path.read_text("utf-8"), project.Disk(path.parent))
    assert found.pipeline is not None
    return found.pipeline


def generated(target: str, flow: Pipeline) -> str:
    """Everything that `build --target` would show and write."""
    emission, found = emit(target, flow)
    parts = [f"{d.severity}[{d.code}]: {d.message}" for d in found]
    parts += [f"note: {n}" for n in emission.notes]
    parts += [f"=== {f.path}\n{f.text}" for f in emission.files]
    return "\n".join(parts)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, target: str, snapshot: SnapshotAssertion) -> None:
    assert generated(target, compiled(CASES[case])) == snapshot(extension_class=TextExtension)


@pytest.mark.parametrize("target", TARGETS)
def test_training_on_a_gpu(target: str, snapshot: SnapshotAssertion) -> None:
    assert generated(target, digits()) == snapshot(extension_class=TextExtension)
