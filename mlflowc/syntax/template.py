"""Strings as meant: escapes, the indentation of `\"\"\"` strings, `{{placeholders}}` with their places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mlflowc.span import Span
from mlflowc.syntax.ast import Str

_ESCAPE = re.compile(r"\\(u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|\r\n|[\s\S])")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "0": "\0", "\n": "", "\r\n": ""}
_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)

# What has a meaning of its own in a command's `{{…}}`: nothing of a step may be called so.
RESERVED = frozenset({"params", "stage"})
# What stands for all that a step declares, unless something of the step is called so.
TOGETHER = frozenset({"inputs", "outputs", "params"})


class Placeholder(NamedTuple):
    """`{{text}}`; `span` is that of the text between the braces, without the space around it."""

    text: str
    span: Span


class BadEscape(NamedTuple):
    """An escape that means nothing, such as `\\d`."""

    text: str
    span: Span


def cook(raw: str) -> str:
    """The value of a string literal, given as it stands in the source. Unknown escapes stay as written."""
    body, margin = _body(raw)
    return _unescape(_dedent(body, margin))


def bad_escapes(raw: str, span: Span) -> Iterator[BadEscape]:
    """The escapes of a literal that mean nothing."""
    if "\\" not in raw:
        return
    for match in _ESCAPE.finditer(raw):
        if match[1] not in _SIMPLE and not _is_unicode(match[1]):
            yield BadEscape(match[0], Span(span.file, span.start + match.start(), span.start + match.end()))


def parts(literal: Str) -> tuple[str | Placeholder, ...]:
    """A string cut at its placeholders. `{{"{{"}}` is text: what stands between its quotes."""
    if literal.raw[1:3] != '""' and "\\" not in literal.raw and "\r" not in literal.raw:
        return _plain_parts(literal)
    body, margin = _body(literal.raw)
    base = literal.span.start + literal.raw.index(body, 3 if literal.raw.startswith('"""') else 1)
    found: list[str | Placeholder] = []
    at = 0
    for match in _PLACEHOLDER.finditer(body):
        _add(found, _unescape(_dedent(body[at : match.start()], margin, first=at == 0)))
        inner = match[1].strip()
        quoted = _unescape(inner)
        if len(quoted) >= 2 and quoted[0] == quoted[-1] and quoted[0] in "\"'":
            _add(found, quoted[1:-1])
        else:
            start = base + match.start(1) + (len(match[1]) - len(match[1].lstrip()))
            found.append(Placeholder(inner, Span(literal.span.file, start, start + len(inner))))
        at = match.end()
    _add(found, _unescape(_dedent(body[at:], margin, first=at == 0)))
    return tuple(found)


def _plain_parts(literal: Str) -> tuple[str | Placeholder, ...]:
    """`parts` of a string of one line without escapes, as most are."""
    raw, file, base = literal.raw, literal.span.file, literal.span.start
    found: list[str | Placeholder] = []
    at, end = 1, len(raw) - 1
    for match in _PLACEHOLDER.finditer(raw, 1, end):
        start, stop = match.span(1)
        inner = match[1].strip()
        if start - 2 > at:
            _add(found, raw[at : start - 2])
        if inner[:1] in ("'", '"') and len(inner) >= 2 and inner[0] == inner[-1]:
            _add(found, inner[1:-1])
        else:
            first = base + raw.index(inner, start, stop)
            found.append(Placeholder(inner, Span(file, first, first + len(inner))))
        at = stop + 2
    if at < end:
        _add(found, raw[at:end])
    return tuple(found)


def _add(found: list[str | Placeholder], text: str) -> None:
    if not text:
        return
    if found and isinstance(found[-1], str):
        found[-1] += text
    else:
        found.append(text)


def _body(raw: str) -> tuple[str, str]:
    """What stands between the quotes, and the indentation that all its lines share."""
    if not raw.startswith('"""'):
        return raw[1:-1], ""
    body = raw[3:-3]
    if not body.startswith(("\n", "\r\n")):
        return body, ""
    body = body[body.index("\n") + 1 :]
    lines = body.split("\n")
    if not lines[-1].strip():
        body = body[: len(body) - len(lines[-1])]  # the line of the closing quotes
    indents = [line[: len(line) - len(line.lstrip())] for line in lines[:-1] if line.strip()]
    if lines[-1].strip():
        indents.append(lines[-1][: len(lines[-1]) - len(lines[-1].lstrip())])
    return body, _common(indents)


def _common(indents: list[str]) -> str:
    if not indents:
        return ""
    low, high = min(indents), max(indents)
    for n, char in enumerate(low):
        if high[n] != char:
            return low[:n]
    return low


def _dedent(text: str, margin: str, *, first: bool = True) -> str:
    if not margin:
        return text
    if first and text.startswith(margin):
        text = text[len(margin) :]
    return re.sub("\n(?:" + re.escape(margin) + r"|[ \t]*(?=\r?\n))", "\n", text)


def _unescape(text: str) -> str:
    # A line break is one character, however the checkout writes it: the value decides about keys.
    text = text.replace("\r\n", "\n")
    return _ESCAPE.sub(_one, text) if "\\" in text else text


def _one(match: re.Match[str]) -> str:
    code = match[1]
    if code in _SIMPLE:
        return _SIMPLE[code]
    if _is_unicode(code):
        return chr(int(code[1:].strip("{}"), 16))
    return match[0]


def _is_unicode(code: str) -> bool:
    return len(code) > 1 and int(code[1:].strip("{}"), 16) <= 0x10FFFF
