"""Cuts a text that does not parse into declarations and their lines, by brackets and indentation.

A text whose brackets match is cut by them alone. Where they do not, the layout decides what was meant: a
line in column 0 that begins like a declaration is one, and a `}` closes the block that stands as far to the
left as it does. So one forgotten bracket costs one line, not the rest of the file.
"""

from __future__ import annotations

import re

from mlflowc.diagnostic import Diagnostic, Label
from mlflowc.frozen import dataclass, field
from mlflowc.span import Source, Span
from mlflowc.syntax import checks
from mlflowc.syntax.lexer import MAX_DEPTH
from mlflowc.syntax.scan import DECLARATION, ITEM, MANY, Scan, Tok

_CLOSES = {"}": "{", ")": "(", "]": "["}
_OPENS = {v: k for k, v in _CLOSES.items()}
_GOES_ON = {
    "<=",
    ">=",
    "==",
    "!=",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "..",
    "=",
    ":",
    ".",
    ",",
    "and",
    "or",
    "not",
    "else",
}
_BEGINS_WITH_OPERATOR = re.compile(r"\s*(?:(?:else|and|or)\b|[<>=!]=|[<>+*/])")

_SURE_ITEM = re.compile(
    r"\s*(?:in|out|keep|param|vary|require|input)[ \t]+[A-Za-z_]|\s*(?:run|env|runner)[ \t]*="
)


@dataclass(slots=True)
class Piece:
    """A line of a block, or several that are one. `damaged`: something in it was reported already."""

    start: int
    end: int
    tokens: list[Tok]
    damaged: bool = False


@dataclass(slots=True)
class Chunk:
    """A declaration. `body` is where its block begins (behind the `{`) and where it ends (before the `}`)."""

    start: int
    end: int = 0
    tokens: list[Tok] = field(
        default_factory=list
    )  # those of the header, or of the whole where there is no block
    body: tuple[int, int] | None = None
    opener: Tok | None = None
    closer: Tok | None = None
    pieces: list[Piece] = field(default_factory=list)
    damaged: bool = False


@dataclass(slots=True)
class _Open:
    tok: Tok
    indent: int


