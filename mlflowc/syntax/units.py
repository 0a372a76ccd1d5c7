"""The units that a number can carry, and what each is worth."""

from __future__ import annotations

import re

# Unit -> the kind of number it makes, and its factor to seconds or bytes.
UNITS: dict[str, tuple[str, int | float]] = {
    "": ("int", 1),
    "%": ("percent", 1),
    "ms": ("duration", 0.001),
    "s": ("duration", 1),
    "m": ("duration", 60),
    "h": ("duration", 3600),
    "d": ("duration", 86400),
    "B": ("size", 1),
    **{f"{p}B": ("size", 1000**n) for n, p in enumerate("KMGT", 1)},
    **{f"{p}iB": ("size", 1024**n) for n, p in enumerate("KMGT", 1)},
}
_MEASURE = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]+)")


def measure(text: str, kind: str) -> int | float | None:
    """Seconds of a `duration` such as `8h`, bytes of a `size` such as `16GiB`; None for anything else."""
    match = _MEASURE.fullmatch(text)
    if match is None or UNITS.get(match[2], ("", 1))[0] != kind:
        return None
    factor = UNITS[match[2]][1]
    digits = match[1].replace("_", "")
    return int(digits) * factor if digits.isdigit() else float(digits) * factor
