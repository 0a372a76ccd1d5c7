"""Every component of a key counts, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.ir.model import Code, FileType, Keep, Output, Slot, Stage
from mlflowc.runtime.keys import (
    KEY_FORMAT,
    canonical,
    deep_digest,
    digest,
    input_component,
    static_components,
)
from tests.support.ir import place

BASE = Stage(
    "train[de]",
    "train",
    place(),
    params=("lr",),
    outputs=(Output("model", FileType("file"), "model.bin"),),
    secrets=("TOKEN",),
    each=(("lang", "de"),),
    commands=(("run ", Slot("param", "lr"), " > ", Slot("output", "model")),),
)
PARAMS = {"lr": 1, "other": 5}


def key(stage: Stage = BASE, **params: object) -> str:
    return digest(static_components(stage, {**PARAMS, **params}))  # type: ignore[arg-type]


def test_the_format_is_fixed() -> None:
    """A key of this format must never come out otherwise: caches and lock files are full of them."""
    assert KEY_FORMAT == 1
    assert digest({"command": "x", "param:a": "1"}) == digest({"param:a": "1", "command": "x"})
    assert digest({"a": "b"}) == "1127f5c68f44a74451fde5a69c4f3ad155387b835625140de187737043718170"


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, commands=(("run  ", Slot("param", "lr"), " > ", Slot("output", "model")),)),
        replace(BASE, commands=(("run ", Slot("param", "other"), " > ", Slot("output", "model")),)),
        replace(BASE, commands=(*BASE.commands, ("true",))),
        replace(BASE, dir="sub"),
        replace(BASE, params=()),
        replace(BASE, params=("lr", "other")),
        replace(BASE, outputs=(Output("model", FileType("file"), "other.bin"),)),
        replace(BASE, outputs=(Output("m", FileType("file"), "model.bin"),)),
        replace(BASE, outputs=(Output("model", FileType("csv"), "model.bin"),)),
        replace(BASE, secrets=()),
        replace(BASE, each=(("lang", "fr"),)),
    ],
)
def test_what_counts(changed: Stage) -> None:
    assert key(changed) != key()


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, id="other", name="other", place=place(99)),
        replace(BASE, runner="gpu", timeout=5, retry=3, after=("x",), env="py"),
        replace(BASE, keeps=(Keep("ckpt", "ckpt/"),)),
        replace(BASE, code=Code("none")),
        replace(BASE, outputs=(Output("model", FileType("file", name="Model"), "model.bin"),)),
    ],
)
def test_what_does_not_count(same: Stage) -> None:
    assert key(same) == key()
    assert key(other=6) == key()


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 1.0), (1, True), (0, False), (1, "1"), (None, "null"), ((1,), 1), ("", None), (0.0, -0.0)],
)
def test_values_of_different_types_differ(a: object, b: object) -> None:
    assert key(lr=a) != key(lr=b)


def test_deep_keys_are_no_keys() -> None:
    assert deep_digest({"a": "b"}) != digest({"a": "b"})


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
components = st.dictionaries(texts, texts, max_size=4)


@given(components, components)
def test_two_sets_of_components_have_one_key_only_if_equal(a: dict[str, str], b: dict[str, str]) -> None:
    assert (digest(a) == digest(b)) == (a == b)


@given(texts, texts, texts)
def test_text_cannot_move_between_name_and_value(a: str, b: str, c: str) -> None:
    if a + b != a or c:
        first, second = {a: b + c}, {a + b: c}
        assert (digest(first) == digest(second)) == (first == second)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(values, values)
def test_canonical_tells_all_values_apart(a: object, b: object) -> None:
    if canonical(a) == canonical(b):  # type: ignore[arg-type]
        assert repr(_ordered(a)) == repr(_ordered(b))


def _ordered(value: object) -> object:
    if isinstance(value, dict):
        return {k: _ordered(value[k]) for k in sorted(value)}
    return tuple(_ordered(v) for v in value) if isinstance(value, tuple) else value


def test_inputs_keep_their_order() -> None:
    a, b = ("a", "file", "1"), ("b", "file", "2")
    assert input_component([a, b]) != input_component([b, a])
