"""Points chosen by the results of earlier ones, by Optuna's TPE sampler.

Trials go in rounds of `parallel`. What a round tries depends on the results of the rounds before, on the seed
and on the number of the round, and on nothing else: no database, no state of a random generator. So a round
can be worked out anywhere, any time, and comes out the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.ir.model import Sweep
from mlflowc.runtime.sweeping.points import Point, neat, seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_STARTUP = 10


class Told(NamedTuple):
    """A trial that is done: its point, and its value; None when it failed."""

    point: Point
    value: float | None


def demand() -> None:
    """Raises `Failure` where Optuna is not installed."""
    try:
        import optuna  # noqa: F401 - half a second, for those who need it
    except ImportError:
        raise Failure(
            "`tpe` needs Optuna, which is not installed",
            help=f"{extras.install('sweep')}\n`search = random(trials = 20)` needs nothing",
        ) from None


def propose(sweep: Sweep, told: Sequence[Told], round: int, size: int, whole: frozenset[str]) -> list[Point]:
    """The points of the round `round` (from 0), `size` of them. Raises `Failure` where Optuna is missing."""
    demand()
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    startup = dict(sweep.options).get("startup", _STARTUP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=(seed(sweep) * 1_000_003 + round) % 2**32,
            n_startup_trials=startup if isinstance(startup, int) else _STARTUP,
            # Trials of one round that are not done yet count as bad: then a round does not try one place.
            constant_liar=True,
        )
    study = optuna.create_study(
        direction="maximize" if sweep.goal == "maximize" else "minimize", sampler=sampler
    )
    space = {v.param: distribution(sweep, v.param, whole) for v in sweep.vary}
    for trial in told:
        study.add_trial(
            create_trial(
                state=TrialState.FAIL if trial.value is None else TrialState.COMPLETE,
                params=_inside(sweep, trial.point),
                distributions=space,
                value=trial.value,
            )
        )
    return [_outside(sweep, study.ask(space).params, whole) for _ in range(size)]


def distribution(sweep: Sweep, name: str, whole: frozenset[str]) -> BaseDistribution:
    """An axis as Optuna has it. A list is one of its places: its values may be of any type."""
    from optuna import distributions

    axis = next(v for v in sweep.vary if v.param == name)
    if axis.values:
        return distributions.CategoricalDistribution(tuple(range(len(axis.values))))
    assert axis.low is not None and axis.high is not None
    log = axis.scale == "log"
    if name in whole:
        return distributions.IntDistribution(int(axis.low), int(axis.high), log=log)
    return distributions.FloatDistribution(float(axis.low), float(axis.high), log=log)


def _inside(sweep: Sweep, point: Point) -> dict[str, object]:
    return {
        v.param: next(n for n, x in enumerate(v.values) if x is point[v.param] or _same(x, point[v.param]))
        if v.values
        else point[v.param]
        for v in sweep.vary
    }


def _outside(sweep: Sweep, params: Mapping[str, object], whole: frozenset[str]) -> Point:
    found: Point = {}
    for axis in sweep.vary:
        value = params[axis.param]
        assert isinstance(value, int | float)
        found[axis.param] = axis.values[int(value)] if axis.values else neat(value, axis, axis.param in whole)
    return found


def _same(a: object, b: object) -> bool:
    return a == b and type(a) is type(b)
