"""`better(METRIC, than = …, by = …, confidence = …)` and `no_worse(…)` on numbers.

The gain is how much the metric improved: now minus before, or before minus now where less of it is better.
`better` holds where the gain is at least the margin, and more than nothing; `no_worse` where the loss is at
most the margin. A percentage is one of the size of what it is compared with.

Over several instances the gain is the mean one. With a confidence, it is the lower end of a one-sided
interval by Student's t that must keep the margin: over the differences of pairs where both sides have the
same instances (seeds), else by Welch, over two samples. A percentage is taken of every value and not of their
mean, so that what the baseline itself varies by counts, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

from mlflowc.runtime import student


class Comparison(NamedTuple):
    """What came of it. `gain` is in the metric's unit; `least` is what it is at least with `confidence`
    (None: not asked for).

    `pairs` is how many pairs were compared, 0 where the sides are two samples. `varies` is whether there was
    any spread. `wanted` is the margin in the metric's unit.
    """

    held: bool
    now: float
    before: float
    gain: float
    wanted: float
    least: float | None = None
    confidence: float | None = None
    pairs: int = 0
    sizes: tuple[int, int] = (1, 1)
    varies: bool = True

    def share(self, of: float) -> float | None:
        """`of` as a share of the size of the baseline."""
        return of / abs(self.before) if self.before else None


class TooFewError(Exception):
    """There are not enough values for a confidence; the text says how many there are."""


def compare(
    now: Mapping[str, float],
    before: Mapping[str, float] | float,
    *,
    lower: bool,
    by: float = 0.0,
    relative: bool = False,
    worse: bool = False,
    confidence: float | None = None,
) -> Comparison:
    """Compares the values by instance with those before, or with one number.

    `by` is the margin, >= 0, with `relative` a share of what is compared with; `worse` is for `no_worse`: so
    much worse is allowed. Raises TooFewError.
    """
    sign = -1.0 if lower else 1.0
    margin = -by if worse else by
    old = before if isinstance(before, Mapping) else dict.fromkeys(now, before)
    paired = now.keys() == old.keys()

    def asked(value: float) -> float:
        return sign * value + (margin * abs(value) if relative else margin)

    means = fmean(now.values()), fmean(old.values())
    gain = sign * (means[0] - means[1])
    wanted = asked(means[1]) - sign * means[1]
    made = Comparison(
        False, *means, gain, wanted, pairs=len(now) if paired else 0, sizes=(len(now), len(old))
    )
    if confidence is None:
        return made._replace(held=_keeps(gain, wanted, worse, means))
    if len(now) < 2 or len(old) < 2:
        raise TooFewError(
            f"a confidence takes at least 2 values on each side: there are {len(now)} and {len(old)}"
        )
    if paired:
        bound = student.of_mean([sign * v - asked(old[k]) for k, v in now.items()], confidence)
    else:
        one, other = [sign * v for v in now.values()], [asked(v) for v in old.values()]
        bound = student.of_difference(one, other, confidence)
    least = bound.least + wanted
    return made._replace(
        held=_keeps(least, wanted, worse, means),
        least=least,
        confidence=confidence,
        varies=bound.freedom > 0,
    )


def _keeps(gain: float, wanted: float, worse: bool, means: tuple[float, float]) -> bool:
    # What arithmetic on binary fractions loses is no difference.
    room = 1e-12 * max(map(abs, (*means, wanted)))
    return gain >= wanted - room and (worse or gain > room)
