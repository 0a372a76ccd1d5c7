"""A stage's commands with their placeholders filled in, quoted for the shell by the type each has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from mlflowc.ir.model import Slot, Template, Value


def render(template: Template, values: Mapping[tuple[str, str], Value]) -> str:
    """The text for bash. `values` holds each placeholder's value by `(kind, name)`."""
    return "".join(part if isinstance(part, str) else quote(_value(part, values)) for part in template)


def script(commands: Sequence[str]) -> str:
    """Several commands as one script: each is a line of its own, `set -e` stops at the first that fails."""
    return "\n".join(commands)


def quote(value: Value) -> str:
    """`value` as words of bash: text as one quoted word, a list as words with spaces between, none as
    nothing.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return shlex.quote(value)
    if isinstance(value, (tuple, list)):
        return " ".join(quote(v) for v in value)
    from mlflowc.runtime.keys import canonical

    return shlex.quote(canonical(value))


def _value(slot: Slot, values: Mapping[tuple[str, str], Value]) -> Value:
    if slot.kind not in ("inputs", "outputs", "params"):
        return values[slot.kind, slot.name]
    # All in one: `train.lr` is `lr` in `train`, as a parameter file has it.
    found: dict[str, Value] = {}
    for name in filter(None, slot.name.split(",")):
        *sections, last = name.split(".")
        place = found
        for section in sections:
            inner = place.setdefault(section, {})
            assert isinstance(inner, dict)  # no parameter is a section, too
            place = inner
        place[last] = values[slot.kind.removesuffix("s"), name]
    return found
