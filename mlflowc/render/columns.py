"""How wide source text is on a terminal, and what of it may be shown there."""

from __future__ import annotations

import unicodedata

TAB = 4

# They reorder what a reader sees; shown raw they could make one source look like another.
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def cell(char: str, column: int) -> tuple[str, int]:
    """What is printed for `char` at display column `column` (from 0), and how many columns that takes."""
    if " " <= char <= "~":
        return char, 1
    if char == "\t":
        width = TAB - column % TAB
        return " " * width, width
    if char < " " or char == "\x7f":
        return (chr(0x2400 + ord(char)) if char < " " else "\u2421"), 1
    if char in _BIDI or "\x80" <= char <= "\x9f" or 0xD800 <= ord(char) <= 0xDFFF:
        return "\ufffd", 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return char, 0
    return char, 2 if unicodedata.east_asian_width(char) in "WF" else 1


def width(text: str) -> int:
    """The display columns of `text`, begun at column 0."""
    if text.isascii() and text.isprintable():
        return len(text)
    column = 0
    for char in text:
        column += cell(char, column)[1]
    return column


def plain(text: str) -> str:
    """`text` with everything that a terminal would obey, not show, replaced; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(c if c == "\n" else cell(c, 0)[0] for c in text)
