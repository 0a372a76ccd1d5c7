"""What differs between two moments: parameters, metrics, outputs, inputs, code, commands, packages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from mlflowc.runtime.history import Moment, Result
from mlflowc.runtime.keys import canonical

SECTIONS = ("params", "metrics", "outputs", "inputs", "code", "commands", "packages", "stages")


class Row(NamedTuple):
    """One thing that differs. A side is None where it does not have it.

    Parameters are values as JSON, metrics numbers; outputs, inputs and code are hashes.
    """

    section: str
    name: str
    before: str | int | float | None
    after: str | int | float | None

    @property
    def change(self) -> float | None:
        """By how much a number grew."""
        if isinstance(self.before, str) or isinstance(self.after, str) or None in (self.before, self.after):
            return None
        return float(self.after or 0) - float(self.before or 0)


class Difference(NamedTuple):
    """Rows by section in the order of `SECTIONS`, each sorted by name; `notes` say what cannot be known."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def difference(a: Moment, b: Moment, stages: Collection[str] | None = None) -> Difference:
    """What `b` has otherwise than `a`, in those stages (None: all)."""
    names = [s for s in {**a.stages, **b.stages} if stages is None or s in stages]
    made = {o.path.rstrip("/") for m in (a, b) for r in m.stages.values() for o in r.outputs.values()}
    pins = a.packages is not None and b.packages is not None
    rows: set[Row] = set()
    unknown: list[str] = []
    for name in names:
        before, after = a.stages.get(name), b.stages.get(name)
        if before is None or after is None:
            if (before is not None or a.whole) and (after is not None or b.whole):
                rows.add(Row("stages", name, _here(before), _here(after)))
            continue
        rows.update(_of_stage(name, before, after))
        rows.update(_of_key(name, before, after, made, pins))
        if before.key != after.key and (before.components is None or after.components is None):
            unknown.append(name)
    if a.packages is not None and b.packages is not None:
        rows.update(_mapping("packages", a.packages, b.packages))
    notes = [*a.notes, *b.notes]
    if unknown:
        shown = ", ".join(f"`{s}`" for s in unknown[:3]) + (
            f" and {len(unknown) - 3} more" if unknown[3:] else ""
        )
        notes.append(
            f"inputs, code and commands of {shown} cannot be compared: a record is not in this cache"
        )
    order = {s: n for n, s in enumerate(SECTIONS)}
    return Difference(tuple(sorted(rows, key=lambda r: (order[r.section], r.name))), tuple(notes))


def _of_stage(stage: str, before: Result, after: Result) -> Iterator[Row]:
    # A parameter has one value for all stages: it is one row.
    yield from _mapping("params", _texts(before.params), _texts(after.params))
    for output in {**before.metrics, **after.metrics}:
        mine, other = before.metrics.get(output, {}), after.metrics.get(output, {})
        for field in {**mine, **other}:
            if mine.get(field) != other.get(field):
                yield Row("metrics", f"{stage}.{output}.{field}", mine.get(field), other.get(field))
    yield from _mapping(
        "outputs",
        {f"{stage}.{o.name}": o.hash for o in before.outputs.values()},
        {f"{stage}.{o.name}": o.hash for o in after.outputs.values()},
    )


def _of_key(stage: str, before: Result, after: Result, made: Collection[str], pins: bool) -> Iterator[Row]:
    """What decides the result, beside parameters. Not what other stages made: that is among the outputs; and
    not the hash of all packages where each is known.
    """
    if before.components is None or after.components is None or before.key == after.key:
        return
    mine, other = before.components, after.components
    yield from _mapping("code", _parts(mine, "code"), _parts(other, "code"))
    yield from _mapping("inputs", _inputs(mine, made), _inputs(other, made))
    envs = [{f"environment: {n}": text for n, text in _parts(c, "env").items()} for c in (mine, other)]
    yield from (
        r for r in _mapping("packages", *envs) if not (pins and r.name == "environment: requirements")
    )
    if mine.get("command") != other.get("command"):
        from mlflowc.runtime.explain import shown_command  # only where a command changed

        yield Row("commands", stage, *(shown_command(c.get("command", "")) for c in (mine, other)))


def _parts(components: Mapping[str, str], kind: str) -> dict[str, str]:
    """Components of a kind by name."""
    return {n.partition(":")[2]: text for n, text in components.items() if n.partition(":")[0] == kind}


def _inputs(components: Mapping[str, str], made: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in _parts(components, "input").values():
        found |= {path: digest for path, _, digest in json.loads(text) if path not in made}
    return found


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: canonical(value) for name, value in values.items()}  # type: ignore[arg-type]


def _mapping(section: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Row]:
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield Row(section, name, before.get(name), after.get(name))


def _here(result: Result | None) -> str | None:
    return None if result is None else result.key
