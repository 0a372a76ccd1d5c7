"""What a sweep is to everything behind the compiler: one more stage.

The stage that carries a sweep out has the sweep's name, reads what the swept stage reads, and writes a copy
of what the best trial wrote (`best.OUTPUT`), the parameters of that trial (`params`) and a table of all
(`trials`). So its key, its entry in the lock, its job and its line in a report are those of a stage.

A trial is the swept stage with values of its own: same command, same inputs, same paths, and so the same key
as a run of that stage with these values.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from mlflowc.frozen import dataclass, replace
from mlflowc.ir import model as ir


@dataclass(frozen=True, slots=True)
class Part:
    """A job's part of a sweep: of the trials of the round `round` (from 0) each `of`-th, from the `index`-th
    on. None of them (`index` is None): the job that takes all results together."""

    round: int
    index: int | None
    of: int

    def has(self, round: int, position: int) -> bool:
        """Whether this job runs the trial at `position` of a round."""
        return self.index is not None and round == self.round and position % self.of == self.index


FOLDER = "sweeps"
TRIALS, PARAMS, BEST = "trials", "params", "best"
STATES = ("ok", "failed")
_FIXED = ("trial", "state", "seconds")

# The outputs of a stage by name, with their types.
Outputs = Iterable[tuple[str, ir.FileType]]


def titles(names: Iterable[str], taken: Iterable[str] = _FIXED) -> dict[str, str]:
    """A title for each dotted name: its last part, or all of them where that would not be the only one."""
    names = tuple(names)
    short = [n.rpartition(".")[2] for n in names]
    used = set(taken)
    return {
        n: s if short.count(s) == 1 and s not in used else n.replace(".", "_")
        for n, s in zip(names, short, strict=True)
    }


def fields(outputs: Outputs) -> tuple[tuple[str, ir.Column], ...]:
    """The fields of all metrics among `outputs`, each under `output.field`."""
    return tuple((f"{name}.{c.name}", c) for name, t in outputs if t.kind == "metrics" for c in t.columns)


def columns(varied: Iterable[tuple[str, ir.ScalarType]], outputs: Outputs) -> dict[str, ir.Column]:
    """The columns of the table of trials, by what they hold: `trial`, `state`, `seconds`, the names of
    parameters and of metrics (`output.field`)."""
    parameters, measured = dict(varied), dict(fields(outputs))
    title = titles((*parameters, *measured))
    number = ir.ScalarType("float", optional=True)
    table = {
        "trial": ir.Column("trial", ir.ScalarType("int")),
        "state": ir.Column("state", ir.ScalarType("enum", values=STATES)),
        "seconds": ir.Column("seconds", number),
    }
    table |= {name: ir.Column(title[name], type) for name, type in parameters.items()}
    # What a failed trial would have measured is not known.
    table |= {name: ir.Column(title[name], number) for name in measured}
    return table


def trials_type(varied: Iterable[tuple[str, ir.ScalarType]], outputs: Outputs) -> ir.FileType:
    """The type of the table of trials."""
    return ir.FileType("csv", tuple(columns(varied, outputs).values()))


def stage(sweep: ir.Sweep, base: ir.Stage, params: Mapping[str, ir.Param]) -> ir.Stage:
    """The stage that carries `sweep` out; `base` is the one that it goes over."""
    varied = [v.param for v in sweep.vary]
    folder = f"{FOLDER}/{sweep.name}"
    table = trials_type([(v, params[v].type) for v in varied], [(o.name, o.type) for o in base.outputs])
    best = tuple(
        ir.Output(f"{BEST}.{o.name}", o.type, f"{folder}/{BEST}/{o.name}{_ending(o.path)}")
        for o in base.outputs
    )
    return replace(
        base,
        id=sweep.name,
        name=sweep.name,
        place=sweep.place,
        params=tuple(p for p in base.params if p not in varied),
        outputs=(
            *best,
            ir.Output(PARAMS, ir.FileType("json"), f"{folder}/{PARAMS}.json"),
            ir.Output(TRIALS, table, f"{folder}/{TRIALS}.csv"),
        ),
        keeps=(),
        commands=(),
        sweep=sweep.name,
    )  # fmt: skip


def trial(sweep: ir.Sweep, base: ir.Stage, number: int, values: Mapping[str, ir.Value]) -> ir.Stage:
    """The trial `number` (from 1) of `sweep`: `base` with `values` for the parameters that are varied."""
    bound = tuple(sorted({**dict(base.bound), **values}.items()))
    return replace(base, id=f"{sweep.name}[{number}]", bound=bound)


def count(sweep: ir.Sweep) -> int:
    """How many trials the sweep asks for, at most."""
    trials = dict(sweep.options).get("trials")
    if sweep.search != "grid" and isinstance(trials, int):
        return trials
    size = 1
    for axis in sweep.vary:
        size *= len(axis.values)
    return size


def rounds(sweep: ir.Sweep) -> int:
    """How many times trials are chosen by the results of those before; 1 where none depends on another."""
    return -(-count(sweep) // sweep.parallel) if sweep.search == "tpe" else 1


def parts(sweep: ir.Sweep) -> tuple[tuple[Part, ...], ...]:
    """The sweep as jobs that run at once, round by round. Empty where no two trials run at once: then one job
    does it all."""
    if sweep.parallel == 1 or count(sweep) == 1:
        return ()
    found = []
    last = rounds(sweep) - 1
    for round in range(last + 1):
        left = count(sweep) - round * sweep.parallel
        many = min(sweep.parallel, left)
        found.append(tuple(Part(round, index, many) for index in range(many)))
    return tuple(found)


def share(sweep: ir.Sweep, part: Part) -> int:
    """How many trials a part has, at most."""
    size = min(sweep.parallel, count(sweep)) if sweep.search == "tpe" else count(sweep)
    return -(-size // part.of)


def _ending(path: str) -> str:
    if path.endswith("/"):
        return "/"
    name = posixpath.basename(path)
    # `model.tar.gz` keeps both.
    return "".join(f".{part}" for part in name.split(".")[1:]) if not name.startswith(".") else ""
