"""A scanner that reads any text at all: used only once the parser has failed, to find out why.

It makes tokens with places and says what is wrong with characters and strings. What has one certain
meaning (a typographic quote, a `;`) is mended in a copy of the text with the same length, so that the rest
can be parsed without follow-up errors; what has none becomes a `bad` token, and whoever meets one knows
that its line has been complained about already.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from mlflowc.diagnostic import Diagnostic, Edit, Fix
from mlflowc.span import Source, Span
from mlflowc.syntax import checks

# Behind so many findings about characters the text is taken for noise.
MANY = 200

# Python before 3.11.5 gets `(?:…)*+` wrong: `(?>(?:…)*)` says the same.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\f\r]++)
    |(?P<newline>\n)
    |(?P<comment>\#[^\n]*+|(?<!:)//[^\n]*+|/\*)
    |(?P<triple>\"\"\")
    |(?P<string>"(?>(?:[^"\\\n]|\\[^\n])*)")
    |(?P<open>"[^\n]*+)
    |(?P<typographic>[“”„«»″][^"“”„«»″\n]*+["“”„«»″])
    |(?P<single>'(?>(?:[^'\\\n]|\\[^\n])*)')
    |(?P<number>[0-9][0-9_]*+(?:\.[0-9][0-9_]*+)?(?:[eE][+-]?[0-9]++)?(?:%|[A-Za-z_]++)?)
    |(?P<word>[^\W\d]\w*+)
    |(?P<bracket>[][(){}])
    |(?P<op><=|>=|==|!=|\.\.|\.\*|&&|\|\||[<>+*/=:,.?-])
    |(?P<bad>[\s\S])""",
    re.VERBOSE,
)
_TRIPLE = re.compile(r'(?>(?:[^"\\]++|\\[\s\S]|"(?!""))*)"""')
# A line that begins like this begins something new, however unfinished the text before it is.
DECLARATION = re.compile(
    r"(?:(?:stage|env|runner|auth|component|action|gate|report)[ \t]+[A-Za-z_]\w*[ \t]*(?:\{|=|each\b)"
    r"|sweep[ \t]+\w+[ \t]+over\b|on[ \t]+[A-Za-z_]\w*[ \t]*[({]|type[ \t]+\w+[ \t]*=|data[ \t]+\w+[ \t]*[:=]"
    r'|pipeline[ \t]+\w|use[ \t]+"|params[ \t]+"|(?:cache|ci)[ \t]*\{|mlpipe[ \t]+\d)'
)
ITEM = re.compile(
    r"[ \t]*(?:(?:in|out|keep|param|vary|input)[ \t]+[A-Za-z_]|require[ \t]+\S|[A-Za-z_][\w.]*[ \t]*=(?!=))"
)
_NEXT_DECLARATION = re.compile(r"^(?:" + DECLARATION.pattern + ")", re.MULTILINE)
_QUOTES = "“”„«»″"
_ODD_SPACES = "\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\u3000"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u2028\u2029"
_LOOKALIKES = {
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "*",
    "，": ",",
    "：": ":",
    "＝": "=",
    "；": ";",
    "（": "(",
    "）": ")",
}


class Tok(NamedTuple):
    """A token; `kind` is `word number string newline op bad` or the bracket itself."""

    kind: str
    start: int
    end: int


class Scan(NamedTuple):
    """The tokens of a text, the mended text of the same length, and what was found."""

    text: str
    tokens: list[Tok]
    problems: list[Diagnostic]
    comments: list[tuple[int, str]]
    complete: bool


def scan(source: Source) -> Scan:
    """Reads the whole text, or up to where it has proved to be noise (`complete` is False then)."""
    return _Scanner(source).run()


