"""What to do with a text that does not parse: read the declarations and lines that can be read, and say of
each of the others what is wrong with it.

The text is cut up by `structure`; every declaration is parsed by itself, and one that fails is parsed line
by line. A line that fails is left out and its declaration is parsed again without it. Each character is
parsed at most three times, and each broken line gives one message.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from lark.exceptions import UnexpectedInput

from mlflowc.diagnostic import Diagnostic, Label
from mlflowc.span import Source, Span
from mlflowc.syntax import checks, hints, places
from mlflowc.syntax.expected import Stop, stop
from mlflowc.syntax.lexer import TooDeepError
from mlflowc.syntax.scan import MANY, scan
from mlflowc.syntax.structure import Chunk, Cutter

# Above this size only the first error of a text is looked for.
LARGE = 2_000_000
# So many messages are shown.
SHOWN = 20


class Attempt(NamedTuple):
    """What parsing a part of the text gave: its declarations and the builder's findings."""

    decls: tuple[Any, ...]
    problems: list[Diagnostic]
    comments: tuple[tuple[int, str], ...] = ()


class Parts(Protocol):
    """What recovery needs of the parser."""

    def parse(self, text: str, offset: int) -> Attempt:
        """Parses a text that stands at `offset` of the source; raises what lark and the lexer raise."""

    def accepts(self, text: str) -> frozenset[str]:
        """The terminals that can follow `text`, the beginning of something that parses so far."""


def recover(source: Source, parts: Parts) -> Attempt:
    """All declarations of a broken text that can be read, and what is wrong with the others, in order."""
    scanned = scan(source)
    if not scanned.complete:
        return Attempt((), _capped(scanned.problems, source, more="at least "))
    cutter = Cutter(source, scanned)
    cutter.run()
    work = _Recovery(source, cutter, parts)
    work.problems.extend(scanned.problems + cutter.problems)
    if cutter.too_deep is not None:
        work.problems.append(hints.too_deep(Span(source.name, cutter.too_deep.start, cutter.too_deep.end)))
    work.run()
    problems = _capped(work.problems, source, more="at least " if work.stopped else "")
    return Attempt(tuple(work.decls), problems, tuple(scanned.comments))


