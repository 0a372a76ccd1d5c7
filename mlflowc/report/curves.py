"""ROC and precision-recall curves: their points from classes and scores, and the area below them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from mlflowc.runtime.tables import Cell, TableError

# The columns of a curve that is there already, as scikit-learn and DVCLive call them.
AXES = {
    "roc": (("fpr", "false_positive_rate"), ("tpr", "true_positive_rate")),
    "pr": (("recall",), ("precision",)),
}
TITLES = {"roc": ("false positive rate", "true positive rate"), "pr": ("recall", "precision")}
_CLASSES = ("actual", "true", "truth", "label", "y_true", "target", "expected", "class")
_SCORES = ("score", "probability", "prob", "proba", "y_score", "y_prob", "p", "predicted", "prediction")

Axes = tuple[tuple[str, ...], tuple[str, ...]]


def named(names: Sequence[str], axes: Axes) -> bool:
    """Whether the columns are those of such a curve, and at most its thresholds beside them."""
    lower = [n.lower() for n in names]
    known = {*axes[0], *axes[1], "threshold", "thresholds"}
    return all(any(n in axis for n in lower) for axis in axes) and set(lower) <= known


def columns(kind: str, names: Sequence[str], x: str, ys: tuple[str, ...]) -> tuple[str, tuple[str]]:
    """The column of each axis: of a curve that is there, else of the actual class (`x`) and of the score.

    Raises TableError.
    """
    asked = (x, "".join(ys[:1]))
    for known in (AXES[kind], (_CLASSES, _SCORES)):
        one, other = (a or _first(names, words) for a, words in zip(asked, known, strict=True))
        if one and other:
            return one, (other,)
    raise TableError(
        f"a curve of kind `{kind}` needs the columns {AXES[kind][0][0]} and {AXES[kind][1][0]}, "
        "or `x` for the actual class and `y` for the score"
    )


def _first(names: Sequence[str], words: Sequence[str]) -> str:
    return next((n for n in names if n.lower() in words), "")


def points(kind: str, x: str, pairs: Iterable[tuple[Cell, Cell]]) -> list[tuple[float, float]]:
    """The curve from left to right. Raises TableError."""
    if x.lower() in AXES[kind][0]:
        whole = [(a, b) for one, other in pairs for a in _finite(one) for b in _finite(other)]
        return sorted(whole, key=lambda p: (p[0], p[1] if kind == "roc" else -p[1]))
    return list(_made(kind, [(a, b) for a, other in pairs if a is not None for b in _finite(other)]))


def _finite(cell: Cell) -> tuple[float, ...]:
    """The number that a cell is, if it is one."""
    if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
        return (float(cell),)
    return ()


def _made(kind: str, pairs: Sequence[tuple[Cell, float]]) -> Iterable[tuple[float, float]]:
    """A point a threshold, from the strictest: the class of the positives is the greater one of two."""
    classes = sorted({_class(c) for c, _ in pairs})
    if len(classes) != 2:
        raise TableError(f"a curve of kind `{kind}` needs two classes, and here are {len(classes)}")
    ranked = sorted(pairs, key=lambda p: -p[1])
    positives = sum(_class(c) == classes[1] for c, _ in ranked)
    negatives = len(ranked) - positives
    hits = misses = 0
    if kind == "roc":
        yield 0.0, 0.0
    for n, (actual, score) in enumerate(ranked):
        good = _class(actual) == classes[1]
        hits, misses = hits + good, misses + (not good)
        if n + 1 < len(ranked) and ranked[n + 1][1] == score:
            continue
        yield (misses / negatives, hits / positives) if kind == "roc" else (hits / positives, hits / (n + 1))


def _class(cell: Cell) -> tuple[int, float, str]:
    """A class in order: numbers and booleans by value, then names."""
    if isinstance(cell, bool | int | float):
        return (0, float(cell), "")
    return (1, 0.0, str(cell))


def area(kind: str, curve: Sequence[tuple[float, float]]) -> float:
    """The area below the curve: by trapezes for ROC; for precision-recall the average precision."""
    if kind == "roc":
        return math.fsum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(curve))
    ends = [(0.0, 1.0), *curve] if curve and curve[0][0] > 0 else list(curve)
    return math.fsum((b[0] - a[0]) * b[1] for a, b in pairwise(ends))
