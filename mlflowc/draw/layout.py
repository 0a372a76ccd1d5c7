"""Places the nodes of a drawing in the plane: layers, few crossings, straight ways (Sugiyama's method).

An edge over several layers is cut by bends, one in each layer between, which are laid out as thin nodes.
Within the layers, the order is that of the neighbours' mean position, swept down and up a few times; then
each node moves towards its neighbours as far as the one beside it lets it.

`along` counts across layers (the way the data goes), `across` within one. Whoever draws decides which of them
is x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mlflowc.draw.model import Drawing, Edge

_SWEEPS = 8
_PULLS = 12
_BEND = 10.0  # the room a bend takes within its layer


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres of nodes as (along, across), each edge's points between its ends, and the extent."""

    nodes: dict[str, tuple[float, float]]
    bends: dict[tuple[str, str], tuple[tuple[float, float], ...]]
    size: tuple[float, float]


def place(
    drawing: Drawing,
    length: Callable[[str], float],
    breadth: Callable[[str], float],
    *,
    layer_gap: float,
    node_gap: float,
) -> Layout:
    """A layout of `drawing`. `length(id)` and `breadth(id)` are a node's size along and across."""
    layers: list[list[str]] = []
    layer_of: dict[str, int] = {}
    for node in drawing.nodes:
        while len(layers) <= node.layer:
            layers.append([])
        layers[node.layer].append(node.id)
        layer_of[node.id] = node.layer
    chains, up, down = _chains(drawing.edges, layers, layer_of)
    _order(layers, up, down)
    bends = {id for chain in chains.values() for id in chain}
    sizes = {id: _BEND if id in bends else breadth(id) for layer in layers for id in layer}
    across = _across(layers, up, down, sizes, node_gap)
    along: dict[str, float] = {}
    start = 0.0
    for layer in layers:
        depth = max((length(id) for id in layer if id not in bends), default=0.0)
        along.update(dict.fromkeys(layer, start + depth / 2))
        start += depth + layer_gap
    breadth_all = max((across[id] + sizes[id] / 2 for id in across), default=0.0)
    centres = {node.id: (along[node.id], across[node.id]) for node in drawing.nodes}
    points = {edge: tuple((along[id], across[id]) for id in chain) for edge, chain in chains.items()}
    return Layout(centres, points, (max(0.0, start - layer_gap), breadth_all))


_Chains = dict[tuple[str, str], list[str]]
_Links = dict[str, list[str]]


def _chains(
    edges: Sequence[Edge], layers: list[list[str]], layer_of: dict[str, int]
) -> tuple[_Chains, _Links, _Links]:
    """Puts the bends into `layers`; gives each edge's bends, and every node's neighbours above and below."""
    chains: _Chains = {}
    up: _Links = {id: [] for id in layer_of}
    down: _Links = {id: [] for id in layer_of}
    for n, edge in enumerate(edges):
        before, chain = edge.source, []
        for layer in range(layer_of[edge.source] + 1, layer_of[edge.target]):
            bend = f"\0{n}:{layer}"
            layers[layer].append(bend)
            chain.append(bend)
            up[bend], down[bend] = [before], []
            down[before].append(bend)
            before = bend
        down[before].append(edge.target)
        up[edge.target].append(before)
        chains[edge.source, edge.target] = chain
    return chains, up, down


def _order(layers: list[list[str]], up: _Links, down: _Links) -> None:
    """Sorts each layer by the mean place of its neighbours; keeps the best order seen."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, down)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        links, order = (
            (up, range(1, len(layers))) if sweep % 2 == 0 else (down, range(len(layers) - 2, -1, -1))
        )
        for n in order:
            beside = layers[n - 1] if sweep % 2 == 0 else layers[n + 1]
            rank = {id: float(place) for place, id in enumerate(beside)}
            own = {id: float(place) for place, id in enumerate(layers[n])}
            layers[n].sort(key=lambda id: _mean([rank[x] for x in links[id]], own[id]))
        crossings = _crossings(layers, down)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _crossings(layers: Sequence[Sequence[str]], down: _Links) -> int:
    """How many pairs of edges between neighbouring layers cross: inversions, counted with a Fenwick tree."""
    total = 0
    for upper, lower in pairwise(layers):
        rank = {id: n for n, id in enumerate(lower)}
        ends = [r for id in upper for r in sorted(rank[x] for x in down[id])]
        tree = [0] * (len(lower) + 1)
        for seen, end in enumerate(ends):
            at, smaller = end + 1, 0
            while at:
                smaller += tree[at]
                at &= at - 1
            total += seen - smaller
            at = end + 1
            while at < len(tree):
                tree[at] += 1
                at += at & -at
    return total


def _across(
    layers: Sequence[Sequence[str]], up: _Links, down: _Links, sizes: dict[str, float], gap: float
) -> dict[str, float]:
    """Where each node stands in its layer, the smallest edge at 0."""
    across: dict[str, float] = {}
    widths = [sum(sizes[id] for id in layer) + gap * max(0, len(layer) - 1) for layer in layers]
    widest = max(widths, default=0.0)
    for layer, width in zip(layers, widths, strict=True):
        at = (widest - width) / 2
        for id in layer:
            across[id] = at + sizes[id] / 2
            at += sizes[id] + gap
    for pull in range(_PULLS):
        links = up if pull % 2 == 0 else down
        for layer in layers if pull % 2 == 0 else reversed(layers):
            _settle(layer, links, across, sizes, gap)
    low = min((across[id] - sizes[id] / 2 for id in across), default=0.0)
    return {id: at - low for id, at in across.items()}


def _settle(
    layer: Sequence[str], links: _Links, across: dict[str, float], sizes: dict[str, float], gap: float
) -> None:
    """Moves the nodes of one layer to their neighbours' mean, in their order and without overlap.

    Least squares under "each is at least so far behind the one before": neighbours that would overlap are
    joined into a block, which goes to the mean of what its members want (pool adjacent violators).
    """
    offset = 0.0
    blocks: list[list[float]] = []  # [sum of wishes, count, first offset index]
    offsets: list[float] = []
    for n, id in enumerate(layer):
        if n:
            offset += (sizes[layer[n - 1]] + sizes[id]) / 2 + gap
        offsets.append(offset)
        wish = _mean([across[x] for x in links[id]], across[id]) - offset
        blocks.append([wish, 1.0, float(n)])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1][0] += last[0]
            blocks[-1][1] += last[1]
    for k, block in enumerate(blocks):
        end = int(blocks[k + 1][2]) if k + 1 < len(blocks) else len(layer)
        for n in range(int(block[2]), end):
            across[layer[n]] = block[0] / block[1] + offsets[n]
