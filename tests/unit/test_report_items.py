"""Lines of a report beside metrics and plots: data, stages, the graph, notebooks, folders, specifications;
and what Markdown does with what is too much or too clever."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlflowc.ir.direction import by_name
from mlflowc.report import curves, folders, given, html, markdown, notebook, pictures, profile
from mlflowc.report.marks import Style, code, escape, fenced
from mlflowc.report.model import (
    Baseline,
    Chart,
    Document,
    Gates,
    Graph,
    MetricRow,
    Metrics,
    Notebook,
    Picture,
    Plot,
    StageRow,
    Stages,
    Table,
    to_json,
)
from mlflowc.report.words import difference, money, tally, trend
from mlflowc.runtime.gate_result import GateResult, Row
from mlflowc.runtime.tables import TableError
from tests.support.training import commit, git

GITHUB, PLAIN = Style(None, None, True), Style(None, None)

PIPELINE = """\
mlpipe 1
pipeline churn
param lr = 0.1
runner big { price = 3600, github = ["self-hosted"] }
data raw: csv { id: int unique, age: int in 0..120 } = "raw.csv"
stage train {
  in     raw
  param  lr
  out    scores: metrics { auc: float maximize, loss: float minimize, epochs: int } = "out/metrics.json"
  out    live: dir = "out/live"
  out    nb: notebook = "out/nb.ipynb"
  out    spec: json = "out/spec.json"
  runner = big
  run    = "python3 train.py {{params.lr}} {{raw}}"
}
report review {
  metrics  train.scores vs "main"
  metrics  train.live vs "main"
  stages   vs "main"
  data     vs "main"
  graph
  plot     train.live { vs = "main" }
  plot     train.spec { vs = "main" }
  notebook train.nb
}
on pull_request { run = [review] }
"""
TRAIN = """\
import json, os, sys
lr = float(sys.argv[1])
os.makedirs("out/live/plots/metrics/train", exist_ok=True)
os.makedirs("out/live/plots/sklearn", exist_ok=True)
json.dump({"auc": 0.8 + lr, "loss": 0.5 - lr, "epochs": 3}, open("out/metrics.json", "w"))
json.dump({"train": {"loss": lr}, "step": 2}, open("out/live/metrics.json", "w"))
with open("out/live/plots/metrics/train/loss.tsv", "w") as f:
    f.write("step\\tloss\\n" + "".join(f"{n}\\t{lr * n}\\n" for n in range(5)))
json.dump({"roc": [{"fpr": x / 4, "tpr": (x / 4) ** 0.5, "threshold": 1 - x / 4} for x in range(5)]},
          open("out/live/plots/sklearn/roc.json", "w"))
json.dump({"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [
    {"output_type": "stream", "text": ["one\\rtwo \\u001b[31mred\\u001b[0m\\n"]},
    {"output_type": "error", "ename": "ValueError", "evalue": "<b>no</b>"}]}]}, open("out/nb.ipynb", "w"))
json.dump({"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "usermeta": {"x": {"y": 1}},
           "data": {"values": [{"a": lr}]}, "mark": "bar", "encoding": {"x": {"field": "a"}}},
          open("out/spec.json", "w"))
"""


def mlpipec(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "mlflowc", *args], cwd=root, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`main` at lr 0.1 with 3 rows, a branch at lr 0.2 with 4."""
    root = tmp_path_factory.mktemp("items") / "p"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "pipeline.mlpipe").write_text(PIPELINE)
    (root / "train.py").write_text(TRAIN)
    (root / ".gitignore").write_text("out/\n")
    (root / "raw.csv").write_text("id,age\n1,30\n2,40\n3,50\n")
    assert mlpipec(root, "run").returncode == 0
    commit(root, "one")
    git(root, "checkout", "-q", "-b", "topic")
    (root / "pipeline.mlpipe").write_text(PIPELINE.replace("lr = 0.1", "lr = 0.2"))
    (root / "raw.csv").write_text("id,age\n1,30\n2,40\n3,50\n4,80\n")
    assert mlpipec(root, "run").returncode == 0
    commit(root, "two")
    return root


@pytest.fixture(scope="module")
def report(project: Path) -> list[dict[str, Any]]:
    done = mlpipec(project, "report", "--json")
    assert done.returncode == 0, done.stderr
    sections: list[dict[str, Any]] = json.loads(done.stdout)["sections"]
    return sections


