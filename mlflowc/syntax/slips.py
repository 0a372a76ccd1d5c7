"""Slips inside a line that people make often enough to be known by what was meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from mlflowc.diagnostic import Diagnostic, Edit, Fix
from mlflowc.span import Source, Span
from mlflowc.syntax import checks
from mlflowc.syntax.expected import Stop
from mlflowc.syntax.places import Place, text_of
from mlflowc.syntax.scan import Tok
from mlflowc.syntax.units import UNITS


class Line(NamedTuple):
    """A line or a header that failed: its tokens, where the parser stopped, and which token that is."""

    source: Source
    text: str
    place: Place
    tokens: list[Tok]
    stop: Stop
    at: int

    def t(self, n: int) -> str:
        return text_of(self.text, self.tokens, n)

    def kind(self, n: int) -> str:
        return self.tokens[n].kind if 0 <= n < len(self.tokens) else ""

    def span(self, first: int, last: int | None = None) -> Span:
        return Span(
            self.source.name, self.tokens[first].start, self.tokens[first if last is None else last].end
        )

    def before(self) -> str:
        """What was written so far, on one line and not too much of it."""
        start = self.tokens[0].start if self.tokens else self.stop.start
        words = self.text[start : max(start, self.stop.start)].split()
        shown = " ".join(words)
        return shown if len(shown) <= 40 else "…" + shown[-38:]


def _unit(line: Line) -> Diagnostic | None:
    """`16 GiB` for `16GiB`."""
    n = line.at
    if n == 0 or line.kind(n - 1) != "number" or line.kind(n) != "word" or line.t(n) not in UNITS:
        return None
    if not line.t(n - 1)[-1].isdigit() or line.t(n + 1) in ("=", ":"):
        return None
    both = line.t(n - 1) + line.t(n)
    return Diagnostic.of(
        checks.SYNTAX,
        f"in {line.place}: a unit stands right behind its number",
        line.span(n - 1, n),
        help=f"write `{both}`",
        fix=Fix(f"write `{both}`", (Edit(line.span(n - 1, n), both),)),
    )


def _instance(line: Line) -> Diagnostic | None:
    """`in train["de"].model`: only a plain name says what the input is called."""
    n = line.at
    if line.t(0) != "in" or line.t(n) != "[" or any(line.t(k) in ("=", ":") for k in range(n)):
        return None
    last = line.tokens[-1]
    name = line.t(len(line.tokens) - 1) if last.kind == "word" and line.t(len(line.tokens) - 2) == "." else ""
    at = Span(line.source.name, line.tokens[1].start, line.tokens[1].start)
    return Diagnostic.of(
        checks.SYNTAX,
        f"in {line.place}: an input that is read by an index needs a name of its own",
        Span(line.source.name, at.start, line.tokens[n].end),
        help=f"write `in {name or 'NAME'} = {line.text[at.start : last.end]}`",
        fix=Fix("give it the name of the output", (Edit(at, f"{name} = "),)) if name else None,
    )


def _second_index(line: Line) -> Diagnostic | None:
    """`train[1, "x"]` for `train[1]["x"]`."""
    n = line.at
    if line.t(n) != "," or line.kind(n - 1) not in ("number", "string") or line.t(n - 2) != "[":
        return None
    if line.kind(n - 3) != "word":
        return None
    comma = Span(
        line.source.name, line.tokens[n - 1].end, line.tokens[min(n + 1, len(line.tokens) - 1)].start
    )
    return Diagnostic.of(
        checks.SYNTAX,
        f"in {line.place}: each variable of `each` has brackets of its own",
        line.span(n),
        help=f"write `{line.t(n - 3)}[{line.t(n - 1)}][{line.t(n + 1) or '…'}]`",
        fix=Fix("write `][`", (Edit(comma, "]["),)),
    )


def _event_of_text(line: Line) -> Diagnostic | None:
    """`on schedule "17 3 * * *"` for `on schedule("17 3 * * *")`."""
    n = line.at
    if line.t(0) != "on" or n != 2 or line.kind(n) != "string":
        return None
    span = Span(line.source.name, line.tokens[1].end, line.tokens[2].end)
    right = f"{line.t(1)}({line.t(2)})"
    return Diagnostic.of(
        checks.SYNTAX,
        f"after `{line.before()}` what it is about stands between parentheses",
        line.span(n),
        help=f"write `on {right}`",
        fix=Fix("put parentheses around it", (Edit(span, f"({line.t(2)})"),)),
    )


def _options(line: Line) -> Diagnostic | None:
    """`plot train.curve x = epoch, y = loss` for `plot train.curve { x = epoch, y = loss }`."""
    n = line.at
    if line.place.keyword != "report":
        return None
    if line.kind(n) != "word" or line.t(n + 1) != "=" or n < 2:
        return None
    end = line.text.find("\n", line.tokens[n].start)
    rest = [t for t in line.tokens[n:] if (end < 0 or t.start < end) and line.text[t.start : t.end] != "}"]
    span = Span(line.source.name, line.tokens[n].start, rest[-1].end)
    body = re.sub(r"\s*=\s*", " = ", line.text[span.start : span.end])
    body = re.sub(r"(?<=[\w\"])\s+(?=\w+ = )", ", ", body)
    return Diagnostic.of(
        checks.SYNTAX,
        f"in {line.place}: options of a `{line.t(0)}` stand between `{{` and `}}`",
        span,
        help=f"write `{{ {body} }}`",
        fix=Fix("put braces around them", (Edit(span, f"{{ {body} }}"),)),
    )


def _inner_quote(line: Line) -> Diagnostic | None:
    """`"python -c "print(1)""`: the second quote ends the text, and what follows stands right behind it."""
    n = line.at
    if n == 0 or line.kind(n - 1) != "string" or line.kind(n) == "string" or n >= len(line.tokens):
        return None
    if line.tokens[n - 1].end != line.tokens[n].start or line.t(n)[0] in ",;:=[]{}()":
        return None
    end = line.tokens[n - 1].end
    return Diagnostic.of(
        checks.SYNTAX,
        f'in {line.place}: a text ends at this `"`, and `{line.t(n)}` stands right behind it',
        Span(line.source.name, end - 1, end),
        help='a `"` inside of a text is written `\\"`, or the text stands between `"""`',
    )


# In the order in which they are asked.
SLIPS: tuple[Callable[[Line], Diagnostic | None], ...] = (
    _inner_quote,
    _unit,
    _instance,
    _second_index,
    _event_of_text,
    _options,
)