class Cutter:
    """Cuts one text. `chunks` and `problems` are what `run` leaves behind."""

    def __init__(self, source: Source, scanned: Scan) -> None:
        self.name = source.name
        self.text = scanned.text
        self.tokens = scanned.tokens
        self.chunks: list[Chunk] = []
        self.problems: list[Diagnostic] = []
        self.complete = True
        self._strays = 0
        self.too_deep: Tok | None = None  # where the cutting was given up
        self.balanced = _balanced(scanned.tokens)
        self._stack: list[_Open] = []
        self._chunk: Chunk | None = None
        self._piece: Piece | None = None
        self._line_start = 0

    def run(self) -> None:
        """Cuts the whole text."""
        last: Tok | None = None
        for n, tok in enumerate(self.tokens):
            if tok.kind == "newline":
                # Only the last break before the next token matters: behind it is a line with a token.
                if last is not None and (n + 1 == len(self.tokens) or self.tokens[n + 1].kind != "newline"):
                    self._newline(tok, last)
                self._line_start = tok.end
                continue
            if len(self.problems) + self._strays > MANY:
                self.complete = False
                return
            if tok.kind == "lost":
                self._lose(tok)
            elif tok.kind in _OPENS:
                self._add(tok)
                self._open(tok)
                if len(self._stack) > MAX_DEPTH:
                    self.too_deep = tok
                    return
            elif tok.kind in _CLOSES:
                self._close(tok)
            else:
                self._add(tok)
            last = tok
        if self._stack:
            self._unclosed(self._stack[-1], None)
        self._end_chunk(len(self.text))

    # -- tokens go to the piece or the header that is being read --

    def _add(self, tok: Tok) -> None:
        if self._chunk is None:
            self._chunk = Chunk(tok.start)
        chunk = self._chunk
        if chunk.body is None or chunk.closer is not None:
            chunk.tokens.append(tok)
            chunk.damaged |= tok.kind == "bad"
            return
        if self._piece is None:
            self._piece = Piece(tok.start, tok.end, [])
            chunk.pieces.append(self._piece)
        self._piece.tokens.append(tok)
        self._piece.end = tok.end
        self._piece.damaged |= tok.kind == "bad"

    def _open(self, tok: Tok) -> None:
        chunk = self._chunk
        assert chunk is not None
        if tok.kind == "{" and not self._stack and chunk.body is None:
            chunk.body, chunk.opener = (tok.end, tok.end), tok
        self._stack.append(_Open(tok, self._indent(self._line_start)))

    def _close(self, tok: Tok) -> None:
        wanted = _CLOSES[tok.kind]
        if not any(o.tok.kind == wanted for o in self._stack):
            self._strays += 1
            if self._stack:
                self._stray_inside(tok)
                return
            self._end_chunk(tok.start)
            self.chunks.append(Chunk(tok.start, tok.end, [tok], damaged=True))
            return
        while self._stack[-1].tok.kind != wanted or self._belongs_further_out(tok):
            self._unclosed(self._stack.pop(), tok)
        self._stack.pop()
        chunk = self._chunk
        assert chunk is not None
        if chunk.body and not self._stack and chunk.closer is None and tok.kind == "}":
            chunk.body = (chunk.body[0], tok.start)
            chunk.closer = tok
            self._piece = None
            chunk.tokens.append(tok)
        else:
            self._add(tok)

    def _stray_inside(self, tok: Tok) -> None:
        """A bracket in a block that nothing in the block opened."""
        around = self._stack[-1].tok
        self.problems.append(
            Diagnostic.of(
                checks.STRAY_BRACKET,
                f"this `{tok.kind}` closes nothing",
                Span(self.name, tok.start, tok.end),
                label="nothing is open for it",
                related=(Label(Span(self.name, around.start, around.end), f"this `{around.kind}` is open"),),
                help=f"remove it, or put the `{_CLOSES[tok.kind]}` where it belongs",
            )
        )
        self._add(tok._replace(kind="bad"))

    def _belongs_further_out(self, tok: Tok) -> bool:
        """A `}` first on its line that stands left of the innermost block, right below an outer one."""
        if self.balanced or tok.kind != "}" or self.text[self._line_start : tok.start].strip():
            return False
        indent = tok.start - self._line_start
        outer = [o.indent for o in self._stack[:-1] if o.tok.kind == "{"]
        return indent < self._stack[-1].indent and indent in outer

    def _lose(self, tok: Tok) -> None:
        """Text without end: whatever is open here was not left open by whoever wrote it."""
        self._add(tok)
        if self._piece is not None:
            self._piece.damaged = True
        elif self._chunk is not None:
            self._chunk.damaged = True
        self._stack.clear()
        self._end_chunk(tok.end)

    # -- ends --

    def _newline(self, tok: Tok, last: Tok) -> None:
        following = self.text[tok.end : tok.end + 200]
        if self._stack and not self.balanced:
            self._guess(tok, following, last)
        operator = self.text[last.start : last.end] in _GOES_ON
        if (operator and not ITEM.match(following)) or _BEGINS_WITH_OPERATOR.match(following):
            return
        if not self._stack:
            self._end_chunk(last.end)
        elif len(self._stack) == 1 and self._chunk and self._chunk.body and self._chunk.closer is None:
            self._piece = None

    def _guess(self, tok: Tok, following: str, last: Tok) -> None:
        """Whether the layout says that a bracket was forgotten before this line break."""
        if DECLARATION.match(following):
            self._unclosed(self._stack[-1], Tok("word", *self._line_at(tok.end)))
            self._stack.clear()
            self._end_chunk(last.end)
            return
        item = ITEM.match(following)
        while item and len(self._stack) > 1:
            top = self._stack[-1]
            if top.tok.kind == "{":
                forgotten = self._indent_of(following) <= top.indent
            else:
                more = last.kind in ("(", "[") or self.text[last.start : last.end] == ","
                forgotten = not more or _SURE_ITEM.match(following) is not None
            if not forgotten:
                break
            self._unclosed(self._stack.pop(), Tok("word", *self._line_at(tok.end)))

    def _end_chunk(self, at: int) -> None:
        if self._chunk is not None:
            self._chunk.end = at
            if self._chunk.body and self._chunk.closer is None:
                self._chunk.body = (self._chunk.body[0], at)
            self.chunks.append(self._chunk)
        self._chunk = self._piece = None

    def _unclosed(self, opened: _Open, at: Tok | None) -> None:
        bracket = opened.tok.kind
        related: tuple[Label, ...] = ()
        if at is not None:
            text = f"`{at.kind}` comes first" if at.kind in _CLOSES else "this begins something new"
            related = (Label(Span(self.name, at.start, at.end), text),)
        self.problems.append(
            Diagnostic.of(
                checks.OPEN_BRACKET,
                f"the `{bracket}` that opens here is never closed",
                Span(self.name, opened.tok.start, opened.tok.end),
                label="opened here",
                related=related,
                help=f"close it with `{_OPENS[bracket]}`" + (" before that" if at else ""),
            )
        )
        chunk = self._chunk
        if chunk is not None and chunk.opener is not opened.tok:
            if self._piece is not None:
                self._piece.damaged = True
            else:
                chunk.damaged = True

    def _line_at(self, at: int) -> tuple[int, int]:
        """The first line with something on it from `at` on."""
        while at < len(self.text) and self.text[at].isspace():
            at += 1
        end = self.text.find("\n", at)
        end = end if end >= 0 else len(self.text)
        return at, min(end, at + 40)

    def _indent(self, line_start: int) -> int:
        return self._indent_of(self.text[line_start : line_start + 200])

    @staticmethod
    def _indent_of(line: str) -> int:
        return len(line) - len(line.lstrip(" \t"))


def _balanced(tokens: list[Tok]) -> bool:
    stack: list[str] = []
    for tok in tokens:
        if tok.kind == "lost":
            stack.clear()
        elif tok.kind in _OPENS:
            stack.append(tok.kind)
        elif tok.kind in _CLOSES and (not stack or stack.pop() != _CLOSES[tok.kind]):
            return False
    return not stack
