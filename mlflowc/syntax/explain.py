"""What to say of text that does not parse."""

from __future__ import annotations

from lark import Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity
from mlflowc.span import Source, Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast
from mlflowc.syntax.lexer import MAX_DEPTH
from mlflowc.syntax.template import BadEscape

SYNTAX = Check("MLP101", Severity.ERROR, "the text does not parse", "")
CHARACTER = Check("MLP102", Severity.ERROR, "a character that no token begins with", "")
TOO_DEEP = Check("MLP103", Severity.ERROR, "brackets are nested too deep", "")
NO_EDITION = Check("MLP104", Severity.ERROR, "the edition header is missing", "")
EDITION = Check("MLP105", Severity.ERROR, "an edition that this version does not know", "")
UNIT = Check("MLP106", Severity.ERROR, "an unknown unit behind a number", "")
ESCAPE = Check("MLP107", Severity.ERROR, "an escape that means nothing", "")
BARE_NAME = Check("MLP108", Severity.ERROR, "a name that belongs to nothing", "")

CHECKS = (SYNTAX, CHARACTER, TOO_DEEP, NO_EDITION, EDITION, UNIT, ESCAPE, BARE_NAME)


def unexpected(source: Source, error: UnexpectedInput) -> Diagnostic:
    """The diagnostic of a token or a character that cannot stand where it stands."""
    if isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        return Diagnostic.of(CHARACTER, f"`{source.text[at]}` cannot stand here", Span(source.name, at, at + 1))
    assert isinstance(error, UnexpectedToken)
    token = error.token
    if token.type == "$END":
        end = len(source.text)
        return Diagnostic.of(SYNTAX, "the file ends too early", Span(source.name, end, end))
    return Diagnostic.of(SYNTAX, f"`{token}` cannot stand here", _span(source, token))


def too_deep(source: Source, token: Token) -> Diagnostic:
    """Brackets nested deeper than the parser goes."""
    return Diagnostic.of(TOO_DEEP, f"brackets are nested deeper than {MAX_DEPTH}", _span(source, token))


def no_edition(source: Source) -> Diagnostic:
    """A file without `mlpipe 1` at its head."""
    at = Span(source.name, 0, 0)
    return Diagnostic.of(
        NO_EDITION,
        "the file does not say which edition of the language it is written in",
        at,
        help="write `mlpipe 1` in its first line",
        fix=Fix("add the header", (Edit(at, "mlpipe 1\n\n"),)),
    )


def second_edition(span: Span) -> Diagnostic:
    """A second `mlpipe N`, or one that is not the first line."""
    return Diagnostic.of(EDITION, "`mlpipe` stands once, in the first line", span)


def unknown_edition(value: ast.Num) -> Diagnostic:
    """An edition of the future."""
    return Diagnostic.of(
        EDITION,
        f"this version of mlpipec knows edition 1 only, not {value.raw}",
        value.span,
        help="upgrade with `uv tool upgrade mlflowc`, or write `mlpipe 1`",
    )


def unknown_unit(unit: str, units: tuple[str, ...], span: Span) -> Diagnostic:
    """`10x`."""
    guess = nearest(unit, units)
    return Diagnostic.of(
        UNIT,
        f"`{unit}` is not a unit",
        span,
        help=f"write `{guess}`?" if guess else "durations: ms s m h d; sizes: B KB MB GB TB KiB MiB GiB TiB; `%`",
        fix=Fix(f"write `{guess}`", (Edit(span, guess),)) if guess else None,
    )


def bad_escape(escape: BadEscape) -> Diagnostic:
    """`\\d` in a string."""
    return Diagnostic.of(
        ESCAPE,
        f"`{escape.text}` is not an escape",
        escape.span,
        help=f"write `\\{escape.text}` for a backslash",
        fix=Fix("double the backslash", (Edit(escape.span, "\\" + escape.text),)),
    )


def bare_name(name: ast.Dotted) -> Diagnostic:
    """A name alone on its line in a stage."""
    return Diagnostic.of(
        BARE_NAME,
        f"`{name.text}` stands alone: it is neither a declaration nor a setting",
        name.span,
        help=f"write `in {name.text}`, `param {name.text}` or `{name.text} = …`",
    )


def constraint_on_type(constraint: ast.ConstraintNode) -> Diagnostic:
    """`type Age = int in 0..120`."""
    return Diagnostic.of(
        SYNTAX,
        "a named type has no constraint of its own",
        constraint.span,
        help="constraints belong to columns and parameters",
    )


def _span(source: Source, token: Token) -> Span:
    start = token.start_pos or 0
    return Span(source.name, start, token.end_pos or start + len(token))
