"""Whole projects that compile: `tests/cases/ok/<what it shows>/`, each with its IR as it must be, byte for
byte."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mlflowc import project
from mlflowc.compile import Compiled, compile_text
from mlflowc.diagnostic import has_errors
from mlflowc.ir import codec, schema

CASES = sorted((Path(__file__).parent.parent / "cases" / "ok").iterdir())


class JsonExtension(SingleFileSnapshotExtension):
    """One `.json` file a case."""

    _write_mode = WriteMode.TEXT
    file_extension = "json"


def compiled(case: Path) -> Compiled:
    text = (case / "pipeline.mlpipe").read_text("utf-8")
    return compile_text("pipeline.mlpipe", text, project.Disk(case))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_ir_is_as_recorded(case: Path, snapshot: SnapshotAssertion) -> None:
    found = compiled(case)
    assert not has_errors(found.diagnostics), found.diagnostics
    assert found.pipeline is not None
    assert codec.dumps(found.pipeline) == snapshot(extension_class=JsonExtension)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_form_of_the_ir_holds_all_of_it(case: Path) -> None:
    pipeline = compiled(case).pipeline
    assert pipeline is not None
    text = codec.dumps(pipeline)
    jsonschema.validate(json.loads(text), json.loads(schema.published()))
    assert codec.loads(text) == pipeline
    assert codec.dumps(codec.loads(text)) == text
    assert repr(codec.unpack(codec.pack(pipeline))) == repr(pipeline)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_compiling_again_gives_the_same(case: Path) -> None:
    first, second = compiled(case), compiled(case)
    assert first.pipeline is not None and second.pipeline is not None
    assert repr(first.pipeline) == repr(second.pipeline)
    assert codec.dumps(first.pipeline) == codec.dumps(second.pipeline)


def test_the_published_schema_is_that_of_the_model() -> None:
    assert schema.published() == schema.render(), "run: python -m mlflowc.ir.schema > mlflowc/ir/schema.json"
    jsonschema.Draft202012Validator.check_schema(schema.schema())
