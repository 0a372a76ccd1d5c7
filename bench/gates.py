"""How often a gate of several seeds is wrong, and how often it finds a real gain, by simulation.

    python bench/gates.py [ROUNDS]

`better(train[*].scores.auc, than = baseline("main"), confidence = 95%)` where both sides ran the same n
seeds. A score is a seed's own luck, which both versions share, plus noise; their standard deviations make up
the correlation of the two versions, and the difference of two scores of one seed has standard deviation 1. A
false alarm is a gate that holds with no gain at all; power is the share of gates that hold when the gain is 1
or 2 of those deviations. Beside what gates use (t over pairs) stand what they could: Welch on the same
figures, and the exact sign-flip test, which knows no confidence above 1 - 1/2^n.
"""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Callable, Sequence

from mlflowc.runtime import student

CONFIDENCE = 0.95
SIZES = (3, 5, 10)
Test = Callable[[Sequence[float], Sequence[float]], bool]


def pairs(now: Sequence[float], before: Sequence[float]) -> bool:
    return student.of_mean([a - b for a, b in zip(now, before, strict=True)], CONFIDENCE).least > 0


def welch(now: Sequence[float], before: Sequence[float]) -> bool:
    return student.of_difference(now, before, CONFIDENCE).least > 0


def flips(now: Sequence[float], before: Sequence[float]) -> bool:
    gains = [a - b for a, b in zip(now, before, strict=True)]
    total = math.fsum(gains)
    signs = itertools.product((1, -1), repeat=len(gains))
    beyond = sum(sum(s * g for s, g in zip(sign, gains, strict=True)) >= total - 1e-12 for sign in signs)
    return bool(beyond / 2 ** len(gains) <= 1 - CONFIDENCE)


def normal(dice: random.Random) -> float:
    return dice.gauss(0, 1)


def skewed(dice: random.Random) -> float:
    return dice.expovariate(1) - 1


def heavy(dice: random.Random) -> float:
    # Student's t with 3 degrees of freedom, scaled to a standard deviation of 1.
    return dice.gauss(0, 1) / math.sqrt(dice.gammavariate(1.5, 2) / 3) / math.sqrt(3)


TESTS: dict[str, Test] = {"t over pairs": pairs, "Welch": welch, "sign flips": flips}
NOISES = {"normal": normal, "skewed": skewed, "heavy tails": heavy}


def share(
    test: Test, noise: Callable[[random.Random], float], n: int, alike: float, gain: float, rounds: int
) -> float:
    """How often `test` holds, of `rounds` times; `alike` is the correlation of the versions."""
    dice = random.Random(f"{n} {alike} {gain}")
    own = math.sqrt(0.5)  # so that the difference of two has a standard deviation of 1
    shared = own * math.sqrt(alike / (1 - alike))
    held = 0
    for _ in range(rounds):
        luck = [shared * dice.gauss(0, 1) for _ in range(n)]
        before = [v + own * noise(dice) for v in luck]
        now = [v + own * noise(dice) + gain for v in luck]
        held += test(now, before)
    return held / rounds


def main(rounds: int) -> None:
    print("| noise | correlation | test | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
    print("|---|--:|---|" + "--:|" * len(SIZES))
    for kind, noise in NOISES.items():
        for alike in (0.0, 0.8):
            for name, test in TESTS.items():
                cells = []
                for n in SIZES:
                    count = rounds // 8 if test is flips and n == 10 else rounds
                    found = [share(test, noise, n, alike, gain, count) for gain in (0.0, 1.0, 2.0)]
                    cells.append(
                        " / ".join(f"{f * 100:.1f} %" if f < 0.1 else f"{f * 100:.0f} %" for f in found)
                    )
                print(f"| {kind} | {alike} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
