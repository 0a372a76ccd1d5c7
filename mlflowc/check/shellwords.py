"""The words of a command as they stand in the source, so that a diagnostic can point into the string.

Not a shell: quotes, separators and comments are known, expansions are not. A word that holds a placeholder
or an expansion is `open`: its text is only a part of what the shell will see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mlflowc.span import Source, Span

_SEPARATORS = frozenset(";|&()\n")
_BETWEEN = _SEPARATORS | frozenset(" \t\r<>")
_PLAIN = re.compile(r"[A-Za-z0-9_./,:=+@%^~!-]+")
# A whole word of such characters, or one placeholder alone, with what ends it: most of what commands are.
_WORD = re.compile(r"[ \t]*(([A-Za-z0-9_./,:=+@%^~!-]+)|\{\{[a-z0-9_. ]+\}\})(?=[ \t\n;|()]|\Z)")
# So deep, commands in commands are followed.
_LEVELS = 20
_ESCAPED_QUOTED = frozenset('"\\$`\n')
_ESCAPED = {"\n": " ", "n": "\n", "t": "\t", '"': '"', "'": "'", "\\": "\\"}


class Word(NamedTuple):
    """`first` when it begins a command, behind the separator `glue`; `quoted` when in quotes."""

    text: str
    span: Span
    first: bool
    quoted: bool
    open: bool
    glue: str


class Quoted(NamedTuple):
    """A placeholder between the shell's quotes; `span` is that of its braces."""

    span: Span
    quote: str


class Command(NamedTuple):
    """A command literal, read."""

    words: tuple[Word, ...]
    quoted: tuple[Quoted, ...]


def read(source: Source, literal: Span) -> Command:
    """The words of the string literal at `literal`."""
    words: list[Word] = []
    quoted: list[Quoted] = []
    reader = _Reader(source, literal)
    for item in reader.items():
        if isinstance(item, Word):
            words.append(item)
        else:
            quoted.append(item)
    return Command(tuple(words), tuple(quoted))


