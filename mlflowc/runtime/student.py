"""Student's t distribution, and the lower bounds of a mean and of a difference that it gives.

Plain floating-point: the incomplete beta function by its continued fraction, quantiles by bisection.
Good to about 12 digits for what gates ask (0.5 < p < 1, degrees of freedom from 1 up).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import NamedTuple


class Bound(NamedTuple):
    """A mean or a difference of means, what it is at least with the confidence asked for, and the degrees of
    freedom (0: the values do not vary at all, so that the bound is the mean)."""

    mean: float
    least: float
    freedom: float


def of_mean(values: Sequence[float], confidence: float) -> Bound:
    """The one-sided lower bound of the mean of two or more values. 0.5 <= `confidence` < 1."""
    mean, n = fmean(values), len(values)
    error = math.sqrt(variance(values, mean) / n)
    if not _matters(error, values):
        return Bound(mean, mean, 0)
    return Bound(mean, mean - quantile(confidence, n - 1) * error, n - 1)


def of_difference(one: Sequence[float], other: Sequence[float], confidence: float) -> Bound:
    """The lower bound of mean(`one`) - mean(`other`) by Welch: each side has two or more values, of a spread
    of its own. Where one side has a single value, it is taken as exact."""
    a, b = _error(one), _error(other)
    mean = fmean(one) - fmean(other)
    error = math.sqrt(a + b)
    if not _matters(error, [*one, *other]):
        return Bound(mean, mean, 0)
    parts = sum(e * e / (len(side) - 1) for e, side in ((a, one), (b, other)) if len(side) > 1)
    freedom = (a + b) ** 2 / parts
    return Bound(mean, mean - quantile(confidence, freedom) * error, freedom)


def _error(values: Sequence[float]) -> float:
    """The squared standard error of the mean."""
    return variance(values) / len(values) if len(values) > 1 else 0.0


def _matters(error: float, values: Sequence[float]) -> bool:
    """Whether the spread is more than what rounding leaves behind."""
    return error > 1e-14 * max(map(abs, values))


def quantile(p: float, freedom: float) -> float:
    """The t that a value is below with probability `p`, 0.5 <= p < 1."""
    if p == 0.5:
        return 0.0
    low, high = 0.0, 1.0
    while cumulative(high, freedom) < p:
        low, high = high, high * 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if cumulative(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def cumulative(t: float, freedom: float) -> float:
    """The probability of a value up to `t` >= 0."""
    return 1 - 0.5 * _beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # The fraction converges fast on this side of the mean; on the other the symmetry helps.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    made = d
    for m in range(1, 1000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + step * d or tiny)
            c = 1 + step / c or tiny
            made *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return made
