"""Bytes to source text."""

from __future__ import annotations

import re

from mlflowc.diagnostic import Diagnostic
from mlflowc.span import Source, Span
from mlflowc.syntax import checks

_MARK = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def decode(name: str, data: bytes) -> Source | Diagnostic:
    """The text of a file, without a byte order mark; or, where it is not UTF-8, what to say of it.

    The diagnostic's span is empty, since there is no text it could point into; line, column and byte offset
    of the first bad byte stand in its message.
    """
    body = data.removeprefix(_MARK)
    try:
        return Source(name, body.decode("utf-8"))
    except UnicodeDecodeError as e:
        at = e.start
        before = body[:at]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
        byte = f"byte 0x{body[at]:02X} at offset {at + len(data) - len(body)} (line {line}, column {column})"
        if data.startswith(_UTF16):
            help = "it looks like UTF-16: save it as UTF-8"
        elif b"\0" in body[:1000]:
            help = "is this a binary file?"
        else:
            help = f"save it as UTF-8; with iconv: `iconv -f {_guess(body)} -t UTF-8 {name}`"
        return Diagnostic.of(checks.NOT_UTF8, f"`{name}` is not UTF-8: {byte}", Span(name, 0, 0), help=help)


def _guess(data: bytes) -> str:
    # Bytes 0x80 to 0x9F are control characters in Latin-1 and quotes and dashes in Windows-1252.
    return "WINDOWS-1252" if re.search(rb"[\x80-\x9f]", data) else "ISO-8859-1"
