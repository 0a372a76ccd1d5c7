"""Order and circles."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.compile import Compiled, compile_text
from mlflowc.ir.graph import Index
from tests.support.loader import MemoryLoader


def compiled(edges: dict[int, list[int]]) -> Compiled:
    """A pipeline with a stage for each key, which reads the outputs of its values."""
    lines = ["mlpipe 1", "pipeline graph"]
    for stage, before in edges.items():
        inputs = " ".join(f"{{{{i{b}}}}}" for b in before)
        lines.append(f"stage s{stage} {{")
        lines += [f"  in i{b} = s{b}.o" for b in before]
        lines += [f'  out o = "o/{stage}.txt"', f'  run = "make {inputs} {{{{o}}}}"', "}"]
    lines.append(f"on push {{ run = [{', '.join(f's{s}' for s in edges)}] }}")
    text = "\n".join(lines) + "\n"
    return compile_text("pipeline.mlpipe", text, MemoryLoader({"pipeline.mlpipe": text}))


graphs = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.permutations(range(n)),
        st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=12),
    )
)


@settings(max_examples=60, deadline=None)
@given(graphs)
def test_producers_come_first_or_a_circle_is_shown(graph: tuple[list[int], set[tuple[int, int]]]) -> None:
    order, pairs = graph
    edges = {n: sorted({b for a, b in pairs if a == n}) for n in order}
    found = compiled(edges)
    if found.pipeline is not None:
        place = {s.id: n for n, s in enumerate(found.pipeline.stages)}
        assert all(place[f"s{b}"] < place[f"s{a}"] for a, b in pairs)
        return
    circles = [d for d in found.diagnostics if d.code == "MLP301"]
    assert circles
    for circle in circles:
        if "waits for itself" in circle.message:
            continue
        way = circle.message.partition(": ")[2].split(" → ")
        assert way[0] == way[-1] and len(circle.related) == len(way) - 2
        for producer, user in itertools.pairwise(way):
            assert (int(user[1:]), int(producer[1:])) in pairs


def test_ties_keep_the_order_of_the_source() -> None:
    found = compiled({3: [], 1: [2], 0: [], 2: [], 4: [3]})
    assert found.pipeline is not None
    assert [s.id for s in found.pipeline.stages] == ["s3", "s0", "s2", "s1", "s4"]


def test_index_walks_both_ways() -> None:
    found = compiled({0: [], 1: [0], 2: [1], 3: [0], 4: []})
    assert found.pipeline is not None
    index = Index(found.pipeline)
    assert index.closure(["s2"]) == ("s0", "s1", "s2")
    assert index.users(["s1"]) == ("s1", "s2")
    assert index.upstream["s3"] == ("s0",) and index.downstream["s0"] == ("s1", "s3")
    assert index.outputs["s1", "o"].path == "o/1.txt"