class _Reader:
    def __init__(self, source: Source, literal: Span) -> None:
        raw = source.text[literal.start : literal.end]
        marks = 3 if raw.startswith('"""') else 1
        self._text, self._file = source.text, literal.file
        self._at, self._end = literal.start + marks, literal.end - marks
        self._chars: list[str] = []
        self._level = 0
        self._start = self._at
        self._first, self._open, self._quoted, self._glue = True, False, False, ""

    def items(self) -> Iterator[Word | Quoted]:
        quote, in_word = "", False
        while self._at < self._end:
            if not in_word and not quote:
                whole = _WORD.match(self._text, self._at, self._end)
                if whole is not None:
                    start, end = whole.span(1)
                    span, plain_text = Span(self._file, start, end), whole[2]
                    placed = plain_text is None
                    yield Word("" if placed else plain_text, span, self._first, False, placed, self._glue)
                    self._at, self._first, self._glue = end, False, ""
                    continue
                between = self._text[self._at]
                if between in _BETWEEN:
                    self._between(self._at, between)
                    self._at += 1
                    continue
            start = self._at
            plain = _PLAIN.match(self._text, start, self._end)
            if plain is not None:
                # Most of a command: characters that mean themselves in every state but the first of a word.
                if not in_word:
                    self._start, in_word = start, True
                self._chars.append(plain[0])
                self._at = plain.end()
                continue
            char, size = self._next()
            if not in_word:
                self._start = start
            if char == "{{":
                yield from self._placed(start, size, quote)
                self._open = in_word = True
            elif quote:
                if char == quote:
                    quote = ""
                elif quote == '"' and char in "\\$`":
                    self._at = start + size
                    yield from self._in_quotes(char)
                    size = self._at - start
                else:
                    self._chars.append(char)
            elif char in "\"'":
                quote, in_word, self._quoted = char, True, True
            elif char in _BETWEEN:
                yield from self._word(start)
                in_word = False
                self._between(start, char)
            elif char == "\\" and start + size < self._end:
                in_word |= self._escape(start + size)
                size = self._at - start
            elif char == "#" and not in_word:
                self._skip_line()
            else:
                in_word = True
                self._open |= char in "$`*?["
                self._chars.append(char)
            self._at = max(self._at, start + size)
        yield from self._word(self._end)

    def _next(self) -> tuple[str, int]:
        """The character meant at the reader's place, and how many it takes; `{{` for a whole placeholder."""
        text, at = self._text, self._at
        if text.startswith("{{", at):
            end = text.find("}}", at, self._end)
            if end >= 0:
                return "{{", end + 2 - at
        if text[at] == "\\" and at + 1 < self._end:
            return _ESCAPED.get(text[at + 1], text[at + 1]), 2
        return text[at], 1

    def _escape(self, at: int) -> bool:
        """The shell's own escape, before `at`: the next character as it stands, and whether it is part of a
        word; a line break goes away."""
        self._at = at
        escaped, size = self._next()
        self._at = at + size
        if escaped in ("\n", "{{"):
            return False
        self._chars.append(escaped)
        return True

    def _placed(self, start: int, size: int, quote: str) -> Iterator[Quoted]:
        """The placeholder there, when it is between quotes; `{{'{{'}}` says braces, and is none."""
        if quote and self._text[start + 2 : start + size - 2].strip()[:1] not in ("'", '"', "\\"):
            yield Quoted(Span(self._file, start, start + size), quote)

    def _in_quotes(self, char: str) -> Iterator[Quoted]:
        """What means something between `"`, the character before the reader's place: an escape of some
        characters, else the backslash stays; or an expansion."""
        if char == "\\":
            escaped, size = self._next() if self._at < self._end else ("", 0)
            if escaped not in _ESCAPED_QUOTED:
                self._chars.append(char)
                return
            self._at += size
            self._chars.append(escaped.strip("\n"))
            return
        self._open = True
        self._chars.append(char)
        if char == "`":
            yield from self._substituted("`")
        elif self._text.startswith("(", self._at):
            self._at += 1
            self._chars.append("(")
            yield from self._substituted(")")

    def _substituted(self, close: str) -> Iterator[Quoted]:
        """The rest of a command between the quotes of another: quotes begin anew in it. It stays a part of
        the word around it."""
        if self._level == _LEVELS:
            return
        self._level += 1
        quote, depth = "", 1
        while depth and self._at < self._end:
            start = self._at
            char, size = self._next()
            self._at += size
            if char == "{{":
                yield from self._placed(start, size, quote)
                continue
            if quote == "'" or (char in "\"'" and quote in ("", char)):
                quote = char if not quote else "" if char == quote else quote
            elif char == "\\" and not quote and self._at < self._end:
                self._escape(self._at)
                continue
            elif char in "\\$" or (char == "`" and close != "`"):
                yield from self._in_quotes(char)
                continue
            elif not quote and char in (close, "("):
                depth += -1 if char == close else close == ")"
            self._chars.append(char)
        self._level -= 1

    def _between(self, at: int, char: str) -> None:
        """Takes in what stands between words: a separator begins a command."""
        if char in _SEPARATORS and not self._redirects(at):
            self._first, self._glue = True, char if char != self._glue else char * 2

    def _redirects(self, at: int) -> bool:
        """Whether the `&` there belongs to a redirection, as in `2>&1` and `&> file`."""
        return self._text[at] == "&" and (self._text[at - 1] in "<>" or self._text[at + 1] == ">")

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._at, self._end)
        self._at = end if end >= 0 else self._end

    def _word(self, end: int) -> Iterator[Word]:
        if self._chars or self._open or self._quoted:
            span = Span(self._file, self._start, end)
            yield Word("".join(self._chars), span, self._first, self._quoted, self._open, self._glue)
            self._first, self._glue = False, ""
        self._chars, self._open, self._quoted = [], False, False