class _Recovery:
    def __init__(self, source: Source, cutter: Cutter, parts: Parts) -> None:
        self.source = source
        self.text = cutter.text
        self.chunks = cutter.chunks
        self.parts = parts
        self.closed: Chunk | None = None  # the last block that was closed
        self.decls: list[Any] = []
        self.problems: list[Diagnostic] = []
        self.stopped = not cutter.complete
        self.headless = False  # the lines of a block whose header failed follow; they are not to blame

    def run(self) -> None:
        n = 0
        while n < len(self.chunks):
            if len(self.problems) >= MANY:
                self.stopped = True
                return
            orphans = self._orphans(n)
            if orphans:
                n += orphans
                self.headless = False
                continue
            self._chunk(self.chunks[n])
            self.closed = self.chunks[n] if self.chunks[n].closer else self.closed
            n += 1

    # -- what stands outside of any block --

    def _orphans(self, n: int) -> int:
        """Lines of a block outside of one, and a stray `}` behind them: how many chunks these are."""
        end = n
        while end < len(self.chunks) and self._is_orphan(self.chunks[end]):
            end += 1
        stray = end < len(self.chunks) and self._stray(self.chunks[end])
        if end == n and not stray:
            return 0
        if self.headless:
            return end - n + stray
        before = self.closed
        first = self.chunks[n]
        if not stray:
            self.problems.append(hints.orphan(self.source, self.text, first, before))
            return end - n
        tok = self.chunks[end].tokens[0]
        self.problems.append(hints.stray(self.source, self.text, tok, before, first if end > n else None))
        return end - n + 1

    def _is_orphan(self, chunk: Chunk) -> bool:
        indented = chunk.start > 0 and self.text[chunk.start - 1] in " \t"
        word = places.first_word(self.text, chunk.tokens)
        if word in places.DECLARATIONS and not indented:
            return False
        return word in places.ANY_ITEM or (indented and places.looks_like_setting(self.text, chunk.tokens))

    @staticmethod
    def _stray(chunk: Chunk) -> bool:
        return len(chunk.tokens) == 1 and chunk.tokens[0].kind in ")]}"

    # -- declarations --

    def _chunk(self, chunk: Chunk) -> None:
        self.headless = chunk.body is None
        if chunk.damaged and chunk.body is None:
            return
        if chunk.closer is not None or chunk.body is None:
            attempt, error = self._parse(self.text[chunk.start : chunk.end], chunk.start, chunk.end)
            if error is None and not chunk.damaged and not any(p.damaged for p in chunk.pieces):
                self._keep(attempt)
                self.headless = False
                return
        elif not chunk.pieces and chunk.damaged:
            return
        else:
            error = None
        place = places.place(self.text, chunk)
        if place.block is None:
            if error is not None and not chunk.damaged and not any(p.damaged for p in chunk.pieces):
                tokens = chunk.tokens + [t for p in chunk.pieces for t in p.tokens]
                self._note(hints.declaration(self.source, self.text, place, tokens, error))
            return
        self._block(chunk, place)

    def _block(self, chunk: Chunk, place: places.Place) -> None:
        assert chunk.body is not None
        header = self.text[chunk.start : chunk.body[0]]
        attempt, error = self._parse(header + "}", chunk.start, chunk.body[0])
        header_is_good = error is None and not chunk.damaged
        if error is not None and not chunk.damaged:
            found = hints.declaration(self.source, self.text, place, chunk.tokens, error)
            header_is_good = False
            self._note(found)
        kept = [header]
        at = chunk.body[0]
        for piece in chunk.pieces:
            part = self.text[piece.start : piece.end]
            good = not piece.damaged
            if good:
                opening = place.opening
                attempt, error = self._parse(opening + part + "\n}", piece.start - len(opening), piece.end)
                self.problems.extend(attempt.problems)
                if error is not None:
                    good = False
                    self._note(hints.item(self.source, self.text, place, piece, error))
            kept += [_blank(self.text[at : piece.start]), part if good else " " * len(part)]
            at = piece.end
            if len(self.problems) >= MANY:
                self.stopped = True
                break
        if header_is_good:
            kept.append(_blank(self.text[at : chunk.body[1]]))
            attempt, error = self._parse("".join(kept) + "}", chunk.start, chunk.body[1])
            if error is None:
                self._keep(attempt)
        if chunk.closer is not None and chunk.tokens[-1] is not chunk.closer and header_is_good:
            tail = chunk.tokens[chunk.tokens.index(chunk.closer) + 1]
            self._note(hints.behind_block(self.source, self.text, tail, chunk.end, chunk.closer))

    # -- helpers --

    def _parse(self, text: str, offset: int, end: int) -> tuple[Attempt, Stop | None]:
        """What stands at `offset`, parsed, or where that stopped; its part of the source ends at `end`."""
        try:
            return self.parts.parse(text, offset), None
        except UnexpectedInput as e:
            stopped = stop(e, offset, end, frozenset())
            return Attempt((), []), stopped._replace(
                accepts=self.parts.accepts(text[: stopped.start - offset])
            )
        except TooDeepError as e:
            start = offset + (e.token.start_pos or 0)
            self._note(hints.too_deep(Span(self.source.name, start, start + 1), operators=e.operators))
            return Attempt((), []), None

    def _keep(self, attempt: Attempt) -> None:
        end = len(self.text)
        for decl in attempt.decls:
            # The `}` that was supplied for a block without one stands behind the end of the text.
            inside = decl.span.end <= end
            self.decls.append(decl if inside else replace(decl, span=decl.span._replace(end=end)))
        self.problems.extend(attempt.problems)

    def _note(self, problem: Diagnostic) -> None:
        self.problems.append(problem)


def _blank(text: str) -> str:
    """Space of the same length: comments, and commas that may stand where a line was left out."""
    return re.sub(r"[^\n]", " ", text)


def _capped(problems: list[Diagnostic], source: Source, more: str = "") -> list[Diagnostic]:
    """In order of place, each once, and no more than a person reads."""
    unique = list({(p.code, p.span): p for p in problems}.values())
    unique.sort(key=lambda p: (p.span.start, p.span.end))
    if len(unique) <= SHOWN:
        return unique
    rest = unique[SHOWN:]
    last = Diagnostic.of(
        checks.MORE,
        f"{more}{len(rest)} more syntax errors are not shown",
        Span(source.name, rest[0].span.start, rest[0].span.end),
        label="the next one is here",
        related=(Label(unique[0].span, "the first one"),),
        help="mend the first ones and look again",
    )
    return [*unique[:SHOWN], last]