def of(report: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [s for s in report if s["kind"] == kind]


def test_metrics_say_what_got_better(report: list[dict[str, Any]]) -> None:
    rows = {r["field"]: r["verdict"] for r in of(report, "metrics")[0]["rows"]}
    assert rows == {"auc": "better", "loss": "better", "epochs": ""}


def test_metrics_in_a_folder_of_dvclive(report: list[dict[str, Any]]) -> None:
    rows = {r["field"]: (r["now"], r["before"], r["verdict"]) for r in of(report, "metrics")[1]["rows"]}
    assert rows == {"train.loss": (0.2, 0.1, "worse"), "step": (2, 2, "")}


def test_data_tells_rows_the_verdict_and_what_changed(report: list[dict[str, Any]]) -> None:
    (row,) = of(report, "data")[0]["rows"]
    assert (row["rows"], row["columns"], row["checked"]) == (4, 2, "good")
    assert row["changes"] == [
        "+1 row (3 → 4)", "id: mean 2 → 2.5, greatest 3 → 4", "age: mean 40 → 50, greatest 50 → 80",
    ]  # fmt: skip
    assert row["profile"]["rows"][1] == ["age", "0 %", "40 → 50", "30", "50 → 80", "3 → 4"]


def test_data_that_is_not_of_its_type_says_which_rows(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "p"
    shutil.copytree(project, root)
    (root / "raw.csv").write_text("id,age\n1,30\n1,400\n")
    (row,) = of(json.loads(mlpipec(root, "report", "--json").stdout)["sections"], "data")[0]["rows"]
    assert row["checked"] == "bad"
    assert any("unique" in line for line in row["findings"])
    assert any("400" in line for line in row["findings"])


def test_stages_say_why_and_how_long(report: list[dict[str, Any]]) -> None:
    (row,) = of(report, "stages")[0]["rows"]
    assert (row["state"], row["cost"]) == ("current", None)
    assert row["why"] == "parameter `lr` changed: 0.1 → 0.2; input `raw` changed: `raw.csv`"


def test_a_job_tells_what_ran_for_its_commit(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "p"
    shutil.copytree(project, root)
    assert mlpipec(root, "run", "--force").returncode == 0
    done = mlpipec(root, "exec", "review")
    assert done.returncode == 0, done.stderr
    text = (root / "mlpipe-report" / "review.md").read_text()
    assert "| `train` | ran |" in text
    assert "cost" in text
    git(root, "commit", "-q", "--allow-empty", "-m", "later")
    assert mlpipec(root, "exec", "review").returncode == 0
    assert "| `train` | cached |" in (root / "mlpipe-report" / "review.md").read_text()


def test_the_graph_is_in_each_form(report: list[dict[str, Any]]) -> None:
    (graph,) = of(report, "graph")
    assert graph["svg"].startswith("<svg")
    assert "flowchart" in graph["mermaid"]
    assert "train" in graph["text"]


def test_plots_in_a_folder_are_drawn_each_against_its_old_one(report: list[dict[str, Any]]) -> None:
    plots = {p["title"]: p for p in of(report, "plot")}
    assert list(plots) == ["train/loss", "sklearn/roc", "train.spec"]
    assert {r[1] for r in plots["train/loss"]["digest"]["rows"]} == {"now", "main"}
    assert plots["sklearn/roc"]["alt"] == "ROC curve"


def test_a_specification_is_drawn_as_it_is_and_set_free_of_what_it_must_not_say(
    report: list[dict[str, Any]],
) -> None:
    charts = {p["title"]: p for p in of(report, "plot")}["train.spec"]["charts"]
    assert [c["caption"] for c in charts] == ["now", "main"]
    assert [c["spec"]["data"]["values"][0]["a"] for c in charts] == [0.2, 0.1]
    assert "usermeta" not in charts[0]["spec"]


def test_a_specification_fetches_nothing() -> None:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"url": "https://x.example/d.csv"},
    }
    tame, notes = given.tame({**spec, "mark": "bar"})
    assert tame["data"] == {}
    assert notes == ("it would fetch data: a plot has to bring its own",)


def test_a_broken_specification_is_a_note() -> None:
    assert given.problem({"mark": 3}).startswith("it cannot be drawn: ")


def test_a_notebook_shows_what_its_cells_put_out(report: list[dict[str, Any]]) -> None:
    (book,) = of(report, "notebook")
    assert book["parts"] == ["two red", "ValueError: <b>no</b>"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"cells": 3}', '{"cells": [3]}', "\x00"])
def test_what_is_no_notebook_is_a_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "nb.ipynb").write_text(text)
    assert notebook.read("nb", tmp_path / "nb.ipynb").notes == ("it is not a Jupyter notebook of format 4",)


