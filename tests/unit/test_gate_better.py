"""`better(…)` and `no_worse(…)`: Student's t by the tables, the definition at its edges, and the language."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.ir.direction import by_name
from mlflowc.ir.model import Call, Expr, Gate, Metric, Number, Requirement
from mlflowc.runtime import gates, student
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.comparison import TooFewError, compare
from mlflowc.runtime.gates import Facts, Row
from mlflowc.runtime.lockfile import StageEntry
from tests.support.ir import place

# One-sided points of Student's t as printed in the tables of textbooks.
TABLE = {
    1: (1.000, 3.078, 6.314, 12.71, 31.82, 63.66),
    2: (0.816, 1.886, 2.920, 4.303, 6.965, 9.925),
    4: (0.741, 1.533, 2.132, 2.776, 3.747, 4.604),
    9: (0.703, 1.383, 1.833, 2.262, 2.821, 3.250),
    30: (0.683, 1.310, 1.697, 2.042, 2.457, 2.750),
    120: (0.677, 1.289, 1.658, 1.980, 2.358, 2.617),
}


@pytest.mark.parametrize("freedom", TABLE)
def test_quantiles_are_those_of_the_tables(freedom: int) -> None:
    for p, expected in zip((0.75, 0.90, 0.95, 0.975, 0.99, 0.995), TABLE[freedom], strict=True):
        assert student.quantile(p, freedom) == pytest.approx(expected, rel=6e-4, abs=6e-4)


@given(st.floats(0.51, 0.9999))
def test_the_closed_forms_agree(p: float) -> None:
    assert student.quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9, abs=1e-9)
    two = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    assert student.quantile(p, 2) == pytest.approx(two, rel=1e-9, abs=1e-9)
    assert student.quantile(p, 1e7) == pytest.approx(NormalDist().inv_cdf(p), rel=1e-5, abs=1e-6)


@given(st.floats(0.51, 0.9999), st.floats(1, 400))
def test_a_quantile_is_the_inverse(p: float, freedom: float) -> None:
    assert student.cumulative(student.quantile(p, freedom), freedom) == pytest.approx(p, abs=1e-10)


def test_a_known_interval() -> None:
    # mean 3, s = sqrt(2.5), n = 5: 3 - 2.132 * sqrt(2.5 / 5)
    bound = student.of_mean([1, 2, 3, 4, 5], 0.95)
    assert bound.least == pytest.approx(3 - 2.13184678 * math.sqrt(0.5), abs=1e-7)
    # Welch's own formula: 1/1.6 and 1/6.4 by hand.
    bound = student.of_difference([1, 2, 3, 4, 5], [2, 4, 6, 8], 0.95)
    a, b = 2.5 / 5, (20 / 3) / 4
    assert bound.freedom == pytest.approx((a + b) ** 2 / (a**2 / 4 + b**2 / 3))
    assert bound.least == pytest.approx(-2 - student.quantile(0.95, bound.freedom) * math.sqrt(a + b))


def seeds(*values: float) -> dict[str, float]:
    return {str(n): v for n, v in enumerate(values, 1)}


def test_without_a_confidence_means_are_compared() -> None:
    assert compare({"": 0.81}, 0.8, lower=False).held
    assert not compare({"": 0.8}, 0.8, lower=False).held, "the same is not better"
    assert compare({"": 0.8}, 0.8, lower=False, worse=True).held, "the same is not worse"
    assert compare({"": 0.82}, 0.8, lower=False, by=0.02).held, "0.82 - 0.8 is 0.0199…, and 0.02 was meant"
    assert not compare({"": 0.819}, 0.8, lower=False, by=0.02).held
    assert compare({"": 0.808}, 0.8, lower=False, by=0.01, relative=True).held
    assert not compare({"": 0.807}, 0.8, lower=False, by=0.01, relative=True).held
    assert compare({"": 0.79}, 0.8, lower=False, by=0.01, worse=True).held
    assert not compare({"": 0.789}, 0.8, lower=False, by=0.01, worse=True).held


def test_where_less_is_better_everything_turns_round() -> None:
    made = compare({"": 0.3}, 0.4, lower=True, by=0.05)
    assert (made.held, round(made.gain, 9), round(made.wanted, 9)) == (True, 0.1, 0.05)
    assert not compare({"": 0.5}, 0.4, lower=True, by=0.05).held
    assert compare({"": 0.41}, 0.4, lower=True, by=0.05, worse=True).held
    assert compare({"": -11.0}, -10.0, lower=True, by=0.1, relative=True).held, "a share of the size"


def test_pairs_see_what_two_samples_do_not() -> None:
    before = seeds(0.70, 0.80, 0.90)
    now = seeds(0.711, 0.810, 0.912)
    paired = compare(now, before, lower=False, confidence=0.95)
    assert (paired.held, paired.pairs) == (True, 3)
    other = {f"s{k}": v for k, v in before.items()}
    welch = compare(now, other, lower=False, confidence=0.95)
    assert (welch.held, welch.pairs, welch.sizes) == (False, 0, (3, 3))


def test_the_margin_is_kept_by_the_lower_end() -> None:
    before, now = seeds(0.8, 0.8, 0.8, 0.8, 0.8), seeds(0.83, 0.81, 0.84, 0.82, 0.80)
    least = compare(now, before, lower=False, confidence=0.95).least
    assert least is not None
    assert 0 < least < 0.02
    assert compare(now, before, lower=False, by=least - 1e-6, confidence=0.95).held
    assert not compare(now, before, lower=False, by=least + 1e-6, confidence=0.95).held


def test_values_that_do_not_vary() -> None:
    made = compare(seeds(0.9, 0.9, 0.9), seeds(0.8, 0.8, 0.8), lower=False, by=0.1, confidence=0.99)
    assert (made.held, made.varies) == (True, False)
    same = compare(seeds(0.9, 0.9), seeds(0.9, 0.9), lower=False, confidence=0.95)
    assert (same.held, same.varies) == (False, False)
    assert compare(seeds(0.9, 0.9), seeds(0.9, 0.9), lower=False, worse=True, confidence=0.95).held


def test_one_value_has_no_confidence() -> None:
    with pytest.raises(TooFewError, match="at least 2 values on each side: there are 1 and 1"):
        compare({"": 0.9}, {"": 0.8}, lower=False, confidence=0.95)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_false_alarms_are_as_rare_as_the_confidence_says(n: int) -> None:
    dice, rounds = random.Random(n), 2000
    held = 0
    for _ in range(rounds):
        luck = [dice.gauss(0.8, 0.05) for _ in range(n)]
        before, now = ({str(k): v + dice.gauss(0, 0.01) for k, v in enumerate(luck)} for _ in range(2))
        held += compare(now, before, lower=False, confidence=0.95).held
    # Three standard deviations around 5 %.
    assert abs(held / rounds - 0.05) < 3 * math.sqrt(0.05 * 0.95 / rounds)


# --- in a gate ---------------------------------------------------------------------------------

IDS = tuple(f"train[{n}]" for n in range(1, 6))
AUC = Metric(IDS, "scores", "auc", many=True)
MAIN = Metric(IDS, "scores", "auc", many=True, baseline="main")


def snapshot(values: Mapping[str, float]) -> Snapshot:
    return Snapshot(stages={k: StageEntry("k", (), {"scores": {"auc": v}}) for k, v in values.items()})


def decide(expr: Expr, now: Mapping[str, float], before: Snapshot) -> Row:
    gate = Gate("quality", place(), (Requirement(expr, "the text", place()),))
    facts = Facts(snapshot(now), lambda _: before, {}, lambda *_: 0)
    (row,) = gates.evaluate(gate, facts).rows
    return row


def better(*options: tuple[str, Expr], function: str = "better", of: Metric = AUC) -> Call:
    return Call(function, (of,), (("than", MAIN), *options))


BEFORE = dict(zip(IDS, (0.80, 0.82, 0.79, 0.81, 0.83), strict=True))
AFTER = dict(zip(IDS, (0.82, 0.83, 0.81, 0.83, 0.84), strict=True))
SURE = ("confidence", Number(95, "%"))


def test_a_row_says_what_was_found_required_and_how_sure() -> None:
    row = decide(better(("by", Number(0.5, "%")), SURE), AFTER, snapshot(BEFORE))
    assert (row.passed, row.found, row.required) == (True, "0.826", ">= 0.814")
    assert row.baseline == pytest.approx(0.81)
    assert row.difference == pytest.approx(0.016)
    assert row.detail.split("; ") == [
        "more is better", "mean of 5 pairs", "gain +1.975 %, at least +1.323 % with 95 % confidence",
        "wanted +0.5 %",
    ]  # fmt: skip
    row = decide(better(("by", Number(0.02)), SURE), AFTER, snapshot(BEFORE))
    assert (row.passed, row.required) == (False, ">= 0.83")
    assert row.note == ""
    assert "gain +0.016, at least +0.01078 with 95 % confidence; wanted +0.02" in row.detail


def test_less_is_better_where_the_metric_says_so() -> None:
    loss = Metric(IDS, "scores", "auc", many=True, lower=True)
    row = decide(better(SURE, of=loss), AFTER, snapshot(BEFORE))
    assert not row.passed, "the direction is the metric's"
    call = Call("better", (loss,), (("than", Metric(IDS, "scores", "auc", True, "main", lower=True)), SURE))
    row = decide(call, BEFORE, snapshot(AFTER))
    assert (row.passed, row.required) == (True, "< 0.826")
    assert row.detail.startswith("less is better; mean of 5 pairs; gain +0.016, ")


def test_a_gain_that_is_not_certain_says_so() -> None:
    spread = dict(zip(IDS, (0.9, 0.7, 0.95, 0.72, 0.9), strict=True))
    row = decide(better(SURE), spread, snapshot(BEFORE))
    assert (row.passed, row.note) == (
        False, "the mean is enough, but it varies too much to be sure: more seeds would tell"
    )  # fmt: skip


def test_seeds_that_the_baseline_does_not_have_make_two_samples() -> None:
    few = {k: BEFORE[k] for k in IDS[:3]}
    row = decide(better(SURE), AFTER, snapshot(few))
    assert "means of 5 and 3" in row.detail
    row = decide(better(SURE), AFTER, snapshot({IDS[0]: 0.8}))
    assert (row.passed, row.note) == (
        False, "a confidence takes at least 2 values on each side: there are 5 and 1"
    )  # fmt: skip


def test_a_metric_that_is_missing_or_no_number_has_a_name() -> None:
    row = decide(better(SURE), {k: AFTER[k] for k in IDS[1:]}, snapshot(BEFORE))
    assert (row.passed, row.note) == (False, "train[1].scores.auc is missing: `train[1]` has not run")
    row = decide(better(SURE), AFTER | {IDS[2]: math.nan}, snapshot(BEFORE))
    assert (row.passed, row.note) == (False, "train[3].scores.auc is nan")
    row = decide(better(SURE), AFTER, snapshot(BEFORE | {IDS[2]: math.inf}))
    assert (row.passed, row.note) == (True, "train[3].scores.auc is inf at `main`: passes")


def test_no_baseline_at_all_is_said() -> None:
    none = Snapshot("main", None, note="no baseline `main`: this is its first commit", found=False)
    row = decide(better(SURE), AFTER, none)
    assert (row.passed, row.note) == (True, "no baseline `main`: this is its first commit: passes")


def test_pairs_of_two_stages_meet_by_seed() -> None:
    old = tuple(s.replace("train", "former") for s in IDS)
    call = Call("no_worse", (AUC,), (("than", Metric(old, "scores", "auc", True)), SURE))
    values = AFTER | {o: BEFORE[s] for o, s in zip(old, IDS, strict=True)}
    row = decide(call, values, snapshot({}))
    assert row.passed
    assert "mean of 5 pairs" in row.detail


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("loss", True), ("val_loss", True), ("test.rmse", True), ("valLoss", True), ("auc", False),
        ("macro_f1", False), ("error_rate", True), ("rows", None), ("accuracy_loss", None), ("epochs", None),
    ],
)  # fmt: skip
def test_directions_by_name(name: str, lower: bool | None) -> None:
    assert by_name(name) is lower


PIPELINE = """\
mlpipe 1
pipeline example
data prod: metrics { auc: float } = "prod.json"
stage train {
  out scores: metrics { auc: float } = "metrics.json"
  run = "echo '{\\"auc\\": 0.9}' > {{scores}}"
}
gate quality {
  require better(train.scores.auc, than = prod.auc, by = 1%)
}
on push("main") { run = [quality] }
"""


def test_a_metric_of_a_data_source_is_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "pipeline.mlpipe").write_text(PIPELINE)

    def run(content: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "prod.json").write_text(content)
        return subprocess.run(
            [sys.executable, "-m", "mlflowc", "run"], cwd=tmp_path, capture_output=True, text=True
        )

    assert run('{"auc": 0.85}').returncode == 0
    # Nothing is to be done, and what the gate reads is another one all the same.
    worse = run('{"auc": 0.95}')
    assert (worse.returncode, "nothing to do" in worse.stdout) == (1, True)
    assert "0.9  >= 0.9595" in worse.stdout
    for content, words in (("{}", "prod.auc is missing"), ("x", "cannot be used: it is not JSON")):
        broken = run(content)
        assert (broken.returncode, words in broken.stdout) == (1, True), broken.stdout
