"""Plots: which columns are drawn how, what is left out, and that the result is valid Vega-Lite."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mlflowc.ir.model import Column, ScalarType, Value
from mlflowc.report import pictures, plots, points
from mlflowc.report.model import Baseline, Plot
from mlflowc.report.points import Sheet
from mlflowc.runtime import tables

MAIN = Baseline("main", "c" * 40)
LOSS = "epoch,loss,val_loss\n" + "".join(f"{n},{1 / n:.4f},{1.2 / n:.4f}\n" for n in range(1, 21))
OLD = "epoch,loss,val_loss\n" + "".join(f"{n},{2 / n:.4f},{2.2 / n:.4f}\n" for n in range(1, 16))
PAIRS = "actual,predicted\n" + "cat,cat\n" * 8 + "cat,dog\n" * 2 + "dog,dog\n" * 10
BARS = "feature,importance\nage,0.5\nincome,0.3\nplan,0.2\n"
AGES = "age\n" + "".join(f"{random.Random(1).gauss(40, 9) + n % 7:.3f}\n" for n in range(500))
CLOUD = "size,price\n3,5\n1,2\n2,9\n5,1\n"


def draw(tmp_path: Path, text: str, old: str | None = None, /, **options: Value) -> Plot:
    """The plot of a CSV file."""
    (tmp_path / "now.csv").write_text(text)
    sheets = [Sheet(tmp_path / "now.csv", "csv", "")]
    if old is not None:
        (tmp_path / "old.csv").write_text(old)
        sheets.append(Sheet(tmp_path / "old.csv", "csv", "", True))
    return plots.draw("The plot", (), sheets, options, baseline=MAIN if old is not None else None)


def values(plot: Plot) -> list[dict[str, object]]:
    (chart,) = plot.charts
    found: list[dict[str, object]] = chart.spec["data"]["values"]
    return found


@pytest.mark.parametrize(
    ("text", "alt"),
    [
        (LOSS, "line of loss, val_loss by epoch"),
        (CLOUD, "scatter of price by size"),
        (BARS, "bars of importance by feature"),
        (AGES, "histogram of age"),
        (PAIRS, "confusion of predicted against actual"),
        ("day,n\n2024-01-01,3\n2024-01-02,5\n", "line of n by day"),
        ("plan\nbasic\nplus\nbasic\n", "bars of count by plan"),
    ],
)
def test_the_kind_follows_from_the_columns(tmp_path: Path, text: str, alt: str) -> None:
    plot = draw(tmp_path, text)
    assert plot.alt == alt
    assert len(plot.charts) == 1


@pytest.mark.parametrize(
    ("options", "alt"),
    [
        ({"x": "epoch", "y": "val_loss"}, "line of val_loss by epoch"),
        ({"y": ("loss", "val_loss")}, "line of loss, val_loss by epoch"),
        ({"x": "loss", "y": "val_loss"}, "scatter of val_loss by loss"),
        ({"kind": "scatter", "y": "loss"}, "scatter of loss by epoch"),
        ({"kind": "bar", "x": "epoch", "y": "loss"}, "bars of loss by epoch"),
        ({"kind": "histogram", "x": "loss"}, "histogram of loss"),
        ({"kind": "histogram", "y": "loss"}, "histogram of loss"),
        ({"kind": "confusion", "x": "epoch", "y": "loss"}, "confusion of loss against epoch"),
    ],
)
def test_settings_win(tmp_path: Path, options: dict[str, Value], alt: str) -> None:
    assert draw(tmp_path, LOSS, None, **options).alt == alt


def test_declared_types_win_over_the_look_of_the_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip,n\n10115,3\n20095,4\n")
    declared = (Column("zip", ScalarType("str")), Column("n", ScalarType("int")))
    plot = plots.draw("", declared, [Sheet(tmp_path / "a.csv", "csv", "")], {})
    assert plot.alt == "bars of n by zip"


def test_old_and_new_are_told_apart(tmp_path: Path) -> None:
    plot = draw(tmp_path, LOSS, OLD, y="loss")
    found = values(plot)
    assert {(v["v"], v["x"]) for v in found} == {("now", n) for n in range(1, 21)} | {
        ("main", n) for n in range(1, 16)
    }
    # The current line is drawn last: on top.
    assert found[0]["v"] == "main"
    assert found[-1]["v"] == "now"
    assert plot.digest is not None
    assert [row[1] for row in plot.digest.rows] == ["now", "main"]


def test_an_old_file_without_the_column_is_left_out_with_a_note(tmp_path: Path) -> None:
    plot = draw(tmp_path, LOSS, "epoch,error\n1,2\n", y="loss")
    assert {v["v"] for v in values(plot)} == {"now"}
    assert plot.notes == ("main: `old.csv` has no column `loss`",)


@pytest.mark.parametrize(
    ("text", "options", "note"),
    [
        ("", {}, "`now.csv` has no rows"),
        ("a,b\n", {}, "`now.csv` has no rows"),
        ("a,b\nx,y\n", {"kind": "line"}, "`now.csv` has no column of numbers to draw against `a`"),
        (LOSS, {"x": "step"}, "there is no column `step` in `now.csv`: epoch, loss, val_loss"),
        (LOSS, {"kind": "pie"}, "there is no plot of kind `pie`: line, scatter, bar, histogram, confusion"),
        ("a,b\nx,y\n", {"kind": "histogram", "x": "a"}, "the column `a` has no numbers"),
        ("actual\ncat\n", {"kind": "confusion"}, "a confusion matrix needs two columns"),
        ("actual,predicted\n" + "".join(f"{n},{n}\n" for n in range(70)), {}, "70 classes are too many"),
        ("a,b\n1,nan\n2,\n", {"kind": "line"}, "there are no numbers to draw in b"),
    ],
)
def test_what_cannot_be_drawn_is_a_note(
    tmp_path: Path, text: str, options: dict[str, Value], note: str
) -> None:
    plot = draw(tmp_path, text, None, **options)
    assert plot.charts == ()
    assert note in plot.notes[-1]


def test_a_file_that_is_not_text_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "now.csv").write_bytes(b"a,b\n\xff\xfe\x00,1\n")
    plot = plots.draw("", (), [Sheet(tmp_path / "now.csv", "csv", "")], {})
    assert plot.notes == ("`now.csv` is not UTF-8 text (byte 4)",)


def test_a_long_line_is_thinned_and_keeps_its_peaks(tmp_path: Path) -> None:
    rows = [(n, 1.0) for n in range(50_000)]
    rows[31_234] = (31_234, 99.0)
    rows[77] = (77, -99.0)
    plot = draw(tmp_path, "step,loss\n" + "".join(f"{x},{y}\n" for x, y in rows))
    found = values(plot)
    assert len(found) <= points.MAX_POINTS
    assert {(31_234, 99.0), (77, -99.0), (0, 1.0), (49_999, 1.0)} <= {(v["x"], v["y"]) for v in found}
    assert plot.notes == (f"drawn from {len(found):,} of 50,000 points, peaks kept",)


def test_a_large_cloud_is_thinned(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f"{n * 7919 % 10007},{n}\n" for n in range(10_000))
    assert len(values(draw(tmp_path, text))) == points.MAX_POINTS


def test_too_many_bars_are_cut_with_a_note(tmp_path: Path) -> None:
    plot = draw(tmp_path, "name,n\n" + "".join(f"n{n},{n}\n" for n in range(90)))
    assert len(values(plot)) == points.MAX_BARS
    assert plot.notes == ("name: the first 40 of 90 bars",)


def test_a_histogram_counts_every_value_in_shared_bins(tmp_path: Path) -> None:
    plot = draw(tmp_path, AGES, "age\n-5\n90\n90\n")
    found = values(plot)
    assert sum(v["n"] for v in found if v["v"] == "now") == 500  # type: ignore[misc]
    assert sum(v["n"] for v in found if v["v"] == "main") == 3  # type: ignore[misc]
    assert {(v["a"], v["b"]) for v in found if v["v"] == "now"} == {
        (v["a"], v["b"]) for v in found if v["v"] == "main"
    }


def test_a_histogram_of_one_value(tmp_path: Path) -> None:
    assert sum(v["n"] for v in values(draw(tmp_path, "a\n3\n3\n"))) == 2  # type: ignore[misc]


def test_a_confusion_counts_pairs_also_those_that_are_not_there(tmp_path: Path) -> None:
    plot = draw(tmp_path, PAIRS)
    assert {(v["a"], v["p"]): v["n"] for v in values(plot)} == {
        ("cat", "cat"): 8, ("cat", "dog"): 2, ("dog", "cat"): 0, ("dog", "dog"): 10,
    }  # fmt: skip
    assert plot.notes == ("90 % of 20 on the diagonal",)
    assert plot.digest is not None
    assert plot.digest.rows == (("cat", 8, 2), ("dog", 0, 10))


def test_a_confusion_may_come_as_counts_and_classes_are_sorted_as_numbers(tmp_path: Path) -> None:
    plot = draw(tmp_path, "actual,predicted,count\n10,10,5\n9,10,2\n9,9,1\n")
    assert plot.digest is not None
    assert plot.digest.rows == (("9", 1, 2), ("10", 0, 5))


def test_a_confusion_with_a_baseline_is_two_pictures(tmp_path: Path) -> None:
    assert [c.caption for c in draw(tmp_path, PAIRS, PAIRS).charts] == ["now", "main"]


def test_instances_are_series(tmp_path: Path) -> None:
    for name in ("de", "en"):
        (tmp_path / f"{name}.csv").write_text(LOSS)
    sheets = [Sheet(tmp_path / f"{n}.csv", "csv", n) for n in ("de", "en")]
    plot = plots.draw("", (), sheets, {"y": "loss"})
    assert {v["s"] for v in values(plot)} == {"de", "en"}


def test_one_metric_of_several_instances_has_a_bar_each() -> None:
    plot = plots.metrics("", [("de", False, {"auc": 0.8}), ("en", False, {"auc": 0.9})])
    assert plot.alt == "bars of auc by stage"
    assert [(v["x"], v["y"]) for v in values(plot)] == [("de", 0.8), ("en", 0.9)]
    assert plots.metrics("", [("", False, {})]).notes == ("there are no values yet",)


def test_a_colour_column_makes_series(tmp_path: Path) -> None:
    plot = draw(tmp_path, "step,loss,fold\n1,2,a\n2,1,a\n1,3,b\n2,2,b\n", y="loss", color="fold")
    assert {v["s"] for v in values(plot)} == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "old"), [(LOSS, OLD), (CLOUD, CLOUD), (BARS, BARS), (AGES, AGES), (PAIRS, PAIRS)]
)
@pytest.mark.filterwarnings("error")
def test_every_kind_is_drawn_by_vega(tmp_path: Path, text: str, old: str) -> None:
    for plot in (draw(tmp_path, text), draw(tmp_path, text, old)):
        for chart in plot.charts:
            json.dumps(chart.spec, allow_nan=False)
            svg = pictures.svg(chart.spec)
            # Marks, not only axes: paths or rectangles that stand for data.
            assert svg.count('aria-roledescription="') > 4
            assert "NaN" not in svg
            assert "undefined" not in svg
    assert pictures.png(chart.spec).startswith(b"\x89PNG")


# --- table files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.csv", "id,text\n1,\"two\nlines\"\n\n2,x\n", 2),
        ("a.csv", "\ufeffid\n1\n", 1),
        ("a.csv", "id\n", 0),
        ("a.csv", "", 0),
        ("a.tsv", "id\ta\n1\t2\n", 1),
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n', 2),
        ("a.json", '[{"a": 1}, {"a": 2}, {"a": 3}]', 3),
        ("a.json", '{"a": [1, 2], "b": [3, 4]}', 2),
    ],
)  # fmt: skip
def test_rows_are_counted(tmp_path: Path, name: str, text: str, count: int) -> None:
    path = tmp_path / name
    path.write_text(text)
    kind = path.suffix[1:]
    assert tables.count(path, kind) == count
    assert len(list(tables.rows(path, kind))) == count


def test_cells_are_numbers_text_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c,d,e,f\n1,1.5,-2e3,x,,1_000\n")
    (row,) = tables.rows(tmp_path / "a.csv", "csv")
    assert row == {"a": 1, "b": 1.5, "c": -2000.0, "d": "x", "e": None, "f": "1_000"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"), ("a.json", "3"), ("a.json", '{"a": [1], "b": []}'), ("a.json", "[1]"),
        ("a.json", "[" * 100_000), ("a.txt", "x"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_an_error_in_words(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(tables.TableError):
        tables.count(path, path.suffix[1:])


def test_a_missing_file_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(tables.TableError, match=r"`a\.csv` cannot be read: No such file"):
        tables.count(tmp_path / "a.csv", "csv")