class _Scanner:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.text = source.text
        self.edits: list[tuple[int, int, str]] = []
        self.tokens: list[Tok] = []
        self.problems: list[Diagnostic] = []
        self.comments: list[tuple[int, str]] = []
        self.no_more_triples = False

    def run(self) -> Scan:
        at, end, text = 0, len(self.text), self.text
        if text.startswith("\ufeff"):
            self.edits.append((0, 1, " "))
            at = 1
        while at < end and len(self.problems) < MANY:
            match = _TOKEN.match(text, at)
            assert match is not None and match.lastgroup is not None
            kind, stop = match.lastgroup, match.end()
            if kind in ("number", "newline", "string"):
                self.tokens.append(Tok(kind, at, stop))
            elif kind == "bracket":
                self.tokens.append(Tok(text[at], at, stop))
            elif kind == "comment" and text[at] == "#":
                self.comments.append((at, match[0]))
            elif kind != "space":
                stop = getattr(self, "_" + kind)(at, stop)
            at = stop
        return Scan(self._mended(), self.tokens, self.problems, self.comments, at >= end)

    def _mended(self) -> str:
        pieces, at = [], 0
        for start, stop, new in sorted(self.edits):
            if start >= at:
                pieces += [self.text[at:start], new]
                at = stop
        return "".join(pieces) + self.text[at:]

    def _report(self, found: Diagnostic) -> None:
        self.problems.append(found)

    # -- one method for each kind of token that needs a look; each gives where to go on --

    def _word(self, start: int, stop: int) -> int:
        word = self.text[start:stop]
        if not word.isascii():
            plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()
            fix = (
                Fix(f"write `{plain}`", (Edit(Span(self.name, start, stop), plain),))
                if plain.isidentifier()
                else None
            )
            self._report(
                Diagnostic.of(
                    checks.NOT_A_NAME,
                    f"`{word}` is not a name: names are of the letters a to z, digits and `_`",
                    Span(self.name, start, stop),
                    help=f"write `{plain}`, or quotes around it if it is text"
                    if fix
                    else "quote it if it is text",
                    fix=fix,
                )
            )
            self.edits.append((start, stop, re.sub(r"[^A-Za-z0-9_]", "_", word)))
        self.tokens.append(Tok("word", start, stop))
        return stop

    def _op(self, start: int, stop: int) -> int:
        op = self.text[start:stop]
        if op in ("&&", "||"):
            word = "and" if op == "&&" else "or"
            span = Span(self.name, start, stop)
            self._report(
                Diagnostic.of(
                    checks.CHARACTER,
                    f"`{op}` is written `{word}`",
                    span,
                    help=f"write `{word}`",
                    fix=Fix(f"write `{word}`", (Edit(span, word),)),
                )
            )
            self.edits.append((start, stop, "or"))
        self.tokens.append(Tok("op", start, stop))
        return stop

    def _comment(self, start: int, stop: int) -> int:
        if self.text[start : start + 2] == "/*":
            close = self.text.find("*/", stop)
            stop = close + 2 if close >= 0 else len(self.text)
        span = Span(self.name, start, start + 2)
        fix = Fix("write `#`", (Edit(span, "#"),)) if self.text[start + 1] == "/" else None
        self._report(
            Diagnostic.of(
                checks.CHARACTER,
                f"`{self.text[start : start + 2]}` does not begin a comment; `#` does",
                span,
                help="write `#` before each line of the comment",
                fix=fix,
            )
        )
        self.edits.append((start, stop, re.sub(r"[^\n]", " ", self.text[start:stop])))
        return stop

    def _single(self, start: int, stop: int) -> int:
        span, body = Span(self.name, start, stop), self.text[start + 1 : stop - 1]
        new = '"' + body.replace("\\'", "'").replace('"', '\\"') + '"'
        self._report(
            Diagnostic.of(
                checks.CHARACTER,
                "a string stands between double quotes, not single ones",
                span,
                help=f"write `{new}`",
                fix=Fix("use double quotes", (Edit(span, new),)),
            )
        )
        self.edits.append((start, stop, '"' + re.sub(r'["\\]', " ", body) + '"'))
        self.tokens.append(Tok("string", start, stop))
        return stop

    def _typographic(self, start: int, stop: int) -> int:
        ends = (Span(self.name, start, start + 1), Span(self.name, stop - 1, stop))
        self._report(
            Diagnostic.of(
                checks.CHARACTER,
                f'`{self.text[start]}` is a typographic quote; a string stands between plain `"`',
                Span(self.name, start, stop),
                help='write `"`: some editors and chat programs turn it into the other',
                fix=Fix("use plain quotes", tuple(Edit(end, '"') for end in ends)),
            )
        )
        self.edits.append((start, stop, '"' + self.text[start + 1 : stop - 1].replace("\\", " ") + '"'))
        self.tokens.append(Tok("string", start, stop))
        return stop

    def _triple(self, start: int, stop: int) -> int:
        match = None if self.no_more_triples else _TRIPLE.match(self.text, stop)
        if match:
            self.tokens.append(Tok("string", start, match.end()))
            return match.end()
        self.no_more_triples = True
        self._report(
            Diagnostic.of(
                checks.OPEN_STRING,
                'the text that begins here with `"""` never ends',
                Span(self.name, start, stop),
                label="opened here",
                help='close it with `"""`',
            )
        )
        follows = _NEXT_DECLARATION.search(self.text, stop)
        self.tokens.append(Tok("lost", start, stop))
        return follows.start() - 1 if follows else len(self.text)

    def _open(self, start: int, stop: int) -> int:
        line = self.text[start:stop].rstrip()
        typographic = re.search(f"[{_QUOTES}]", line)
        if typographic:
            return self._typographic(start, start + typographic.end())
        close = self._closing_line(stop)
        fix = None
        if close is not None:
            stop, third = close + 1, '"""'
            edits = (
                Edit(Span(self.name, start, start + 1), third),
                Edit(Span(self.name, close, close + 1), third),
            )
            fix = Fix('use `"""`', edits)
        self._report(
            Diagnostic.of(
                checks.OPEN_STRING,
                'a string between `"` ends on the line it begins on'
                if fix
                else "the string that begins here is not closed on its line",
                Span(self.name, start, start + len(line)),
                label="opened here",
                help='text of several lines stands between `"""`' if fix else 'close it with `"`',
                fix=fix,
            )
        )
        self.tokens.append(Tok("bad", start, stop))
        return stop

    def _closing_line(self, at: int) -> int | None:
        """Where a string that was meant to go over lines ends: the next line with an odd number of quotes,
        unless something new begins before it."""
        for _ in range(30):
            end = self.text.find("\n", at + 1)
            line = self.text[at + 1 : end if end >= 0 else len(self.text)]
            if ITEM.match(line) or DECLARATION.match(line) or line.startswith("}"):
                return None
            if line.count('"') % 2:
                return at + 1 + line.index('"')
            if end < 0:
                return None
            at = end
        return None

    def _bad(self, start: int, stop: int) -> int:
        char = self.text[start]
        while stop < len(self.text) and self.text[stop] == char:
            stop += 1
        span = Span(self.name, start, stop)
        if char == ";":
            self._separator(span)
        elif char in _ODD_SPACES or char in _INVISIBLE:
            new = " " if char in _ODD_SPACES else ""
            self._mendable(
                span,
                f"an odd space ({_called(char)})" if new else f"an invisible character ({_called(char)})",
                new,
            )
        elif char in _LOOKALIKES:
            new = _LOOKALIKES[char]
            self._mendable(span, f"`{char}` ({_called(char)}) looks like `{new}` but is not", new)
            self.tokens.append(Tok(new if new in "()" else "op", start, stop))
        elif char == "!":
            self._mendable(span, "`!` is written `not`", "not ")
            self.edits[-1] = (start, stop, "-" * (stop - start))
            self.tokens.append(Tok("op", start, stop))
        else:
            shown = f"`{char}`" if char.isprintable() else f"a control character ({_called(char)})"
            self._report(
                Diagnostic.of(
                    checks.CHARACTER, f"{shown} cannot stand here", span, help=_ADVICE.get(char, _OUTSIDE)
                )
            )
            self.tokens.append(Tok("bad", start, stop))
        return stop

    def _separator(self, span: Span) -> None:
        rest = self.text[span.end : self.text.find("\n", span.end) % (len(self.text) + 1)]
        last = not rest.strip() or rest.lstrip().startswith(("#", "}"))
        self._report(
            Diagnostic.of(
                checks.CHARACTER,
                "`;` separates nothing here: items stand on lines of their own, or between commas",
                span,
                help="remove it" if last else "write `,`, or begin a new line",
                fix=Fix("remove it" if last else "write `,`", (Edit(span, "" if last else ","),)),
            )
        )
        self.edits.append(
            (*span[1:], " " * (span.end - span.start) if last else "," + " " * (span.end - span.start - 1))
        )
        if not last:
            self.tokens.append(Tok("op", span.start, span.start + 1))

    def _mendable(self, span: Span, what: str, new: str) -> None:
        size = span.end - span.start
        self._report(
            Diagnostic.of(
                checks.CHARACTER,
                what if "`" in what else f"{what} stands in the text",
                span,
                help=f"write `{new.strip()}`"
                if new.strip()
                else "write a plain space"
                if new
                else "remove it",
                fix=Fix(
                    "replace it" if new else "remove it", (Edit(span, new * (size if new != "not " else 1)),)
                ),
            )
        )
        self.edits.append((span.start, span.end, (new or " ") * size))


_OUTSIDE = 'characters like this stand in strings only, between `"`'
_ADVICE = {
    "$": 'a shell variable belongs into the string of a command: `run = "… $HOME …"`',
    "@": 'text belongs between quotes: `"name@version"`',
    "\\": "a line goes on by itself inside brackets and behind an operator; no `\\` is wanted",
    "'": "a string stands between double quotes",
    "`": "a string stands between double quotes",
    "\0": "is this a binary file?",
}


def _called(char: str) -> str:
    return f"{unicodedata.name(char, 'control').lower()}, U+{ord(char):04X}"
