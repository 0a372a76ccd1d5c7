"""What to say of a declaration or a line that does not parse: the slips that people make, and where none of
them fits, what was wanted where the parser stopped."""

from __future__ import annotations

import re

from lark.exceptions import UnexpectedInput

from mlflowc.diagnostic import Diagnostic, Edit, Fix, Label
from mlflowc.span import Source, Span
from mlflowc.spell import nearest
from mlflowc.syntax import checks, expected
from mlflowc.syntax.expected import Stop
from mlflowc.syntax.lexer import MAX_DEPTH, MAX_OPERATORS
from mlflowc.syntax.places import (
    BLOCKS,
    DECLARATIONS,
    LINES,
    OTHER_DECLARATIONS,
    OTHER_ITEMS,
    SAME,
    USUAL,
    Place,
    first_word,
    meant,
    place,
)
from mlflowc.syntax.scan import Tok
from mlflowc.syntax.slips import SLIPS, Line
from mlflowc.syntax.structure import Chunk, Piece

# --- outside of blocks -------------------------------------------------------------------------------


def too_deep(span: Span, *, operators: bool = False) -> Diagnostic:
    """Brackets nested deeper than the parser goes, or more operators in one expression than it takes."""
    many = f"an expression has more than {MAX_OPERATORS} operators"
    return Diagnostic.of(
        checks.TOO_DEEP,
        many if operators else f"brackets are nested deeper than {MAX_DEPTH}",
        span,
        label="this one goes too deep",
        help="no pipeline needs this; was the file made by a program?",
    )


def orphan(source: Source, text: str, chunk: Chunk, before: Chunk | None) -> Diagnostic:
    """A line of a block that stands in no block."""
    word = first_word(text, chunk.tokens)
    return Diagnostic.of(
        checks.KEYWORD,
        f"`{word}` stands in no block",
        Span(source.name, chunk.start, chunk.tokens[0].end),
        related=_block_end(source, text, before),
        help="put it between the `{` and `}` of a stage, a gate, an event",
    )


def stray(source: Source, text: str, tok: Tok, before: Chunk | None, first: Chunk | None) -> Diagnostic:
    """A bracket that closes nothing; `first`: the first line that stands in no block because of it."""
    span = Span(source.name, tok.start, tok.end)
    related = _block_end(source, text, before)
    if first is not None:
        where = Span(source.name, first.tokens[0].start, first.tokens[-1].end)
        related += (Label(where, "so this stands in no block"),)
    fix = None if related else Fix("remove it", (Edit(span, ""),))
    return Diagnostic.of(
        checks.STRAY_BRACKET,
        f"this `{tok.kind}` closes nothing",
        span,
        label="nothing is open here",
        related=related,
        help="was that one meant?" if related else "remove it",
        fix=fix,
    )


def _block_end(source: Source, text: str, before: Chunk | None) -> tuple[Label, ...]:
    if before is None or before.closer is None:
        return ()
    return (
        Label(Span(source.name, before.closer.start, before.closer.end), f"{place(text, before)} ends here"),
    )


def behind_block(source: Source, text: str, tail: Tok, end: int, closer: Tok) -> Diagnostic:
    """Something on the line behind the `}` of a block."""
    return Diagnostic.of(
        checks.SYNTAX,
        f"behind the `}}` of a block a new line is wanted, `{text[tail.start : tail.end]}` found",
        Span(source.name, tail.start, end),
        related=(Label(Span(source.name, closer.start, closer.end), "the block ends here"),),
        help="begin a new line",
    )


def first_of_large(source: Source, error: UnexpectedInput) -> Diagnostic:
    """The first error of a text too large to look for more."""
    stop = expected.stop(error, 0, len(source.text), frozenset())
    span = Span(source.name, stop.start, stop.end)
    shown = repr(stop.text[:30])[1:-1]
    return Diagnostic.of(
        checks.SYNTAX,
        f"`{shown}` cannot stand here" if shown else "the file ends too early",
        span,
        help=f"the file has {len(source.text):,} characters: only its first error was looked for",
    )


# --- declarations and lines ------------------------------------------------------------------------------


