"""Placeholders in a command: where a word is a path of the stage, or a part came from a parameter.

A command must go on doing the same. So a part is replaced only where what the placeholder will say means to
the shell what stood there: the text is the same, or it is a whole quoted part. All else stays text.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mlflowc.importing.templating import Origin, Piece, Text, joined

_BREAKS = " \t\r\n;|&()<>"
_OPEN = "$`*?[~{!"


class Placeholder(NamedTuple):
    """`{{name}}`."""

    name: str


Command = tuple[str | Placeholder, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A command with its placeholders. `used` are their names, `copied` the origins of values that stand in
    it as text."""

    command: Command
    used: frozenset[str]
    copied: tuple[Origin, ...]


class _Word(NamedTuple):
    """`text` is what the shell makes of the characters from `start` to `end`."""

    start: int
    end: int
    text: str


class _Quote(NamedTuple):
    """A quoted part: the places of its two marks."""

    start: int
    end: int
    mark: str


class _Swap(NamedTuple):
    start: int
    end: int
    name: str
    quote: _Quote | None = None


def place(text: Text, paths: Mapping[str, str], named: Callable[[Origin], str | None]) -> Placed:
    """Puts placeholders into a command.

    `paths` maps a path, as the command has to say it, to the name of its placeholder; `named` gives the
    placeholder of a value, if there is one.
    """
    full = joined(text)
    words, quotes, clear = _scan(full)
    swaps = _paths(full, words, paths, clear) if "<<" not in full else []
    copied: list[Origin] = []
    at = 0
    for piece in text:
        start, at = at, at + len(piece.text)
        if piece.origin is None or any(s.start < at and start < s.end for s in swaps):
            continue
        swap = _value(piece, start, at, quotes if clear else [], named)
        if swap is None:
            copied.append(piece.origin)
        else:
            swaps.append(swap)
    command = _composed(full, sorted(swaps))
    return Placed(command, frozenset(s.name for s in swaps), tuple(copied))


def _same(piece: Piece) -> bool:
    """Whether quoting leaves the value as it is."""
    return piece.value is not None and (
        not isinstance(piece.value, str) or shlex.quote(piece.value) == piece.text
    )


def _value(
    piece: Piece, start: int, end: int, quotes: list[_Quote], named: Callable[[Origin], str | None]
) -> _Swap | None:
    assert piece.origin is not None
    name = named(piece.origin) if piece.value is not None else None
    if name is None:
        return None
    quote = next((q for q in quotes if q.start < start and end <= q.end), None)
    if quote is None:
        return _Swap(start, end, name) if _same(piece) else None
    special = "'" if quote.mark == "'" else '"$`\\!'
    return None if any(c in special for c in piece.text) else _Swap(start, end, name, quote)


def _paths(full: str, words: list[_Word], paths: Mapping[str, str], clear: bool) -> list[_Swap]:
    swaps: list[_Swap] = []
    for word in words:
        raw = full[word.start : word.end]
        if word.text in paths and (clear or raw == word.text):
            swaps.append(_Swap(word.start, word.end, paths[word.text]))
            continue
        if raw != word.text:
            continue
        # `--out=models/x.pkl`, and `data/prepared/train.csv` where `data/prepared` is a folder of the stage.
        begins = [0, *([raw.index("=") + 1] if "=" in raw else [])]
        found = next((s for b in begins if (s := _within(raw, b, word.start, paths))), None)
        if found is not None:
            swaps.append(found)
    return swaps


def _within(raw: str, begin: int, offset: int, paths: Mapping[str, str]) -> _Swap | None:
    part = raw[begin:]
    ends = [n for n, c in enumerate(part) if c == "/" and n > 0] + [len(part)]
    for end in reversed(ends):
        if part[:end] in paths and shlex.quote(part[:end]) == part[:end]:
            return _Swap(offset + begin, offset + begin + end, paths[part[:end]])
    return None


def _composed(full: str, swaps: list[_Swap]) -> Command:
    parts: list[str | Placeholder] = []
    at = 0
    for n, swap in enumerate(swaps):
        text, quote, after = full[at : swap.start], swap.quote, swap.end
        if quote is not None:
            # A placeholder brings its own quotes: what stands around it gets its own, too.
            if swap.start == quote.start + 1:
                text = text[:-1]
            elif not (n and swaps[n - 1].quote == quote and swaps[n - 1].end == swap.start):
                text += quote.mark
        _append(parts, text)
        parts.append(Placeholder(swap.name))
        if quote is not None:
            follows = n + 1 < len(swaps) and swaps[n + 1].quote == quote and swaps[n + 1].start == swap.end
            if swap.end == quote.end:
                after += 1
            elif not follows:
                _append(parts, quote.mark)
        at = after
    _append(parts, full[at:])
    return tuple(parts)


def _append(parts: list[str | Placeholder], text: str) -> None:
    if text and parts and isinstance(parts[-1], str):
        parts[-1] += text
    elif text:
        parts.append(text)


def _scan(full: str) -> tuple[list[_Word], list[_Quote], bool]:
    """Words that no expansion changes, quoted parts, and whether all of it was understood."""
    words: list[_Word] = []
    quotes: list[_Quote] = []
    clear = not any(s in full for s in ("`", "$(", "<<", "$'", '$"', "\n"))
    for item in _items(full):
        if isinstance(item, _Quote):
            quotes.append(item)
        else:
            words.append(item)
    if sum(len(q.mark) for q in quotes if q.end >= len(full)):
        clear = False  # a quote that is never closed
    return words, quotes, clear


def _items(full: str) -> Iterator[_Word | _Quote]:
    at, start, open_ = 0, -1, False
    chars: list[str] = []
    while at < len(full):
        char = full[at]
        if char in _BREAKS:
            if start >= 0 and not open_:
                yield _Word(start, at, "".join(chars))
            start, open_, chars = -1, False, []
            at += 1
            continue
        if char == "#" and start < 0:
            end = full.find("\n", at)
            at = len(full) if end < 0 else end
            continue
        start = at if start < 0 else start
        if char in "'\"":
            end = _closing(full, at)
            yield _Quote(at, end, char)
            inside = full[at + 1 : end]
            open_ |= char == '"' and any(c in inside for c in "$`\\!")
            chars.append(inside)
            at = end + 1
        elif char == "\\":
            chars.append(full[at + 1 : at + 2])
            open_ |= at + 1 == len(full)
            at += 2
        else:
            open_ |= char in _OPEN
            chars.append(char)
            at += 1
    if start >= 0 and not open_:
        yield _Word(start, min(at, len(full)), "".join(chars))


def _closing(full: str, start: int) -> int:
    """The place of the mark that closes the one at `start`; the end where there is none."""
    at = start + 1
    while at < len(full) and full[at] != full[start]:
        at += 2 if full[start] == '"' and full[at] == "\\" else 1
    return min(at, len(full))
