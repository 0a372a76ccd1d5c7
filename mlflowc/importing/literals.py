"""Values and texts as they are written in a `.mlpipe` file."""

from __future__ import annotations

import re

_BRACES = re.compile(r"\{\{+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quoted(value: str) -> str:
    """A string literal, where placeholders have no meaning."""
    return f'"{_characters(value)}"'


def literal(value: str | int | float | bool) -> str:
    """A literal of the language."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)


def escaped(value: str, *, last: bool) -> str:
    """`value` inside of the quotes of a template. Braces that would begin a placeholder are written as
    one that
    says them; unless `last`, one follows.
    """
    out: list[str] = []
    at = 0
    for match in _BRACES.finditer(value):
        out += [_characters(value[at : match.start()]), f"{{{{'{match[0]}'}}}}"]
        at = match.end()
    rest = value[at:]
    if not last and rest.endswith("{"):
        out += [_characters(rest[:-1]), "{{'{'}}"]
    else:
        out.append(_characters(rest))
    return "".join(out)


def _characters(value: str) -> str:
    return "".join(
        _ESCAPES.get(c) or (f"\\u{{{ord(c):x}}}" if ord(c) < 32 or 127 <= ord(c) < 160 else c) for c in value
    )