def declaration(source: Source, text: str, where: Place, tokens: list[Tok], stop: Stop) -> Diagnostic:
    """Why a declaration, or the header of a block, does not parse."""
    line = _line(source, text, where, tokens, stop)
    return (
        _yaml(line)
        or _unknown_declaration(line)
        or _not_a_name(line)
        or _common(line)
        or _generic(line, "" if where.name == line.t(1) else f"in {where}: ")
    )


def item(source: Source, text: str, where: Place, piece: Piece, stop: Stop) -> Diagnostic:
    """Why a line of a block does not parse."""
    line = _line(source, text, where, piece.tokens, stop)
    return (
        _yaml(line)
        or _unknown_item(line)
        or _not_a_name(line)
        or _common(line)
        or _generic(line, f"in {where}: ")
    )


def _line(source: Source, text: str, where: Place, tokens: list[Tok], stop: Stop) -> Line:
    at = next((n for n, t in enumerate(tokens) if t.end > stop.start), len(tokens))
    return Line(source, text, where, tokens, stop, len(tokens) if stop.at_end else at)


def _yaml(line: Line) -> Diagnostic | None:
    if line.t(0) == "-" and line.at == 0:
        help = "a list stands between brackets: `run = [a, b]`; each input and output has a line of its own"
        return Diagnostic.of(checks.YAML, "`- item` is YAML; it is no list here", line.span(0), help=help)
    last = len(line.tokens) - 1
    if line.at == last and line.t(last) == ":" and line.place.keyword in (*BLOCKS, "") and last > 0:
        span = line.span(last)
        return Diagnostic.of(
            checks.YAML,
            f"a block stands between `{{` and `}}`; after `{line.before()}` there is a `:`",
            span,
            help="write ` {`, and `}` behind its last line",
        )
    return None


def _unknown_declaration(line: Line) -> Diagnostic | None:
    word = first_word(line.text, line.tokens)
    if word in DECLARATIONS:
        return None
    if not word:
        return (
            None
            if line.at
            else Diagnostic.of(
                checks.KEYWORD,
                f"a declaration begins with a keyword, not with `{line.stop.text}`",
                Span(line.source.name, line.stop.start, line.stop.end),
                help="such as `stage`, `data`, `params`, `gate`, `report`, `on`",
            )
        )
    guess = meant(word, DECLARATIONS, OTHER_DECLARATIONS)
    if guess:
        return _misspelt(line, guess, f"`{word}` does not begin a declaration")
    if word in ("for", "if", "def", "while"):
        help = "there are no loops or conditions; `stage NAME each x in [a, b]` makes one stage a value"
    elif line.t(1) == "=":
        help = f"a setting stands in a block, as in `stage train {{ {word} = … }}`"
    else:
        help = f"a file is made of {', '.join(f'`{k}`' for k in USUAL)}"
    return Diagnostic.of(checks.KEYWORD, f"`{word}` does not begin a declaration", line.span(0), help=help)


def _misspelt(line: Line, guess: str, message: str) -> Diagnostic:
    span, word = line.span(0), line.t(0)
    slip = nearest(word.lower(), (guess, *(k for k, v in SAME.items() if v == guess))) is not None
    fix = Fix(f"write `{guess}`", (Edit(span, guess),)) if slip else None
    return Diagnostic.of(checks.KEYWORD, message, span, help=f"did you mean `{guess}`?", fix=fix)


