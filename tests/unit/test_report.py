"""Reports: what is in the document of a real run, and how it reads as Markdown and as a page."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Report, ReportItem, Slot, StageOutput, Value
from mlflowc.report import build, html, markdown, marks, pictures, plots
from mlflowc.report.model import (
    Baseline,
    Data,
    DataRow,
    Document,
    Gates,
    Image,
    Inserted,
    MetricRow,
    Metrics,
    ParamRow,
    Params,
    Picture,
    Plot,
    StageRow,
    Stages,
    Text,
    to_json,
)
from mlflowc.report.points import Sheet
from mlflowc.runtime import baseline, execute, gates
from mlflowc.runtime.gates import GateResult, Row
from mlflowc.runtime.lockfile import LockFile, StageEntry
from mlflowc.runtime.plan import make_plan
from mlflowc.runtime.workspace import Workspace, open_workspace
from tests.support import training
from tests.support.ir import place

EVIL = "<img src=x onerror=alert(1)>|`*_[x](javascript:alert(1))_*`</script><script>alert(2)</script>\n# x"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A branch with results of its own, beside those of `main`. Only to be read."""
    return training.with_history(tmp_path_factory.mktemp("report") / "churn")


def section(ws: Workspace, item: ReportItem, vs: str | None = None, **given: object) -> object:
    """The one section of a report of `item`."""
    report = Report("review", place(), (item,), ("prepare", "train"))
    (made,) = build.build(ws, report, vs, **given).sections  # type: ignore[arg-type]
    return made


# --- the document ----------------------------------------------------------------------------------


def test_metrics_are_compared_with_the_baseline(trained: Workspace) -> None:
    made = section(trained, ReportItem("metrics", training.ref("train", "scores"), vs="main"))
    assert isinstance(made, Metrics)
    assert [(r.name, r.now, r.before) for r in made.rows] == [
        ("train.scores.accuracy", 0.875, 0.85),
        ("train.scores.auc", 0.915, 0.91),
        ("train.scores.seconds", 1234, 1234),
    ]
    assert made.rows[0].difference == pytest.approx(0.025)
    assert made.rows[0].relative == pytest.approx(0.025 / 0.85)
    assert made.baseline is not None
    assert made.baseline.commit == training.git(trained.root, "rev-parse", "main")


def test_several_tables_of_metrics_say_whose_they_are(trained: Workspace) -> None:
    item = ReportItem("metrics", training.ref("train", "scores"))
    report = Report("review", place(), (item, item), ("prepare", "train"))
    made = build.build(trained, report)
    assert markdown.render(made).count("## Metrics of train.scores\n") == 2
    assert html.render(made).count("<h2>Metrics of train.scores ") == 2


def test_metrics_without_a_revision_are_compared_with_none(trained: Workspace) -> None:
    item = ReportItem("metrics", training.ref("train", "scores"))
    made = section(trained, item)
    assert isinstance(made, Metrics)
    assert made.baseline is None
    compared = section(trained, item, "main")
    assert isinstance(compared, Metrics)
    assert compared.rows[0].before == 0.85


def test_an_unknown_revision_leaves_the_values_and_a_note(trained: Workspace) -> None:
    made = section(trained, ReportItem("metrics", training.ref("train", "scores"), vs="main"), "nowhere")
    assert isinstance(made, Metrics)
    assert made.rows[0].now == 0.875
    assert made.baseline == Baseline(
        "nowhere", None, "no baseline `nowhere`: no branch, tag or commit has that name", found=False
    )


def test_parameters_that_changed(trained: Workspace) -> None:
    made = section(trained, ReportItem("params", vs="main"))
    assert isinstance(made, Params)
    assert made.rows == (ParamRow("train.lr", 0.15, 0.1),)
    assert made.unchanged == 1
    everything = section(trained, ReportItem("params"))
    assert isinstance(everything, Params)
    assert [(r.name, r.now) for r in everything.rows] == [("train.lr", 0.15), ("train.seed", 7)]


