"""The key of a sweep: that of its stage without what is varied, and how it is varied."""

from __future__ import annotations

from collections.abc import Mapping

from mlflowc.frozen import replace
from mlflowc.ir.model import Stage, Sweep
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.keys import canonical
from mlflowc.runtime.records import Record


def components(base: Mapping[str, str], sweep: Sweep, stage: Stage) -> dict[str, str]:
    """The components of the key of `stage`, which carries `sweep` out; `base` are those of the swept stage.

    How many trials run at once does not matter, except where results decide what is tried next.
    """
    varied = {f"param:{v.param}" for v in sweep.vary}
    found = {name: text for name, text in base.items() if name not in varied}
    found |= {f"output:{o.name}": canonical([o.path, o.type.kind]) for o in stage.outputs}
    for axis in sweep.vary:
        found[f"vary:{axis.param}"] = canonical(
            [list(axis.values)] if axis.values else [axis.low, axis.high, axis.scale]
        )
    found["search"] = canonical([sweep.search, [list(o) for o in sweep.options]])
    found["goal"] = canonical([sweep.goal, sweep.output, sweep.field])
    if sweep.search == "tpe":
        found["parallel"] = canonical(sweep.parallel)
    return found


def variants(sweep: Sweep, base: Stage) -> list[Stage]:
    """The swept stage with each text that is tried."""
    return [
        replace(base, id=f"{base.id}[{axis.param}={value}]", bound=((axis.param, value),))
        for axis in sweep.vary
        for value in axis.values
        if isinstance(value, str)
    ]


def failed_key(trial: str) -> str:
    """The key of the record that says that a trial failed; `trial` is the key of its result."""
    return hash_bytes(f"mlpipe-failed-trial {trial}".encode())


def failed(stage: str, key: str) -> Record:
    """That record: a job leaves it for the jobs behind it, which then need not try."""
    return Record(failed_key(key), stage, {"failed": key}, ())
