"""The forms of the IR: each holds all of it, for any value the model allows."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc import frozen
from mlflowc.ir import codec, schema
from mlflowc.ir import model as ir

VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema.published()))

words = st.text(max_size=6)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
scalars = words | numbers | st.booleans()
values: st.SearchStrategy[Any] = st.recursive(
    scalars | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(words.filter(lambda w: w != "node"), inner, max_size=3)
    ),
    max_leaves=6,
)


def many(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(of, max_size=3).map(tuple)


places = st.builds(ir.Place, words, st.integers(1, 9), st.integers(1, 9))
types = st.builds(
    ir.FileType,
    words,
    many(
        st.builds(
            ir.Column,
            words,
            st.builds(ir.ScalarType, words),
            many(st.builds(ir.Constraint, words, many(scalars))),
        )
    ),
)
slots = st.builds(ir.Slot, words, words)
templates = many(words | slots)
sources = (
    st.builds(ir.StageOutput, words, words)
    | st.builds(ir.DataRef, words)
    | st.builds(ir.PathRef, words)
    | st.builds(ir.GlobRef, words)
)
leaves = (
    st.builds(ir.Number, st.integers() | st.floats(allow_nan=False, allow_infinity=False), words)
    | st.builds(ir.Metric, many(words), words, words, st.booleans(), st.none() | words)
    | st.builds(ir.ParamRef, words)
    | st.builds(ir.Rows, words, words)
)
expressions: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda e: (
        st.builds(ir.Unary, words, e)
        | st.builds(ir.Binary, words, e, e)
        | st.builds(ir.Call, words, many(e), many(st.tuples(words, e)))
    ),
    max_leaves=5,
)
stages = st.builds(
    ir.Stage,
    id=words,
    name=words,
    place=places,
    inputs=many(st.builds(ir.Input, words, types, many(sources), st.booleans())),
    outputs=many(st.builds(ir.Output, words, types, words)),
    env=st.none() | words,
    each=many(st.tuples(words, scalars)),
    commands=many(templates),
)
pipelines = st.builds(
    ir.Pipeline,
    words,
    st.just(1),
    words,
    params=many(st.builds(ir.Param, words, st.builds(ir.ScalarType, words), values)),
    stages=many(stages),
    gates=many(
        st.builds(ir.Gate, words, places, many(st.builds(ir.Requirement, expressions, words, places)))
    ),
)


@settings(max_examples=60, deadline=None)
@given(pipelines)
def test_json_holds_all_of_it(pipeline: ir.Pipeline) -> None:
    text = codec.dumps(pipeline)
    again = codec.loads(text)
    assert again == pipeline
    assert codec.dumps(again) == text  # `==` takes 1 for 1.0 and for True; the text does not
    VALIDATOR.validate(json.loads(text))


@settings(max_examples=80, deadline=None)
@given(pipelines)
def test_the_packed_form_holds_all_of_it(pipeline: ir.Pipeline) -> None:
    assert repr(codec.unpack(codec.pack(pipeline))) == repr(pipeline)


@settings(max_examples=80, deadline=None)
@given(pipelines, st.data())
def test_damaged_bytes_are_found_out_or_harmless(pipeline: ir.Pipeline, data: st.DataObject) -> None:
    packed = bytearray(codec.pack(pipeline))
    packed = packed[: data.draw(st.integers(0, len(packed) - 1))]
    with pytest.raises(codec.UndecodableError):
        codec.unpack(bytes(packed))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"name": 1, "edition": 1, "file": "f"}',
        '{"name": "n", "edition": true, "file": "f"}',
        '{"name": "n", "edition": 1, "file": "f", "more": 1}',
        '{"name": "n", "edition": 1, "file": "f", "stages": {}}',
        '{"name": "n", "edition": 1, "file": "f", "data": [{"name": "d"}]}',
        '{"name": "n", "edition": 1, "file": "f", "auths": [{"provider": "p", "options": [["a"]]}]}',
    ],
)
def test_what_is_no_pipeline_is_refused(text: str) -> None:
    with pytest.raises(codec.UndecodableError):
        codec.loads(text)


def test_fields_that_are_left_out_have_their_defaults() -> None:
    assert codec.loads('{"name": "n", "edition": 1, "file": "f"}') == ir.Pipeline("n", 1, "f")


def is_made(stage: ir.Stage, field: str) -> bool:
    """Whether the field has its value already."""
    try:
        object.__getattribute__(stage, field)
    except AttributeError:
        return False
    return True


def late_stage() -> tuple[ir.Stage, ir.Stage]:
    """A stage, and the one that is read back."""
    made = ir.Stage(
        "train[de]",
        "train",
        ir.Place("a.mlpipe", 1, 2),
        inputs=(ir.Input("x", ir.FileType("csv"), (ir.PathRef("x.csv"),)),),
        outputs=(ir.Output("y", ir.FileType("text"), "y.txt"),),
        retry=2,
        each=(("lang", "de"),),
        commands=(("make ", ir.Slot("output", "y")),),
    )
    pipeline = ir.Pipeline("p", 1, "a.mlpipe", stages=(made,))
    return made, codec.unpack(codec.pack(pipeline)).stages[0]


def test_parts_of_a_stage_are_made_when_they_are_asked_for() -> None:
    _, late = late_stage()
    assert (late.id, late.name) == ("train[de]", "train")
    assert not any(is_made(late, n) for n in ("place", "retry", "outputs", "commands"))
    assert late.retry == 2
    assert is_made(late, "keeps")
    assert not is_made(late, "outputs")
    assert late.outputs[0].path == "y.txt"
    assert not is_made(late, "commands")
    assert late.commands == (("make ", ir.Slot("output", "y")),)
    assert is_made(late, "inputs")


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s,
        repr,
        hash,
        copy.copy,
        copy.deepcopy,
        dataclasses.asdict,
        codec.to_json,
        lambda s: pickle.loads(pickle.dumps(s)),
        lambda s: frozen.replace(s, retry=3),
        lambda s: dataclasses.replace(s, retry=3),
        lambda s: hasattr(s, "commmands"),
    ],
    ids=range(11),
)
def test_a_stage_that_was_read_back_is_as_any_other(use: Callable[[ir.Stage], object]) -> None:
    made, late = late_stage()
    assert use(late) == use(made)
    made, late = late_stage()
    late.outputs  # noqa: B018
    assert use(late) == use(made)


def test_a_stage_that_was_read_back_cannot_be_set_and_has_no_other_fields() -> None:
    _, late = late_stage()
    with pytest.raises(dataclasses.FrozenInstanceError):
        late.retry = 3  # type: ignore[misc]
    with pytest.raises(AttributeError, match="'Stage' object has no attribute 'commmands'"):
        late.commmands  # type: ignore[attr-defined]  # noqa: B018