def test_the_page_and_every_markdown_hold_all_of_it(project: Path, tmp_path: Path) -> None:
    page, text = tmp_path / "r.html", tmp_path / "r.md"
    assert mlpipec(project, "report", "--html", str(page), "--markdown", str(text)).returncode == 0
    for words in ("two red", "ValueError: &lt;b&gt;no", "Columns of raw", "data:image/svg+xml"):
        assert words in page.read_text()
    assert "ValueError: <b>no</b>" in text.read_text(), "in a block of code it is text"


# --- Markdown ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@boss", "@\u200bboss"), ("a@b.example", "a@\u200bb.example"), ("#12", "#\u200b12"),
        ("owner/repo#12", "owner/repo#\u200b12"), ("!7", "!\u200b7"), ("GH-3", "GH\u200b-3"),
        ("https://x.example", "https:\u200b//x.example"), ("www.x.example", "www\u200b.x.example"),
        ("a|b", "a\\|b"), ("<img>", "&lt;img>"), ("&lt;", "&amp;\u200blt;"), ("$x$", "\\$\u200bx\\$"),
        ("5 % of #", "5 % of #"), ("plain_name", "plain_name"),
    ],
)  # fmt: skip
def test_text_of_the_data_is_no_markup_mention_or_link(text: str, shown: str) -> None:
    assert escape(text, GITHUB) == shown


def test_code_and_blocks_cannot_be_ended() -> None:
    assert code("a`b|c", PLAIN) == "``a`b\\|c``"
    assert fenced("x\n```\n<b>") == "````\nx\n```\n<b>\n````"


def many_metrics(count: int) -> Document:
    base = Baseline("main", "a" * 40)
    rows = tuple(MetricRow("train", "scores", f"m{n}", n, n - (n == count - 1)) for n in range(count))
    return Document("p", "r", (Metrics(rows, base),))


@pytest.mark.parametrize("limit", [30_000, 60_000, 1_000_000])
def test_ten_thousand_rows_keep_every_limit_and_show_what_changed(limit: int) -> None:
    document = many_metrics(10_000)
    text = markdown.render(document, images="mermaid", limit_bytes=limit)
    assert len(text.encode()) <= limit
    assert "`train.scores.m9999`" in text
    assert "more rows." in text


def test_five_hundred_plots_are_cut_for_markdown_and_whole_on_the_page() -> None:
    plots = tuple(
        Plot(f"plot {n}", (Chart({"data": {"values": []}, "mark": "bar"}),), "bars", Table(("a",), ((n,),)))
        for n in range(500)
    )
    document = Document("p", "r", plots)
    text = markdown.render(document)
    assert text.count("\n## ") == 100
    assert "400 more plots and images are left out here" in text
    assert len(markdown.render(document, limit_bytes=30_000).encode()) <= 30_000
    page = html.render(document)
    assert page.count('<div class="chart"') == (500 if pictures.available() else 0)


def test_long_tables_on_the_page_are_cut_and_say_so() -> None:
    page = html.render(many_metrics(10_000))
    assert page.count('<span class="of">train') == html.MOST_ROWS
    assert "8,000 more rows" in page


def test_a_stage_table_folds_where_the_service_can() -> None:
    document = Document("p", "r", (Stages(tuple(StageRow(f"s{n}", "ran", 2.0) for n in range(40))),))
    text = markdown.render(document, images="mermaid")
    assert "<details><summary>40 ran (1 min 20 s).</summary>" in text
    assert "<details>" not in markdown.render(document)


def test_without_mermaid_there_is_no_html() -> None:
    row = Row("a | b", False, "1", ">= 2", note="see @you")
    book = Notebook("nb", ("x",), ("a note",))
    graph = Graph("<svg/>", "flowchart LR", "a -> b", "1 stage")
    stages = Stages(tuple(StageRow(f"s{n}", "ran") for n in range(30)))
    text = markdown.render(Document("p", "r", (Gates((GateResult("g", (row,)),)), book, graph, stages)))
    assert "<" not in text
    assert "mermaid" not in text


def test_a_document_with_everything_is_json() -> None:
    picture = Picture("image/png", "x.png", b"abc", "cell 1")
    document = Document("p", "r", (Notebook("nb", ("text", picture)), Graph("s", "m", "t", "u")))
    value = json.loads(json.dumps(to_json(document)))
    assert value["sections"][0]["parts"][1]["data"] == base64.b64encode(b"abc").decode()


# --- words ---------------------------------------------------------------------------------------


def test_arrows_and_verdicts() -> None:
    up = MetricRow("t", "s", "auc", 0.9, 0.8, lower=False)
    assert (trend(up), difference(up)) == ("▲ better", ("+0.1", "+12.5 %"))
    assert trend(MetricRow("t", "s", "loss", 0.9, 0.8, lower=True)) == "▲ worse"
    assert trend(MetricRow("t", "s", "rows", 8, 9)) == "▼"
    assert trend(MetricRow("t", "s", "auc", 1, 1, lower=False)) == ""
    assert difference(MetricRow("t", "s", "time", 9, 8, unit="s"))[0] == "+1 s"


