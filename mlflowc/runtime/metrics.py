"""Numbers from a metrics file: JSON, YAML or TOML, nested names joined by dots."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from mlflowc import plainfile
from mlflowc.ir.model import Output
from mlflowc.runtime.records import Number

# In bytes.
LARGEST = 16 * 1024 * 1024


class UnreadableError(Exception):
    """The file holds no metrics; the text says why."""


def read(path: Path, suffix: str | None = None) -> dict[str, Number]:
    """The file's finite numbers by dotted name; lists count by position (`loss.0`), anything else is left
    out. `suffix` says what it is where its own name does not.

    Raises `UnreadableError`.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UnreadableError(
                f"it is larger than {LARGEST // 1024 // 1024} MiB, which is no file of metrics"
            )
        data = plainfile.read(path)
    except OSError as e:
        raise UnreadableError(e.strerror or "it cannot be read") from None
    return of_content(data, path.suffix.lower() if suffix is None else suffix)


def of_content(data: bytes, suffix: str) -> dict[str, Number]:
    """As `read`, of a file's content."""
    try:
        value = _parse(data.decode("utf-8"), suffix)
    except UnicodeDecodeError:
        raise UnreadableError("it is not UTF-8") from None
    if not isinstance(value, dict):
        raise UnreadableError("its top level is not a mapping of names to numbers")
    found: dict[str, Number] = {}
    _flatten(value, "", found)
    return found


def _parse(text: str, suffix: str) -> Any:
    if suffix == ".toml":
        import tomllib

        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as e:
            raise UnreadableError(f"it is not TOML ({e})") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        if suffix not in (".yaml", ".yml"):
            raise UnreadableError(f"it is not JSON ({e})") from None
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as e:
        raise UnreadableError(f"it is not YAML ({str(e).splitlines()[0]})") from None


def _flatten(value: Any, prefix: str, found: dict[str, Number]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(inner, f"{prefix}.{name}" if prefix else str(name), found)
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            _flatten(inner, f"{prefix}.{n}", found)
    elif isinstance(value, bool):
        found[prefix] = int(value)
    elif isinstance(value, (int, float)):
        found[prefix] = value if abs(value) <= sys.float_info.max or isinstance(value, float) else math.inf


def finite(numbers: dict[str, Number]) -> dict[str, Number]:
    """Those that are finite: the only ones that records and the lock hold."""
    return {name: n for name, n in numbers.items() if math.isfinite(n)}


def problem(output: Output, numbers: dict[str, Number]) -> str | None:
    """Why `numbers` are not what the output declares: a field that is missing, or not a finite number; else
    None.
    """
    for column in output.type.columns:
        name = column.name
        if name not in numbers:
            if column.type.optional or column.type.name in ("str", "enum", "list"):
                continue
            known = ", ".join(f"`{n}`" for n in sorted(numbers)[:12]) or "no numbers"
            return f"has no number `{name}` (it has {known})"
        value = numbers[name]
        if not math.isfinite(value):
            return f"says that `{name}` is {value}, which is not a number to work with"
        if column.type.name == "int" and value != int(value):
            return f"says that `{name}` is {value}, and `int` was declared"
        for c in column.constraints:
            if c.op == "range" and not (
                (c.low is None or value >= c.low) and (c.high is None or value <= c.high)
            ):
                return f"says that `{name}` is {value}, outside of {_bound(c.low)}..{_bound(c.high)}"
    return None


def _bound(value: float | int | None) -> str:
    return "" if value is None else str(value)