def test_a_plot_holds_the_old_file_from_the_cache(trained: Workspace) -> None:
    made = section(
        trained, ReportItem("plot", training.ref("train", "curve"), vs="main", options=(("y", "loss"),))
    )
    assert isinstance(made, Plot)
    (chart,) = made.charts
    points = {(v["v"], v["x"]): v["y"] for v in chart.spec["data"]["values"]}
    assert len(points) == 80
    assert points["now", 20] < points["main", 20]
    assert made.notes == ()


def test_a_plot_of_metrics_is_bars(trained: Workspace) -> None:
    item = ReportItem(
        "plot", training.ref("train", "scores"), vs="main", options=(("y", ("accuracy", "auc")),)
    )
    made = section(trained, item)
    assert isinstance(made, Plot)
    assert made.digest is not None
    assert made.digest.rows == (("accuracy", 0.875, 0.85), ("auc", 0.915, 0.91))
    assert {(v["x"], v["v"]): v["y"] for v in made.charts[0].spec["data"]["values"]} == {
        ("accuracy", "now"): 0.875,
        ("auc", "now"): 0.915,
        ("accuracy", "main"): 0.85,
        ("auc", "main"): 0.91,
    }


def test_without_the_old_file_the_new_one_is_drawn_with_a_note(trained: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "churn"
    shutil.copytree(trained.root, root)
    ws = open_workspace(root, trained.pipeline)
    old = baseline.at(root, "main").output("train", "curve")
    assert old is not None
    path = ws.store.object_path(old.hash)
    path.parent.chmod(0o755)
    path.unlink()
    made = section(ws, ReportItem("plot", training.ref("train", "curve"), vs="main"))
    assert isinstance(made, Plot)
    assert {v["v"] for v in made.charts[0].spec["data"]["values"]} == {"now"}
    assert made.notes == ("the content of train.curve at `main` is not in the cache here",)


def test_an_unchanged_output_is_not_drawn_twice(trained: Workspace) -> None:
    made = section(trained, ReportItem("image", training.ref("prepare", "sample"), vs="main"))
    assert isinstance(made, Image)
    assert [p.media for p in made.pictures] == ["image/png"]
    assert made.notes == ("prepare.sample is the same at `main`",)


def test_text_has_rows_metrics_and_parameters_in_it(trained: Workspace) -> None:
    slots = (
        Slot("rows", "prepare.clean"),
        " ",
        Slot("metric", "train.scores.auc"),
        " ",
        Slot("param", "train.lr"),
    )
    made = section(trained, ReportItem("text", template=slots))
    assert isinstance(made, Text)
    assert made.parts == (Inserted("1,234"), " ", Inserted("0.915"), " ", Inserted("0.15"))


def test_stages_and_data(trained: Workspace) -> None:
    made = section(trained, ReportItem("stages"))
    assert isinstance(made, Stages)
    assert [(r.stage, r.state) for r in made.rows] == [("prepare", "current"), ("train", "current")]
    assert all(r.seconds is not None and r.seconds > 0 for r in made.rows)
    data = section(trained, ReportItem("data"))
    assert isinstance(data, Data)
    assert (data.rows[0].name, data.rows[0].source) == ("raw", 'path("raw.csv")')
    assert data.rows[0].size == (trained.root / "raw.csv").stat().st_size


def test_what_a_run_did_is_told(tmp_path: Path) -> None:
    training.files(tmp_path)
    training.run(tmp_path, training.pipeline()).close()
    ws = open_workspace(tmp_path, training.pipeline(0.2))
    result = execute.run(ws, make_plan(ws, ["train"]))
    made = section(ws, ReportItem("stages"), states=build.states(result))
    assert isinstance(made, Stages)
    assert [(r.stage, r.state) for r in made.rows] == [("prepare", "cached"), ("train", "ran")]


def test_a_report_before_the_first_run_says_what_to_do(tmp_path: Path) -> None:
    training.files(tmp_path)
    ws = open_workspace(tmp_path, training.pipeline())
    document = build.build(ws, training.REPORT)
    assert document.missing == ("prepare", "train")
    assert document.help == "mlpipec run prepare train"
    text = markdown.render(document, width=80)
    assert "Not run yet: `prepare`, `train`." in text
    assert "`train` has not run yet" in text
    assert "mlpipec run prepare train" in text
    assert "Trained on **?** customers" in text
    assert "Not run yet" in html.render(document)


def test_a_report_of_results_that_are_out_of_date_says_so(trained: Workspace) -> None:
    ws = open_workspace(trained.root, training.pipeline(0.3))
    document = build.build(ws, training.REPORT)
    assert (document.missing, document.changed) == ((), ("train",))
    assert document.help == "mlpipec run train"
    assert "Out of date, shown as last made: `train`." in markdown.render(document)


def test_each_instance_is_a_row_and_a_series(trained: Workspace) -> None:
    train = training.TRAIN_STAGE
    stages = tuple(replace(train, id=f"train[{n}]", each=(("lang", n),)) for n in ("de", "en"))
    entry = trained.lock.stage("train")
    assert entry is not None
    ws = replace(
        trained,
        pipeline=replace(trained.pipeline, stages=(training.PREPARE_STAGE, *stages)),
        lock=LockFile().with_stages({s.id: entry for s in stages}),
    )

    def refs(output: str) -> tuple[StageOutput, ...]:
        return tuple(StageOutput(s.id, output) for s in stages)

    report = Report(
        "r", place(),
        (ReportItem("metrics", refs("scores")), ReportItem("plot", refs("curve"), options=(("y", "loss"),))),
        tuple(s.id for s in stages),
    )  # fmt: skip
    document = build.build(ws, report, states={s.id: StageRow(s.id, "ran") for s in stages})
    metrics, plot = document.sections
    assert isinstance(metrics, Metrics)
    assert isinstance(plot, Plot)
    assert [r.name for r in metrics.rows if r.field == "auc"] == [
        "train[de].scores.auc",
        "train[en].scores.auc",
    ]
    assert plot.title == "train[*].curve"
    assert {v["s"] for v in plot.charts[0].spec["data"]["values"]} == {"de", "en"}


def test_gates_are_decided_on_the_lock_and_git(trained: Workspace) -> None:
    result = gates.check(trained, training.GATE)
    assert result.passed
    assert [r.baseline for r in result.rows] == [None, 0.91]
    worse = replace(
        trained,
        lock=trained.lock.with_stages(
            {"train": StageEntry("k", (), {"scores": {"accuracy": 0.9, "auc": 0.9}})}
        ),
    )
    result = gates.check(worse, training.GATE)
    assert [(r.passed, r.note) for r in result.rows] == [(True, ""), (False, "AUC dropped")]


def test_json_holds_everything(trained: Workspace) -> None:
    document = build.build(trained, training.REPORT, gates=[gates.check(trained, training.GATE)])
    value = json.loads(json.dumps(to_json(document), allow_nan=False))
    kinds = [s["kind"] for s in value["sections"]]
    assert kinds[:4] == ["gates", "text", "metrics", "params"]
    assert value["sections"][0]["results"][0]["passed"] is True
    assert value["sections"][2]["rows"][0]["difference"] == pytest.approx(0.025)


# --- Markdown --------------------------------------------------------------------------------------


def evil(*plots: Plot) -> Document:
    """A document in which every text of the user or the data is hostile."""
    base = Baseline(EVIL, "c" * 40, EVIL)
    return Document(
        EVIL,
        EVIL,
        (
            Gates((GateResult(EVIL, (Row(EVIL, False, EVIL, EVIL, 1.0, float("nan"), EVIL),)),)),
            Metrics(
                (MetricRow(EVIL, EVIL, EVIL, float("nan"), float("inf")), MetricRow("a", "b", "c", 1, 0)),
                base,
            ),
            Params(
                (ParamRow(EVIL, EVIL, (EVIL, 1)), ParamRow("gone", gone=True, before={EVIL: EVIL})), 3, base
            ),
            *plots,
            Image(
                EVIL,
                (Picture("image/svg+xml", EVIL, b"<svg xmlns='http://www.w3.org/2000/svg'/>", EVIL),),
                (EVIL,),
            ),
            Text(
                (EVIL + "\n\n[link](javascript:alert(3)) ![x](http://example.org/x.png)\n\n", Inserted(EVIL))
            ),
            Stages((StageRow(EVIL, "ran", 3.0),)),
            Data((DataRow(EVIL, EVIL, EVIL, 3),)),
        ),
        commit="d" * 40,
        missing=(EVIL,),
        help=EVIL,
    )


def hostile_plots(folder: Path) -> list[Plot]:
    """Every kind of plot of a table in which all names and all text are hostile."""
    evil = EVIL + '\\"'
    cells = [[evil, n, n * n % 7, evil + str(n % 2)] for n in range(6)]
    with (folder / "evil.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[evil + c for c in "abcd"], *cells])
    sheets = [Sheet(folder / "evil.csv", "csv", evil), Sheet(folder / "evil.csv", "csv", evil, True)]
    options: list[dict[str, Value]] = [
        {"kind": "line", "x": evil + "b", "y": evil + "c", "color": evil + "d"},
        {"kind": "scatter", "x": evil + "b", "y": (evil + "b", evil + "c")},
        {"kind": "bar", "x": evil + "a", "y": evil + "c"},
        {"kind": "histogram", "x": evil + "c", "color": evil + "d"},
        {"kind": "confusion", "x": evil + "a", "y": evil + "d"},
    ]
    base = Baseline(evil, "c" * 40)
    return [plots.draw(evil, (), sheets, o, baseline=base) for o in options]


def test_hostile_text_cannot_break_out_of_markdown(tmp_path: Path) -> None:
    text = markdown.render(evil(*hostile_plots(tmp_path)))
    own = text.split("## ")
    for block in own:
        if "[link](javascript" in block:
            continue  # the author's own Markdown, which the page that shows it has to judge
        assert "<img" not in block.replace("`", "\0").split("\0")[0]
    # Rows stay rows: as many unescaped bars in each line of a table as in its head.
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
        bars = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(bars)) == 1, table


def test_tables_are_aligned_and_within_the_width(trained: Workspace) -> None:
    document = build.build(trained, training.REPORT, gates=[gates.check(trained, training.GATE)])
    for width in (60, 80, 120):
        text = markdown.render(document, width=width)
        assert max(len(line) for line in text.splitlines()) <= width, text
        assert "train.scores.auc" in text
        assert "+0.005" in text
    assert "<sub>" not in text
    assert "\\" not in text.replace("actual \\ predicted", "")


def test_markdown_with_pictures_refers_to_the_files_that_there_are(trained: Workspace) -> None:
    document = build.build(trained, training.REPORT)
    text = markdown.render(document, images="files", stem="review")
    made = pictures.files(document, "review")
    assert re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text) == list(made)
    assert len(made) == 6
    assert all(data.startswith(b"\x89PNG") for data in made.values())