def test_tallies_and_money() -> None:
    rows = (
        StageRow("a", "ran", 60.0, cost=1.2),
        StageRow("b", "cached", 30.0, cost=0.0),
        StageRow("c", "missing"),
    )
    assert tally(Stages(rows)) == "1 ran (1 min 0 s, 1.20), 1 cached (saved 30 s), 1 not run yet."
    assert [money(v) for v in (None, 0.0, 0.001, 12.346)] == ["", "0", "< 0.01", "12.35"]


# --- profiles, folders, curves --------------------------------------------------------------------


def test_a_large_table_has_the_same_profile_by_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(1)
    lines = ["id,price,plan"]
    lines += [
        f"{n},{'' if n % 10 == 0 else dice.random():.6},{dice.choice('abc')}" if n % 10 else f"{n},,b"
        for n in range(2000)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    small = profile.of(path, "csv")
    monkeypatch.setattr(profile, "_SMALL", 0)
    large = profile.of(path, "csv")
    assert (small.rows, [c.name for c in small.columns]) == (large.rows, [c.name for c in large.columns])
    for one, other in zip(small.columns, large.columns, strict=True):
        assert one.nulls == other.nulls
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
    assert profile.decode(json.loads(json.dumps(profile.encode(small)))) == small


def test_new_and_gone_columns_are_named() -> None:
    now = profile.Profile(2, (profile.Column("a", 0), profile.Column("b", 0)))
    old = profile.Profile(2, (profile.Column("a", 1), profile.Column("c", 0)))
    assert profile.changes(now, old) == ("new: b", "gone: c", "a: empty 50 % → 0 %")


def test_files_of_a_folder_are_picked_in_the_order_of_numbers() -> None:
    paths = ["plots/b10.csv", "plots/b9.csv", "plots/deep/x.tsv", "metrics.json", "params.yaml", "readme.md"]
    assert folders.plots(paths, None) == ["plots/b9.csv", "plots/b10.csv", "plots/deep/x.tsv"]
    assert folders.plots(paths, "plots/*.csv") == ["plots/b9.csv", "plots/b10.csv"]
    assert folders.plots(paths, "**/*.tsv") == ["plots/deep/x.tsv"]
    assert folders.plots(["a.csv", "metrics.json"], None) == ["a.csv"]
    assert folders.metrics(paths, None) == ["metrics.json"]


def test_curves_from_scores_have_the_area_of_the_ranks() -> None:
    dice = random.Random(3)
    pairs = [(n % 2, round(dice.gauss(n % 2, 1), 1)) for n in range(300)]
    roc = curves.points("roc", "label", pairs)
    good, bad = [s for c, s in pairs if c], [s for c, s in pairs if not c]
    # The area is the share of pairs in which the positive has the higher score, ties by half.
    wins = sum((g > b) + (g == b) / 2 for g in good for b in bad) / (len(good) * len(bad))
    assert curves.area("roc", roc) == pytest.approx(wins)
    assert (roc[0], roc[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert curves.area("pr", curves.points("pr", "label", [(1, 0.9), (0, 0.5), (1, 0.4)])) == pytest.approx(
        0.5 * 1 + 0.5 * 2 / 3
    )


def test_a_curve_of_three_classes_is_none() -> None:
    with pytest.raises(TableError, match="needs two classes, and here are 3"):
        curves.points("roc", "label", [("a", 0.1), ("b", 0.2), ("c", 0.3)])
    with pytest.raises(TableError, match="needs the columns fpr and tpr"):
        curves.columns("roc", ["a", "b"], "", ())


def test_names_that_mean_nothing_have_no_direction() -> None:
    assert by_name("m1") is None


def test_plots_of_dvc_in_a_folder_become_lines_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: python train.py\n    outs: [dvclive]\n"
        "metrics: [dvclive/metrics.json]\n"
        "plots:\n  - dvclive/plots/metrics:\n      x: step\n  - dvclive/plots/images/shap.png\n"
    )
    (tmp_path / "train.py").write_text("")
    done = mlpipec(tmp_path, "import")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "pipeline.mlpipe").read_text()
    assert 'metrics train.dvclive { path = "metrics.json" }' in text
    assert 'plot    train.dvclive { x = step, path = "plots/metrics/**" }' in text
    assert 'image   train.dvclive { path = "plots/images/shap.png" }' in text
    assert mlpipec(tmp_path, "check").returncode == 0
