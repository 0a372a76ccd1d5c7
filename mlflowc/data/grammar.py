"""How values are written in the cells of text files: one set of patterns for Python and for DuckDB.

They use only what `re` and RE2 read the same way: ASCII classes, no look-around, no back references.
Blanks around anything but text do not count.
"""

from __future__ import annotations

import re

from mlflowc.syntax.units import UNITS

_B = r"[ \t\n\r\v\f]*"


def _padded(pattern: str) -> str:
    return f"{_B}(?:{pattern}){_B}"


_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
INT = _padded(r"[+-]?[0-9]+")
FLOAT = _padded(rf"{_FLOAT}|[+-]?(?i:inf|infinity)")
TRUE = _padded(r"(?i:true|1)")
FALSE = _padded(r"(?i:false|0)")
BOOL = _padded(r"(?i:true|1|false|0)")
# What stands for a missing value in a column that is not text, beside nothing at all.
MISSING = _padded(r"(?i:na|n/a|null|none|[+-]?nan)?")
# Their ends as JSON numbers; what DuckDB gives is JSON in its shortest form.
JSON_INT = r"-?[0-9]+"
JSON_FLOAT = r"-?(?:[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?|Infinity)"

DURATIONS = {u: f for u, (kind, f) in UNITS.items() if kind == "duration"}
SIZES = {u: f for u, (kind, f) in UNITS.items() if kind == "size"}


def _measure(units: dict[str, int | float]) -> str:
    return rf"{_B}([0-9]+(?:\.[0-9]+)?){_B}({'|'.join(sorted(units, key=len, reverse=True))}){_B}"


# `1.5h`, `16GiB`: the number is group 1, the unit group 2.
DURATION = _measure(DURATIONS)
SIZE = _measure(SIZES)

_SAFE = re.compile(
    r"""(?x)
    \^?
    (?: [^\\\[\](){}^$*+?|\x00-\x1f\x7f-\U0010ffff]     # a plain character
      | \\[dsw.\-+*?()\[\]{}|/\\^$]                     # a class, or an escaped sign
      | \[ (?: [^\\\[\]^\x00-\x1f\x7f-\U0010ffff] | \\[dsw.\-+/\\\]\[] )+ \]   # a set that excludes nothing
      | \[\^ [^\\\[\]^\x00-\x1f\x7f-\U0010ffff]+ \]     # one that excludes plain characters
      | \((?:\?:)? | \) | \|
      | [*+?] \?? | \{ [0-9]{1,2} (?:,[0-9]{0,2})? \}
    )*
    \$?"""
)


def safe_pattern(pattern: str) -> bool:
    """Whether RE2 finds `pattern` only where Python's `re` does.

    RE2's `\\d`, `\\w` and `\\s` are narrower (ASCII), and so is its `$`; so what it finds, Python finds, as
    long as nothing excludes a class. Look-around, back references, `\\b` and flags are not for RE2.
    """
    return _SAFE.fullmatch(pattern) is not None and not re.search(r"[*+?}][*+{]|\(\?(?!:)", pattern)