def _unknown_item(line: Line) -> Diagnostic | None:
    word, items = first_word(line.text, line.tokens), line.place.block or ()
    second = line.kind(1)
    if not word or word in items:
        if word in items and line.t(1) == "=" and line.at == 1:
            return Diagnostic.of(
                checks.KEYWORD,
                f"`{word}` begins a line of {line.place}, so no setting is called so",
                line.span(0),
                help=f"write `{word} NAME …`",
            )
        return None
    if second in ("word", "string", "number", "[") or (
        items == ("require",) and line.t(1) in (".", "<", ">", ">=")
    ):
        others = {k: v for k, v in OTHER_ITEMS.items() if v in items}
        guess = meant(word, items, others)
        if guess:
            return _misspelt(line, guess, f"`{word}` does not begin a line of {line.place}")
        other = next((k for k, (i, _) in BLOCKS.items() if word in i and word not in LINES), None)
        if other and second != "[" and items[:1] != (word,):
            home = {"in": "a stage", "out": "a stage", "keep": "a stage"}.get(word, f"`{other}`")
            return Diagnostic.of(
                checks.KEYWORD,
                f"`{word}` belongs in {home}, not in {line.place}",
                line.span(0),
                help="move it there",
            )
        if line.at == 1:
            at = Span(line.source.name, line.tokens[0].end, line.tokens[0].end)
            return Diagnostic.of(
                checks.COLON_EQUALS,
                f"in {line.place}: between `{word}` and its value a `=` is wanted",
                line.span(1),
                help="a setting is `key = value`",
                fix=Fix("insert `=`", (Edit(at, " ="),)),
            )
    return None


def _not_a_name(line: Line) -> Diagnostic | None:
    n, accepts = line.at, line.stop.accepts
    if n >= len(line.tokens):
        return None
    if line.kind(n) == "string" and "NAME" in accepts and "STRING" not in accepts:
        bare = line.t(n).strip('"')
        if line.t(n - 1) == ":":
            return None  # a path where a type belongs
        fix = (
            Fix("remove the quotes", (Edit(line.span(n), bare),))
            if re.fullmatch(r"[A-Za-z_]\w*", bare)
            else None
        )
        return Diagnostic.of(
            checks.NOT_A_NAME,
            f"after `{line.before()}` a name is wanted; names stand without quotes",
            line.span(n),
            help=f"write `{bare}`" if fix else "a name is of letters, digits and `_`",
            fix=fix,
        )
    parts = [n - 1]
    while line.t(n) == "-" and n + 1 < len(line.tokens) and line.kind(n + 1) in ("word", "number"):
        if line.tokens[n - 1].end != line.tokens[n].start or line.tokens[n].end != line.tokens[n + 1].start:
            break
        parts.append(n + 1)
        n += 2
    if len(parts) > 1 and "MINUS" not in accepts and line.kind(parts[0]) == "word":
        span = line.span(parts[0], parts[-1])
        new = "_".join(line.t(p) for p in parts)
        return Diagnostic.of(
            checks.NOT_A_NAME,
            f"`{line.text[span.start : span.end]}` is not a name: `-` is minus",
            span,
            help=f"write `{new}`",
            fix=Fix(f"write `{new}`", (Edit(span, new),)),
        )
    return None


def _common(line: Line) -> Diagnostic | None:
    return (
        _equals(line)
        or _colon(line)
        or next((found for slip in SLIPS if (found := slip(line)) is not None), None)
        or _comma(line)
        or _quotes(line)
    )


def _equals(line: Line) -> Diagnostic | None:
    if line.at >= len(line.tokens):
        return None
    # The parser reads `==` as two `=` where no comparison can stand; the scanner does not.
    found, accepts, span = line.t(line.at), line.stop.accepts, line.span(line.at)
    if found == "=" and "COMPARE" in accepts:
        if line.at > 0 and line.t(line.at - 1) in ("<", ">", "="):
            return None
        after = line.t(line.at + 1) if line.at + 1 < len(line.tokens) else ""
        if after in ("<", ">"):
            whole = span.to(line.span(line.at + 1))
            return Diagnostic.of(
                checks.COLON_EQUALS,
                f"`={after}` compares nothing: `=` comes last",
                whole,
                help=f"write `{after}=`",
                fix=Fix(f"write `{after}=`", (Edit(whole, f"{after}="),)),
            )
        return Diagnostic.of(
            checks.COLON_EQUALS,
            "`=` sets a value; two values are compared with `==`",
            span,
            help="write `==`",
            fix=Fix("write `==`", (Edit(span, "=="),)),
        )
    if found == "==" and "COMPARE" not in accepts:
        return Diagnostic.of(
            checks.COLON_EQUALS,
            "`==` compares two values; a value is set with `=`",
            span,
            help="write `=`",
            fix=Fix("write `=`", (Edit(span, "="),)),
        )
    return None


