"""Which points a sweep tries: the same everywhere, inside of what is varied, none twice."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.ir import model as ir
from mlflowc.ir import sweeps
from mlflowc.runtime.sweeping import points, tpe

PLACE = ir.Place("pipeline.mlpipe", 1, 1)
LR = ir.Vary("train.lr", (), 1e-5, 1e-1, "log")
DEPTH = ir.Vary("train.depth", (), 1, 9)
KIND = ir.Vary("train.kind", ("a", "b"))
WHOLE = frozenset({"train.depth"})


def sweep(*vary: ir.Vary, search: str = "random", parallel: int = 4, **options: int) -> ir.Sweep:
    return ir.Sweep(
        "tune", PLACE, "train", vary, search, tuple(sorted(options.items())), parallel, "maximize", "s", "auc"
    )


def test_a_grid_is_all_combinations_in_order() -> None:
    made = sweep(ir.Vary("a", (1, 2)), ir.Vary("b", ("x", "y", "z")), search="grid")
    assert [tuple(p.values()) for p in points.grid(made)] == [(a, b) for a in (1, 2) for b in "xyz"]
    assert sweeps.count(made) == 6


def test_random_points_are_the_same_on_every_machine() -> None:
    # Written down once: a change of these is a change of everybody's sweeps.
    assert points.random(sweep(LR, DEPTH, KIND, seed=7), 3, WHOLE) == [
        {"train.lr": 0.0501512, "train.depth": 8, "train.kind": "b"},
        {"train.lr": 0.000397374, "train.depth": 9, "train.kind": "a"},
        {"train.lr": 0.0403442, "train.depth": 2, "train.kind": "a"},
    ]


def test_another_seed_gives_other_points() -> None:
    assert points.random(sweep(LR, seed=1), 5, WHOLE) != points.random(sweep(LR, seed=2), 5, WHOLE)
    assert points.random(sweep(LR, seed=1), 9, WHOLE)[:5] == points.random(sweep(LR, seed=1), 5, WHOLE)


def test_no_point_is_tried_twice_and_there_may_be_fewer() -> None:
    found = points.random(sweep(KIND, ir.Vary("b", (True, False))), 50, WHOLE)
    assert len({repr(p) for p in found}) == len(found) == 4


@settings(max_examples=200, deadline=None)
@given(
    low=st.floats(1e-9, 1e6),
    factor=st.floats(1.0001, 1e6),
    seed=st.integers(),
    scale=st.sampled_from(["log", "linear"]),
)
def test_a_drawn_value_is_in_its_range(low: float, factor: float, seed: int, scale: str) -> None:
    axis = ir.Vary("x", (), low, low * factor, scale)
    for point in points.random(sweep(axis, seed=seed), 5, frozenset()):
        value = point["x"]
        assert isinstance(value, float) and low <= value <= low * factor


def test_integers_are_drawn_alike_often_ends_included() -> None:
    axis = ir.Vary("n", (), 1, 3)
    drawn = [points._draw(axis, 0, n, True) for n in range(3000)]
    assert {type(v) for v in drawn} == {int}
    assert all(900 < drawn.count(n) < 1100 for n in (1, 2, 3))


def test_a_logarithmic_range_is_drawn_by_magnitude() -> None:
    drawn = [points._draw(LR, 0, n, False) for n in range(2000)]
    low = sum(1 for v in drawn if isinstance(v, float) and v < 1e-3)
    assert 900 < low < 1100


# --- tpe


def quality(point: points.Point) -> float:
    lr, depth = point["train.lr"], point["train.depth"]
    assert isinstance(lr, float) and isinstance(depth, int)
    return -abs(math.log10(lr) + 3) - abs(depth - 5) / 4


def played(made: ir.Sweep, rounds: int) -> list[tpe.Told]:
    told: list[tpe.Told] = []
    for round in range(rounds):
        chosen = tpe.propose(made, told, round, made.parallel, WHOLE)
        told += [tpe.Told(p, quality(p) if p["train.depth"] != 9 else None) for p in chosen]
    return told


def test_every_replay_chooses_the_same_points() -> None:
    made = sweep(LR, DEPTH, KIND, search="tpe", seed=7, trials=24)
    first = played(made, 6)
    assert played(made, 6) == first
    # A round by itself, from the results of those before: as a job does it.
    for round in range(6):
        alone = tpe.propose(made, first[: 4 * round], round, 4, WHOLE)
        assert alone == [t.point for t in first[4 * round : 4 * round + 4]]
    assert played(sweep(LR, DEPTH, KIND, search="tpe", seed=8, trials=24), 6) != first


def test_what_is_learnt_is_used() -> None:
    told = played(sweep(LR, DEPTH, KIND, search="tpe", seed=1, trials=60), 15)
    values = [t.value for t in told if t.value is not None]
    assert fmean(values[-20:]) > fmean(values[:10]) + 0.5


def test_a_round_is_not_one_point_many_times() -> None:
    made = sweep(LR, DEPTH, search="tpe", seed=3, trials=40)
    told = played(made, 9)
    chosen = tpe.propose(made, told, 9, 4, WHOLE)
    assert len({repr(p) for p in chosen}) > 1


# --- titles


def test_titles_are_short_where_they_can_be() -> None:
    assert sweeps.titles(["train.lr", "train.depth"]) == {"train.lr": "lr", "train.depth": "depth"}
    assert sweeps.titles(["a.lr", "b.lr"]) == {"a.lr": "a_lr", "b.lr": "b_lr"}
    assert sweeps.titles(["train.seconds"]) == {"train.seconds": "train_seconds"}


@pytest.mark.parametrize(
    ("search", "parallel", "options", "expected"),
    [
        ("grid", 1, {}, []),
        ("grid", 4, {}, [4]),
        ("grid", 50, {}, [9]),
        ("random", 3, {"trials": 10}, [3]),
        ("tpe", 4, {"trials": 10}, [4, 4, 2]),
        ("tpe", 1, {"trials": 10}, []),
    ],
)
def test_jobs_of_a_sweep(search: str, parallel: int, options: dict[str, int], expected: list[int]) -> None:
    made = sweep(
        ir.Vary("a", (1, 2, 3)), ir.Vary("b", (1, 2, 3)), search=search, parallel=parallel, **options
    )
    rounds = sweeps.parts(made)
    assert [len(r) for r in rounds] == expected
    # Together they run every trial once.
    whole = list(range(sweeps.count(made)))
    if search != "tpe" and rounds:
        assert [sum(p.has(0, n) for p in rounds[0]) for n in whole] == [1] * len(whole)
