"""The values of each trial, where they do not depend on results: grids and random draws.

A draw is decided by the seed and its number alone: a hash gives the randomness, so that neither the version
of Python nor the machine matters.
"""

from __future__ import annotations

import itertools
import math

from blake3 import blake3

from mlflowc.ir.model import Sweep, Value, Vary

Point = dict[str, Value]

# How often a point that was drawn before is drawn again, until there are fewer trials than asked for.
_TRIES = 100


def seed(sweep: Sweep) -> int:
    """The seed of the sweep; 0 where none is given."""
    found = dict(sweep.options).get("seed", 0)
    return found if isinstance(found, int) else 0


def grid(sweep: Sweep) -> list[Point]:
    """All combinations, the last axis changing fastest."""
    names = [v.param for v in sweep.vary]
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*(v.values for v in sweep.vary))
    ]


def random(sweep: Sweep, trials: int, whole: frozenset[str]) -> list[Point]:
    """`trials` different points, fewer where there are no more. `whole` names the parameters that are
    integers."""
    found: dict[str, Point] = {}
    number = 0
    while len(found) < trials:
        for _ in range(_TRIES):
            point = {v.param: _draw(v, seed(sweep), number, v.param in whole) for v in sweep.vary}
            number += 1
            if repr(point) not in found:
                found[repr(point)] = point
                break
        else:
            break
    return list(found.values())


def neat(value: float, axis: Vary, whole: bool) -> float | int:
    """A drawn value as it goes into the command and the key: six digits, and never outside of the range.

    The last bits of a logarithm differ between machines, and nobody wants to read them.
    """
    assert axis.low is not None and axis.high is not None
    if whole:
        return int(min(max(round(value), math.ceil(axis.low)), math.floor(axis.high)))
    return min(max(float(f"{value:.6g}"), float(axis.low)), float(axis.high))


def _draw(axis: Vary, seed: int, number: int, whole: bool) -> Value:
    share = _uniform(seed, number, axis.param)
    if axis.values:
        return axis.values[int(share * len(axis.values))]
    assert axis.low is not None and axis.high is not None
    low, high = float(axis.low), float(axis.high)
    if whole:
        # Each integer has the same share of the range, on the scale that was asked for.
        low, high = low - 0.5, high + 0.5
    if axis.scale == "log":
        return neat(math.exp(math.log(low) + share * (math.log(high) - math.log(low))), axis, whole)
    return neat(low + share * (high - low), axis, whole)


def _uniform(seed: int, number: int, name: str) -> float:
    """From 0 to below 1."""
    digest = blake3(f"mlpipe-draw {seed} {number} {name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)
