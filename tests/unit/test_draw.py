"""The graph, drawn four ways."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.draw import dot, layout, mermaid, model, svg, text
from mlflowc.errors import Failure
from mlflowc.ir.model import (
    Action,
    Data,
    DataRef,
    FileType,
    Gate,
    Input,
    InputSource,
    Output,
    Pipeline,
    Place,
    Report,
    Stage,
    StageOutput,
)
from mlflowc.render import columns

PLACE, FILE = Place("a.mlpipe", 1, 1), FileType("file")


def stage(id: str, *sources: str, runner: str | None = None, after: tuple[str, ...] = ()) -> Stage:
    """`sources` are `stage.output` or the name of data."""
    inputs = []
    for n, source in enumerate(sources):
        name, dot, output = source.rpartition(".")
        place: InputSource = StageOutput(name, output) if dot else DataRef(source)
        inputs.append(Input(f"i{n}", FILE, (place,)))
    outputs = (Output("o", FILE, f"{id}.txt"),)
    return Stage(id, id.partition("[")[0], PLACE, tuple(inputs), (), outputs, runner=runner, after=after)


SMALL = Pipeline(
    "churn",
    1,
    "a.mlpipe",
    data=(Data("raw", PLACE, FILE, "dvc", ()),),
    stages=(
        stage("prepare", "raw"),
        stage("train", "prepare.clean", runner="a10g"),
        stage("lone"),
        stage("evaluate", "train.model", "prepare.clean", after=("lone",)),
    ),
    gates=(Gate("quality", PLACE, (), ("evaluate", "train")),),
    reports=(Report("review", PLACE, (), ("train",)),),
    actions=(
        Action("publish", PLACE, (Input("m", FILE, (StageOutput("train", "model"),)),), after=("quality",)),
    ),
)


def layered(layers: int, width: int) -> Pipeline:
    """`layers * width` stages, each of which reads two of the layer before."""
    stages = [
        stage(f"s{n}_{k}", *([f"s{n - 1}_{k}.o", f"s{n - 1}_{(k * 3 + 1) % width}.o"] if n else []))
        for n, k in itertools.product(range(layers), range(width))
    ]
    return Pipeline("big", 1, "a.mlpipe", stages=tuple(stages))


def test_text_shows_layers_inputs_and_kinds() -> None:
    assert text.render(model.drawing(SMALL)) == (
        "churn: 4 stages, 1 data source, 1 gate, 1 report, 1 action\n"
        "\n"
        "  ○ raw       (dvc)\n"
        "  │\n"
        "  ● prepare   ← raw\n"
        "  │\n"
        "  ● train     ← prepare.clean  (a10g)\n"
        "  ● lone\n"
        "  │\n"
        "  ● evaluate  ← prepare.clean, train.model, lone\n"
        "  ▤ review    ← train\n"
        "  │\n"
        "  ▲ quality   ← train, evaluate\n"
        "  │\n"
        "  ▶ publish   ← train.model, quality\n"
        "\n"
        "○ data  ● stage  ▲ gate  ▤ report  ▶ action\n"
    )


def test_text_of_500_stages_fits_80_columns_and_has_them_all() -> None:
    out = text.render(model.drawing(layered(50, 10)), width=80)
    lines = out.splitlines()
    assert all(columns.width(line) <= 80 for line in lines)
    assert sum("●" in line for line in lines) == 501  # and the legend
    assert len(lines) < 500 + 49 + 5


def test_text_of_long_names_and_many_inputs_fits() -> None:
    names = [f"a_stage_with_a_long_name_{n}" for n in range(40)]
    pipeline = Pipeline(
        "wide",
        1,
        "a",
        stages=(*(stage(n) for n in names), stage("join", *(f"{n}.an_output_with_a_name" for n in names))),
    )
    out = text.render(model.drawing(pipeline), width=80)
    assert all(columns.width(line) <= 80 for line in out.splitlines())
    assert re.search(r"join .* \+3\d", out)


def test_instances_share_a_line() -> None:
    instances = [stage(f"train[{k}]", "prepare.clean") for k in "abcdef"]
    merge = stage("merge", *(f"train[{k}].model" for k in "abcdef"))
    out = text.render(model.drawing(Pipeline("p", 1, "a", stages=(stage("prepare"), *instances, merge))))
    assert "● train[*] ×6  ← prepare.clean\n" in out
    assert "● merge        ← train[*].model ×6\n" in out


def test_targets_keep_only_what_they_need() -> None:
    names = [node.name for node in model.drawing(SMALL, ["train"]).nodes]
    assert names == ["raw", "prepare", "train"]
    assert {n.name for n in model.drawing(SMALL, ["quality"]).nodes} == {
        "raw",
        "prepare",
        "train",
        "lone",
        "evaluate",
        "quality",
    }


def test_unknown_target_names_the_nearest() -> None:
    with pytest.raises(Failure) as failure:
        model.drawing(SMALL, ["trian"])
    assert failure.value.code == 2 and "`train`" in failure.value.help


def test_mermaid_is_a_flowchart_with_escaped_labels() -> None:
    odd = Pipeline(
        "p", 1, "a", data=(Data('a"b', PLACE, FILE, "<script>#`", ()),), stages=(stage("s", 'a"b'),)
    )
    assert mermaid.render(model.drawing(odd)) == (
        "flowchart LR\n"
        '  n0[("a#quot;b<br/><small>#lt;script#gt;#35;#96;</small>")]:::data\n'
        '  n1["s"]:::stage\n'
        "  n0 --> n1\n"
        "  classDef data fill:#dbeafe,stroke:#3b82f6,color:#1e3a5f\n"
        "  classDef stage fill:#f1f5f9,stroke:#64748b,color:#1e293b\n"
    )
    out = mermaid.render(model.drawing(SMALL))
    assert '-->|"clean"|' in out and "-.->" in out


def test_dot_quotes_every_name() -> None:
    odd = Pipeline('a "b" \\', 1, "a", stages=(stage('s"x\\'),))
    out = dot.render(model.drawing(odd))
    assert out.startswith('digraph "a \\"b\\" \\\\" {\n')
    assert '"stage:s\\"x\\\\" [label="s\\"x\\\\", shape=box];' in out


def test_svg_is_self_contained_and_names_everything() -> None:
    out = svg.render(model.drawing(SMALL))
    root = ET.fromstring(out)
    names = {t.text for t in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"raw", "prepare", "train", "a10g", "quality", "review", "publish"} <= names
    assert "prefers-color-scheme: dark" in out
    assert not re.search(r"<script|href|@import|url\(", out)


def test_svg_escapes_names() -> None:
    root = ET.fromstring(svg.render(model.drawing(Pipeline("<&>", 1, "a", stages=(stage("a<b&\x1bc"),)))))
    assert any("a<b&" in (t.text or "") for t in root.iter())


@given(
    edges=st.sets(
        st.tuples(st.integers(0, 14), st.integers(0, 14)).map(lambda e: (min(e), max(e))), max_size=40
    )
)
def test_layout_never_overlaps_and_always_goes_forward(edges: set[tuple[int, int]]) -> None:
    sources: dict[int, list[str]] = {}
    for a, b in edges:
        if a != b:
            sources.setdefault(b, []).append(f"s{a}.o")
    pipeline = Pipeline("p", 1, "a", stages=tuple(stage(f"s{n}", *sources.get(n, ())) for n in range(15)))
    drawing = model.drawing(pipeline)
    made = layout.place(drawing, lambda id: 30.0, lambda id: 50.0, layer_gap=20.0, node_gap=10.0)
    for edge in drawing.edges:
        way = [made.nodes[edge.source], *made.bends[edge.source, edge.target], made.nodes[edge.target]]
        assert all(a[0] < b[0] for a, b in itertools.pairwise(way))
    layers: dict[float, list[float]] = {}
    for along, across in made.nodes.values():
        layers.setdefault(along, []).append(across)
    for places in layers.values():
        assert all(b - a >= 60.0 - 1e-6 for a, b in itertools.pairwise(sorted(places)))


def test_layout_has_no_needless_crossing() -> None:
    """Two chains written crosswise are drawn apart."""
    pipeline = Pipeline("p", 1, "a", stages=(stage("a"), stage("b"), stage("x", "b.o"), stage("y", "a.o")))
    made = layout.place(model.drawing(pipeline), lambda id: 1.0, lambda id: 1.0, layer_gap=1.0, node_gap=1.0)
    across = {id.removeprefix("stage:"): at[1] for id, at in made.nodes.items()}
    assert (across["a"] < across["b"]) == (across["y"] < across["x"])