def test_a_limit_in_bytes_is_kept_and_told(tmp_path: Path) -> None:
    document = evil(*hostile_plots(tmp_path))
    whole = markdown.render(document)
    size = len(whole.encode())
    assert markdown.render(document, limit_bytes=size) == whole
    for limit in [*range(0, size, 251), *range(size - 5, size)]:
        text = markdown.render(document, limit_bytes=limit)
        assert len(text.encode()) <= limit
        if limit > 1200:
            assert "did not fit here.*" in text


def test_a_report_of_nothing_reads_well(trained: Workspace) -> None:
    document = build.build(trained, Report("empty", place(), ()))
    assert markdown.render(document) == "# churn: empty\n"
    assert "<h1>empty</h1>" in html.render(document)


def test_without_the_extra_tables_and_metrics_work(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    html._bundle.cache_clear()
    document = build.build(trained, training.REPORT)
    assert "| `train.scores.auc`" in markdown.render(document)
    plain = replace(document, sections=tuple(s for s in document.sections if not isinstance(s, Plot)))
    assert "accuracy" in html.render(plain)
    page = html.render(document)
    assert "pip install &#39;mlflowc[report]&#39;" in page or "pip install 'mlflowc[report]'" in page
    assert "<script>" not in page
    assert '<div class="chart"' not in page
    assert "<details open>" in page
    with pytest.raises(Failure):
        pictures.files(document, "x")


# --- the page --------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_asks_for_nothing(trained: Workspace) -> None:
    page = html.render(build.build(trained, training.REPORT))
    head = unescape(page[: page.index("<style>")])
    assert "default-src 'none'" in head
    assert "unsafe-eval" not in head
    markup = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
    assert set(re.findall(r'(?:src|href)="([a-z]+):', markup)) == {"data"}
    assert "url(" not in page[page.index("<style>") : page.index("</style>")]


def test_the_page_of_the_same_results_is_the_same(trained: Workspace) -> None:
    document = build.build(trained, training.REPORT)
    assert html.render(document) == html.render(document)


def test_hostile_text_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    page = html.render(evil(*hostile_plots(tmp_path)))
    bodies = re.findall(r"<script[^>]*>(.*?)</script>", page, re.S)
    # The document, the charts, the libraries, ours: nothing ended one early, nothing began another.
    assert len(bodies) == 4
    json.loads(bodies[0])
    json.loads(bodies[1])
    markup = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
    assert "<img src=x" not in markup
    assert 'href="javascript:' not in markup
    assert not re.search(r'src="(?!data:)', markup)


def test_a_message_has_its_names_as_code() -> None:
    page = marks.Style(None, None, False, 10)
    said = "parameter `a|b` changed: <i> → `@me`"
    assert marks.spoken(said, page) == "parameter `a\\|b` changed: &lt;i> → `@me`"
    assert html.spoken(said) == "parameter <code>a|b</code> changed: &lt;i&gt; → <code>@me</code>"
    # Where a value has a backtick of its own nobody knows what is meant.
    assert marks.spoken("`a` and ` more", page) == "\\`a\\` and \\` more"
    assert html.spoken("`a` and ` more") == "`a` and ` more"
    assert marks.spoken("an empty `` one", page) == "an empty \\`\\` one"


@pytest.mark.parametrize("text", ["</script>", "<!--", "\u2028", "&lt;", "<SCRIPT>"])
def test_json_in_scripts_is_escaped(text: str) -> None:
    made = html.in_script({"a": text})
    assert not re.search("[<>&\u2028]", made)
    assert json.loads(made) == {"a": text}


def test_one_long_reason_leaves_the_table_a_table() -> None:
    style = marks.Style(None, 70)
    why = "input `data` changed: `out/points.csv`; code `src/train.py` changed"
    text = marks.table(("stage", "took", "why"), [("train", "12 s", why), ("load", "1 s", "")], "lrl", style)
    lines = text.splitlines()
    assert {len(line) for line in lines} == {70}
    assert [line.split("|")[1].strip() for line in lines] == ["stage", "-" * 5, "train", "", "load"]
    assert " ".join(line.split("|")[3].strip() for line in lines[2:4]) == why
    # Too narrow for that, it is a list.
    narrow = marks.table(("stage", "took", "why"), [("train", "12 s", why)], "lrl", marks.Style(None, 40))
    assert narrow.startswith("- train")
