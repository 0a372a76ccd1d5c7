"""The lattice of kinds and structural subtyping."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.check import infer, lattice
from mlflowc.ir import model as ir

KINDS = st.sampled_from(lattice.KINDS)
bounds = st.tuples(st.integers(-3, 3), st.integers(0, 3)).map(lambda b: (b[0], b[0] + b[1]))
constraints = (
    st.just(ir.Constraint("unique"))
    | bounds.map(lambda b: ir.Constraint("range", low=b[0], high=b[1]))
    | st.lists(st.integers(-3, 3), min_size=1, max_size=3).map(lambda v: ir.Constraint("in", values=tuple(v)))
    | st.floats(0, 1).map(lambda h: ir.Constraint("null", high=h))
)
scalars = st.sampled_from(
    [
        ir.ScalarType("int"),
        ir.ScalarType("int", optional=True),
        ir.ScalarType("float"),
        ir.ScalarType("str"),
        ir.ScalarType("enum", values=("a",)),
        ir.ScalarType("enum", values=("a", "b")),
        ir.ScalarType("list", element=ir.ScalarType("int")),
    ]
)
columns = st.builds(ir.Column, st.sampled_from("abc"), scalars, st.lists(constraints, max_size=2).map(tuple))
tables = st.builds(
    ir.FileType,
    KINDS,
    st.lists(columns, max_size=3, unique_by=lambda c: c.name).map(tuple),
)


@given(tables)
def test_a_type_fits_itself(type: ir.FileType) -> None:
    assert lattice.fits(type, type) is None


@given(tables, tables, tables)
def test_fitting_is_transitive(a: ir.FileType, b: ir.FileType, c: ir.FileType) -> None:
    if lattice.fits(a, b) is None and lattice.fits(b, c) is None:
        assert lattice.fits(a, c) is None


@given(constraints, constraints, st.integers(-4, 4))
def test_what_a_narrower_constraint_lets_through_the_wider_does(
    has: ir.Constraint, wanted: ir.Constraint, value: int
) -> None:
    if lattice.implies(has, wanted) and lattice.holds(value, has):
        assert lattice.holds(value, wanted)


def test_every_kind_is_a_path() -> None:
    for kind in lattice.KINDS:
        assert lattice.narrower(kind, "path")
        assert kind in ("path", "dir") or lattice.narrower(kind, "file")


def test_no_two_kinds_fit_each_other() -> None:
    for a, b in itertools.combinations(lattice.KINDS, 2):
        assert not (lattice.narrower(a, b) and lattice.narrower(b, a)), (a, b)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.csv", "csv"),
        ("a/b.tar.gz", "archive"),
        ("a/", "dir"),
        ("models/model.PKL", "model"),
        ("plots/a.png", "image"),
        ("data", "path"),
        ("a.b/data", "path"),
        ("a.unknown", "file"),
        (".", "dir"),
    ],
)
def test_the_ending_tells_the_kind(path: str, kind: str) -> None:
    assert infer.kind_of(path) == kind


def test_misfits_name_the_first_reason() -> None:
    wide = ir.FileType("csv", (ir.Column("a", ir.ScalarType("int")),))
    narrow = ir.FileType("csv", (ir.Column("a", ir.ScalarType("int")), ir.Column("b", ir.ScalarType("str"))))
    assert lattice.fits(narrow, wide) is None
    assert lattice.fits(wide, narrow) == lattice.Misfit("column", "it has no column `b`", "b")
