"""The programs of the standard library: their numbers, against values known from elsewhere."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflowc.stdlib import drift, model_card, run_pytest

from mlflowc import resources
from mlflowc.compile import compile_text
from tests.conftest import CHECKOUT
from tests.support.loader import MemoryLoader

PAGE = (CHECKOUT / "docs" / "stdlib.md").read_text()

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=20).filter(any)
VALUES = st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=60)
WORDS = st.lists(st.sampled_from(["a", "b", "c", "", "é"]) | st.none(), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("freedom", "statistic", "p"),
    [
        # Critical values of the chi-squared distribution, from tables.
        (1, 3.841458820694124, 0.05),
        (1, 6.634896601021213, 0.01),
        (2, 5.991464547107979, 0.05),
        (5, 11.070497693516351, 0.05),
        (10, 18.307038053275146, 0.05),
        (10, 29.58829844507442, 0.001),
        (30, 43.77297182574219, 0.05),
        (100, 124.34211340400407, 0.05),
    ],
)
def test_p_values_of_chi_squared(freedom: int, statistic: float, p: float) -> None:
    assert drift.upper_gamma(freedom / 2, statistic / 2) == pytest.approx(p, rel=1e-9)


@given(st.floats(0, 500))
def test_chi_squared_of_two_degrees_is_exponential(x: float) -> None:
    assert drift.upper_gamma(1, x / 2) == pytest.approx(math.exp(-x / 2), rel=1e-9)


def test_chi_squared_of_a_table_done_by_hand() -> None:
    # Rows 10, 20, 30 and 6, 9, 15: every expected count is a third more or less than the other row's.
    statistic, p = drift.chi_squared([10, 20, 30], [6, 9, 15])
    expected = [(10, 160 / 15), (20, 290 / 15), (30, 30), (6, 80 / 15), (9, 145 / 15), (15, 15)]
    assert statistic == pytest.approx(sum((o - e) ** 2 / e for o, e in expected))
    assert p == pytest.approx(math.exp(-statistic / 2))


@pytest.mark.parametrize(
    ("here", "there", "distance"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 0),
        ([1, 2, 3, 4], [5, 6, 7, 8], 1),
        ([1, 2, 3, 4], [3, 4, 5, 6], 0.5),
        ([0, 0, 0, 1], [0, 1, 1, 1], 0.5),
        ([1], [2, 3], 1),
    ],
)
def test_kolmogorov_and_smirnovs_distance(here: list[float], there: list[float], distance: float) -> None:
    assert drift.kolmogorov_smirnov(here, there)[0] == pytest.approx(distance)
    assert drift.kolmogorov_smirnov(there, here)[0] == pytest.approx(distance)


def test_kolmogorov_and_smirnovs_p_value_at_a_known_point() -> None:
    # The asymptotic distribution has its 5 % at 1.3581; the distance is chosen so that x is that.
    n = 10_000
    root = math.sqrt(n / 2)
    shift = round(1.3581 / (root + 0.12 + 0.11 / root) * n)
    distance, p = drift.kolmogorov_smirnov(list(range(n)), list(range(shift, n + shift)))
    assert distance == pytest.approx(shift / n)
    assert p == pytest.approx(0.05, rel=0.02)


def test_psi_of_shares_done_by_hand() -> None:
    assert drift.psi([0.5, 0.5], [0.25, 0.75]) == pytest.approx(-0.25 * math.log(0.5) + 0.25 * math.log(1.5))
    assert drift.psi([0.5, 0.5, 0], [0.5, 0, 0.5]) > 5


@given(COUNTS, COUNTS)
def test_psi_is_never_negative_and_symmetric(before: list[int], after: list[int]) -> None:
    size = min(len(before), len(after))
    if any(before[:size]) and any(after[:size]):
        one, two = drift.shares(before[:size]), drift.shares(after[:size])
        assert drift.psi(one, two) >= 0
        assert drift.psi(one, two) == pytest.approx(drift.psi(two, one))
        assert drift.psi(one, one) == 0


@given(VALUES, VALUES, st.integers(2, 20))
def test_every_number_is_in_one_bin(before: list[float | None], after: list[float | None], bins: int) -> None:
    found = drift.compare("x", before, after, bins, False)
    for n, size in ((2, len(before)), (3, len(after))):
        assert sum(row[n] for row in found["shares"]) == pytest.approx(1)
        assert size * found["shares"][-1][n] == pytest.approx([before, after][n - 2].count(None))
    assert drift.compare("x", before, before, bins, False)["psi"] == 0


@given(WORDS, WORDS)
def test_every_category_is_counted(before: list[str | None], after: list[str | None]) -> None:
    found = drift.compare("x", before, after, 10, True)
    assert [sum(row[n] for row in found["shares"]) for n in (2, 3)] == [pytest.approx(1)] * 2
    assert found["p_value"] is None or 0 <= found["p_value"] <= 1


def test_many_categories_are_taken_together() -> None:
    found = drift.compare("id", [f"a{n}" for n in range(500)], [f"b{n}" for n in range(500)], 10, False)
    assert len(found["shares"]) == drift.MOST_CATEGORIES + 2
    assert drift.OTHER in [row[1] for row in found["shares"]]


def test_junit_of_one_suite_and_of_many(tmp_path: Path) -> None:
    suite = '<testsuite tests="5" failures="1" errors="1" skipped="1" time="1.5"/>'
    one, many = tmp_path / "one.xml", tmp_path / "many.xml"
    one.write_text(suite)
    many.write_text(f"<testsuites>{suite}{suite}</testsuites>")
    counted = {"passed": 2, "failed": 1, "errors": 1, "skipped": 1, "seconds": 1.5}
    assert run_pytest.count(str(one)) == counted
    assert run_pytest.count(str(many)) == {name: 2 * value for name, value in counted.items()}


def test_a_card_survives_odd_names(tmp_path: Path) -> None:
    assert model_card.table(("a|b",), [("x\ny",)]) == "| a\\|b |\n| --- |\n| x y |"
    assert dict(model_card.flat({"b": {"c": 1}, "a": 2})) == {"a": 2, "b.c": 1}
    assert [model_card.spelled(v) for v in (True, None, 0.1, 12345, [1, "x"])] == [
        "true",
        "none",
        "0.1",
        "12,345",
        "1, x",
    ]
    assert [model_card.sized(n) for n in (999, 1500, 2 * 10**12)] == ["999 B", "1.5 kB", "2,000.0 GB"]


def test_the_page_tells_of_each_component_and_all_that_it_has() -> None:
    for name in resources.stdlib_names():
        section = PAGE.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        source = resources.stdlib(name.removeprefix("std/")) or ""
        declared = re.findall(r"^  (?:in|param|out) +(\w+)", source, re.MULTILINE)
        assert {
            n for n in declared if n != "program" and not re.search(rf"`[^`]*\b{n}\b[^`]*`", section)
        } == set()


@pytest.mark.parametrize("block", re.findall(r"^```mlpipe\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
def test_the_pages_examples_compile_without_a_remark(block: str) -> None:
    text = f"mlpipe 1\npipeline example\n{block}"
    paths = re.findall(r'"([\w/.-]+\.(?:csv|ipynb|md|txt|py))"', block)
    files = dict.fromkeys([*paths, "tests/test_a.py", "train.py"], "x\n")
    if "on " not in block:
        text += (
            "on pull_request { run = ["
            + ", ".join(re.findall(r"^(?:stage|gate|report) (\w+)", block, re.MULTILINE))
            + "] }\n"
        )
    assert compile_text("example.mlpipe", text, MemoryLoader(files)).diagnostics == ()
