"""Gates decide on numbers: what an expression means, and what is said when one does not hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from mlflowc.ir.model import Binary, Call, Expr, Gate, Metric, Number, ParamRef, Requirement, Rows, Unary
from mlflowc.runtime import gates, metrics
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.gate_table import expression, number, render
from mlflowc.runtime.gates import Facts, GateResult, Row
from mlflowc.runtime.lockfile import StageEntry
from tests.support.ir import place

AUC = Metric(("train",), "scores", "auc")
MAIN = Metric(("train",), "scores", "auc", baseline="main")
STRICT = Metric(("train",), "scores", "auc", baseline="main", missing="fail")
ALL = Metric(("train[de]", "train[en]"), "scores", "auc", many=True)
ALL_MAIN = Metric(("train[de]", "train[en]"), "scores", "auc", many=True, baseline="main")


def snapshot(**auc: float) -> Snapshot:
    """`train=0.9` or, for an instance, `train_de=0.9`."""
    ids = {k: k if "_" not in k else k.replace("_", "[") + "]" for k in auc}
    return Snapshot(stages={ids[k]: StageEntry("k", (), {"scores": {"auc": v}}) for k, v in auc.items()})


NONE = Snapshot("main", None, note="no baseline `main`: this is no git repository", found=False)


def decide(
    expr: Expr,
    now: Snapshot,
    before: Snapshot = NONE,
    *,
    text: str = "the text",
    message: str | None = None,
    params: Mapping[str, object] | None = None,
) -> GateResult:
    def rows(stage: str, output: str) -> int:
        if output == "lost":
            raise LookupError("the content is not here")
        return 1797

    gate = Gate("quality", place(), (Requirement(expr, text, place(), message),))
    return gates.evaluate(gate, Facts(now, lambda _: before, params or {}, rows))  # type: ignore[arg-type]


def only(result: GateResult) -> Row:
    (row,) = result.rows
    return row


def test_a_requirement_says_what_was_found_and_what_was_required() -> None:
    row = only(decide(Binary(">=", AUC, Number(0.8)), snapshot(train=0.9)))
    assert row == Row("the text", True, "0.9", ">= 0.8")
    row = only(decide(Binary(">=", AUC, Number(0.8)), snapshot(train=0.79), message="too low"))
    assert (row.passed, row.found, row.required, row.note) == (False, "0.79", ">= 0.8", "too low")


@pytest.mark.parametrize(
    ("op", "left", "right", "held"),
    [
        ("<", 1, 2, True), ("<", 2, 2, False), ("<=", 2, 2, True), (">", 2, 1, True), (">", 2, 2, False),
        (">=", 2, 2, True), ("==", 2, 2.0, True), ("==", 2, 3, False), ("!=", 2, 3, True),
        ("!=", 2, 2, False),
    ],
)  # fmt: skip
def test_comparisons(op: str, left: float, right: float, held: bool) -> None:
    assert decide(Binary(op, Number(left), Number(right)), snapshot()).passed is held


@pytest.mark.parametrize(
    ("expr", "value"),
    [
        (Binary("+", Number(2), Number(3)), 5),
        (Binary("-", Number(2), Number(3)), -1),
        (Binary("*", Number(2), Binary("+", Number(1), Number(3))), 8),
        (Binary("/", Number(1), Number(4)), 0.25),
        (Unary("-", Number(2)), -2),
        (Number(5, "%"), 0.05),
        (Number(90, "s"), 90),
        (Call("abs", (Number(-3),)), 3),
        (Call("mean", (ALL,)), 0.8),
        (Call("min", (ALL,)), 0.7),
        (Call("max", (ALL,)), 0.9),
        (Call("sum", (ALL,)), 1.6),
        (Call("std", (ALL,)), math.sqrt(0.02)),
        (Call("std", (Number(4),)), 0),
        (Call("max", (Number(1), Number(3), Number(2))), 3),
        (Call("max", (Call("abs", (Binary("-", ALL, ALL_MAIN),)),)), 0.2),
        (ParamRef("train.lr"), 0.1),
        (Rows("prepare", "clean"), 1797),
    ],
)
def test_values(expr: Expr, value: float) -> None:
    now, before = snapshot(train_de=0.7, train_en=0.9), snapshot(train_de=0.9, train_en=0.9)
    gap = Call("abs", (Binary("-", expr, Number(value)),))
    assert decide(Binary("<", gap, Number(1e-12)), now, before, params={"train.lr": 0.1}).passed


@pytest.mark.parametrize(
    ("share", "base", "now", "held"),
    [
        (Binary("-", MAIN, Number(5, "%")), 0.8, 0.7601, True),
        (Binary("-", MAIN, Number(5, "%")), 0.8, 0.7599, False),
        (Binary("+", MAIN, Number(5, "%")), 0.8, 0.8399, False),
        (Binary("+", MAIN, Number(5, "%")), 0.8, 0.8401, True),
        # A log likelihood of -100 may fall to -105, not be forced up to -95.
        (Binary("-", MAIN, Number(5, "%")), -100, -104.9, True),
        (Binary("-", MAIN, Number(5, "%")), -100, -105.1, False),
        (Binary("-", MAIN, Binary("+", Number(2, "%"), Number(3, "%"))), 0.8, 0.7601, True),
        (Binary("+", Number(5, "%"), Number(5, "%")), 0.8, 0.1, True),
        (Binary("+", MAIN, Unary("-", Number(5, "%"))), 0.8, 0.7601, True),
    ],
)
def test_a_percentage_scales_what_it_is_added_to(share: Expr, base: float, now: float, held: bool) -> None:
    assert decide(Binary(">=", AUC, share), snapshot(train=now), snapshot(train=base)).passed is held


def test_the_difference_to_the_baseline_is_shown() -> None:
    row = only(
        decide(
            Binary(">=", AUC, Binary("-", MAIN, Number(0.005))), snapshot(train=0.81), snapshot(train=0.82)
        )
    )
    assert not row.passed
    assert row.found == "0.81"
    assert row.required == ">= 0.815"
    assert row.baseline == 0.82
    assert row.difference == pytest.approx(-0.01)


def test_binary_fractions_do_not_decide() -> None:
    assert 0.3 < 0.1 + 0.2  # the trap
    total = Binary("+", Number(0.1), Number(0.2))
    for op, held in ((">=", True), ("<=", True), ("==", True), (">", False), ("<", False), ("!=", False)):
        assert decide(Binary(op, Number(0.3), total), snapshot()).passed is held


def test_figures_that_differ_are_shown_so_that_they_differ() -> None:
    row = only(decide(Binary(">=", AUC, Number(0.815)), snapshot(train=0.81499)))
    assert (row.found, row.required) == ("0.81499", ">= 0.815")


def test_a_missing_metric_fails_by_name() -> None:
    row = only(decide(Binary(">=", AUC, Number(0.8)), snapshot()))
    assert not row.passed
    assert row.note == "train.scores.auc is missing: `train` has not run"
    # Nor does another side excuse it.
    assert not decide(
        Binary("or", Binary(">", Number(2), Number(1)), Binary(">", AUC, Number(0))), snapshot()
    ).passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_finite_number_fails_by_name(value: float) -> None:
    for op in ("<", ">=", "!="):
        row = only(decide(Binary(op, AUC, Number(0.8)), snapshot(train=value)))
        assert not row.passed
        assert row.note == f"train.scores.auc is {value}"


@pytest.mark.parametrize("value", [10**400, 1.7e308])
def test_numbers_beyond_what_can_be_reckoned_with(value: float) -> None:
    now = snapshot(train_de=value, train_en=value)
    for expr in (
        Call("better", (ALL,), (("than", ALL_MAIN),)),
        Binary(">=", Call("mean", (ALL,)), Number(1)),
        Binary(">=", Call("sum", (ALL,)), Number(1)),
        Binary(">=", Binary("*", ALL, Number(10)), ALL_MAIN),
    ):
        row = only(decide(expr, now, snapshot(train_de=1.0, train_en=value)))
        assert not row.passed and row.note


def test_an_integer_that_is_no_float_is_no_metric(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(f'{{"auc": 1{"0" * 400}, "loss": [1, -1{"0" * 400}]}}')
    found = metrics.read(tmp_path / "m.json")
    assert metrics.finite(found) == {"loss.0": 1}


def test_a_missing_baseline_passes_or_fails_as_it_says() -> None:
    row = only(decide(Binary(">=", AUC, MAIN), snapshot(train=0.9)))
    assert row.passed
    assert row.note == "no baseline `main`: this is no git repository: passes"
    row = only(decide(Binary(">=", AUC, STRICT), snapshot(train=0.9)))
    assert not row.passed
    assert row.note.endswith(": fails")
    # What was found is shown all the same.
    assert row.found == "0.9"


def test_a_baseline_that_lacks_only_this_metric_says_so() -> None:
    row = only(decide(Binary(">=", AUC, MAIN), snapshot(train=0.9), Snapshot("main", "c" * 40)))
    assert row.note == "`main` has no train.scores.auc: passes"
    row = only(decide(Binary(">=", AUC, STRICT), snapshot(train=0.9), snapshot(train=math.nan)))
    assert not row.passed
    assert "train.scores.auc is nan at `main`" in row.note


@pytest.mark.parametrize(
    ("op", "known", "passed"),
    [
        ("or", 0.8, True),  # true, whatever the baseline
        ("or", 0.95, False),  # unknown, and a missing baseline fails
        ("and", 0.8, False),  # likewise
        ("and", 0.95, False),  # false, whatever the baseline
    ],
)
def test_unknown_sides_of_and_and_or(op: str, known: float, passed: bool) -> None:
    inner = Binary(op, Binary(">=", AUC, Number(known)), Binary(">=", AUC, STRICT))
    assert decide(Binary("or", inner, inner), snapshot(train=0.9)).passed is passed


def test_a_known_false_side_decides_whatever_the_baseline() -> None:
    broken = Binary(">=", AUC, Number(0.95))
    unknown = Binary(">=", AUC, MAIN)
    assert not decide(Binary("or", Binary("and", broken, unknown), broken), snapshot(train=0.9)).passed


def test_and_gives_a_row_for_each_part() -> None:
    expr = Binary("and", Binary(">=", AUC, Number(0.8)), Binary("<", AUC, Number(0.85)))
    result = decide(expr, snapshot(train=0.9))
    assert [(r.text, r.passed) for r in result.rows] == [
        ("train.scores.auc >= 0.8", True),
        ("train.scores.auc < 0.85", False),
    ]


def test_other_conditions_show_the_metrics_they_read() -> None:
    expr = Unary("not", Binary(">=", AUC, Number(0.8)))
    assert only(decide(expr, snapshot(train=0.9))).note == "train.scores.auc = 0.9"


def test_a_list_holds_when_every_instance_does_and_names_those_that_do_not() -> None:
    now = snapshot(train_de=0.7, train_en=0.9)
    row = only(decide(Binary(">=", ALL, Number(0.8)), now))
    assert not row.passed
    assert row.found == "0.7..0.9"
    assert row.note == "not in train[de]"
    assert decide(Binary(">=", ALL, Number(0.6)), now).passed


def test_two_lists_meet_by_instance() -> None:
    now, before = snapshot(train_de=0.7, train_en=0.9), snapshot(train_de=0.6, train_en=0.95)
    row = only(decide(Binary(">=", ALL, ALL_MAIN), now, before))
    assert not row.passed
    assert row.note == "not in train[en]"


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        (Binary(">", Binary("/", Number(1), Number(0)), Number(0)), "it divides by zero"),
        (Binary(">", ParamRef("no.such"), Number(0)), "the parameter no.such is no number"),
        (Binary(">", Rows("prepare", "lost"), Number(0)), "the content is not here"),
        (Binary(">", Call("median", (Number(1),)), Number(0)), "`median` is no function of gates"),
        (Binary("==", ParamRef("name"), Number(1)), '"adam" and 1 cannot be compared by =='),
        (Binary(">", Binary("*", Number(1e300), Number(1e300)), Number(0)), "grows beyond all bounds"),
        (Number(1), "1 is neither true nor false"),
        (
            Binary(">=", Binary("-", ALL, Metric(("train[de]",), "scores", "auc", True)), Number(0)),
            "different stages",
        ),
    ],
)
def test_what_cannot_be_decided_fails_and_says_why(expr: Expr, says: str) -> None:
    row = only(decide(expr, snapshot(train_de=0.7, train_en=0.9), params={"name": "adam"}))
    assert not row.passed
    assert says in row.note


def test_parameters_of_text_are_compared() -> None:
    # Only two values of one kind are: a literal of text is a parameter here.
    same = Binary("==", ParamRef("name"), ParamRef("name"))
    assert decide(same, snapshot(), params={"name": "adam"}).passed


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (Binary("*", Binary("+", Number(1), Number(2)), Number(3)), "(1 + 2) * 3"),
        (Binary("-", Number(1), Binary("-", Number(2), Number(3))), "1 - (2 - 3)"),
        (Binary("-", Binary("-", Number(1), Number(2)), Number(5, "%")), "1 - 2 - 5%"),
        (Unary("not", Binary("and", AUC, AUC)), "not (train.scores.auc and train.scores.auc)"),
        (MAIN, 'baseline("main").train.scores.auc'),
        (Call("mean", (ALL,)), "mean(train[*].scores.auc)"),
        (Unary("-", Binary("+", Number(1), Number(2))), "-(1 + 2)"),
    ],
)
def test_expressions_in_words(expr: Expr, text: str) -> None:
    assert expression(expr) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (3.0, "3"),
        (1797.25, "1797.2"),
        (1e-9, "1e-09"),
        (123456789.0, "123456789"),
        (math.nan, "nan"),
    ],
)
def test_numbers_in_words(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_keeps_within_the_terminal(width: int) -> None:
    result = GateResult(
        "quality",
        (
            Row("train.scores.auc >= 0.80", True, "0.8312", ">= 0.8"),
            Row(
                'train.scores.auc >= baseline("main").train.scores.auc - 0.005 and much.more.of.it > 3',
                False, "0.79", ">= 0.815", 0.82, -0.03,
                "AUC dropped, and this is a long explanation of what that means to the customers",
            ),
            Row("a.b.c >= 1", True, "2", ">= 1", note="no baseline `main`: no git repository: passes"),
        ),
    )  # fmt: skip
    text = render(result, width)
    assert max(len(line) for line in text.splitlines()) <= width
    for words in ("0.8312", ">= 0.815", "0.82", "-0.03", "AUC dropped", "2 of 3 hold", "FAIL"):
        assert words in text


def test_a_baseline_whose_name_is_a_slip_does_not_pass() -> None:
    slip = Snapshot("mian", None, note="no baseline `mian`: did you mean `main`?", found=False, misspelt=True)
    row = only(decide(Binary(">=", AUC, MAIN), snapshot(train=0.9), slip))
    assert not row.passed
    assert "did you mean `main`?: fails" in row.note