def _colon(line: Line) -> Diagnostic | None:
    """`key: value` for `key = value`, `out model: "path"` for `out model = "path"`."""
    at = (
        line.at
        if line.stop.text == ":"
        else line.at - 1
        if line.kind(line.at) in ("string", "number", "[")
        else -1
    )
    if at < 1 or line.t(at) != ":" or at + 1 >= len(line.tokens):
        return None
    if at == line.at and "EQUAL" not in line.stop.accepts:
        return None
    key, span = line.text[line.tokens[0].start : line.tokens[at].start].strip(), line.span(at)
    edit = Edit(span, " =" if line.text[span.start - 1] not in " \t" else "=")
    message = f"in {line.place}: after `{key}:` a type is wanted; a value comes after `=`"
    return Diagnostic.of(
        checks.COLON_EQUALS, message, span, help=f"write `{key} = …`", fix=Fix("write `=`", (edit,))
    )


def _comma(line: Line) -> Diagnostic | None:
    n = line.at
    if n == 0 or line.kind(n) not in ("word", "string", "number", "[", "("):
        return None
    between = "COMMA" in line.stop.accepts
    opens = line.t(n) in ("with", "vars") and line.t(n + 1) == "{"
    begins = (
        opens
        or line.t(n + 1) in ("=", ":")
        or (line.t(n) in (line.place.block or ()) and line.kind(n + 1) in ("word", "string"))
    )
    items = "_SEP" in line.stop.accepts and line.kind(n) == "word" and begins
    if not between and not items:
        return None
    previous = line.tokens[n - 1]
    at = Span(line.source.name, previous.end, previous.end)
    return Diagnostic.of(
        checks.COMMA,
        f"in {line.place}: between `{line.t(n - 1)}` and `{line.t(n)}` a `,`"
        f"{' or a new line' if items else ''} is wanted",
        line.span(n),
        help="write `,` between them",
        fix=Fix("insert `,`", (Edit(at, ","),)),
    )


def _quotes(line: Line) -> Diagnostic | None:
    """`run = python train.py`: the value is text, and everything up to the end of the line belongs to it."""
    equals = next((n for n in range(min(line.at, len(line.tokens))) if line.t(n) == "="), None)
    if (
        equals is None
        or line.at >= len(line.tokens)
        or (line.stop.text in ("=", "{", "}", ":") and line.at == equals + 1)
    ):
        return None
    first = line.tokens[equals + 1]
    eol = line.text.find("\n", first.start)
    value = [t for t in line.tokens[equals + 1 :] if eol < 0 or t.start < eol]
    plain = first.kind == "word" or line.text[first.start : first.end] in ("/", ".", "-", "{", "..")
    if not plain or any(
        t.kind in ("string", "[", "]", "(", ")") or line.text[t.start : t.end] == "," for t in value
    ):
        return None
    span = Span(line.source.name, first.start, value[-1].end)
    body = line.text[span.start : span.end]
    if "else" in body.split() or "==" in body:
        return None
    return Diagnostic.of(
        checks.QUOTES,
        f"in {line.place}: text stands between quotes",
        span,
        help=f'write `"{body}"`',
        fix=Fix("put quotes around it", (Edit(span, f'"{body}"'),)),
    )


def _generic(line: Line, where: str) -> Diagnostic:
    before, stop = line.before(), line.stop
    wanted = expected.wanted(stop.accepts, before)
    span = Span(line.source.name, stop.start, stop.end)
    if stop.at_end and line.tokens:
        end = line.tokens[-1].end
        span = Span(line.source.name, end, end)
    shown = re.sub(r"\s+", " ", stop.text)
    shown = shown if len(shown) <= 30 else shown[:29] + "…"
    found = "but the line ends" if stop.at_end else f"`{shown}` found"
    after = f"after `{before}` " if before else ""
    return Diagnostic.of(
        checks.SYNTAX, f"{where}{after}{wanted} is wanted, {found}", span, label=f"{wanted} is wanted here"
    )
