"""A stage's commands with their placeholders filled in, quoted for the shell by the type each has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from mlflowc.ir.model import Slot, Template, Value


def render(template: Template, values: Mapping[tuple[str, str], Value]) -> str:
    """The text for bash. `values` holds each placeholder's value by `(kind, name)`."""
    return "".join(part if isinstance(part, str) else quote(values[_slot(part)]) for part in template)


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


def _slot(slot: Slot) -> tuple[str, str]:
    return slot.kind, slot.name
