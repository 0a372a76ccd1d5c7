"""What to say of text that parses but means nothing: found while the tree is built."""

from __future__ import annotations

from mlflowc.diagnostic import Diagnostic, Edit, Fix, Label
from mlflowc.span import Source, Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast, checks
from mlflowc.syntax.template import BadEscape

CHECKS = checks.CHECKS


def no_edition(source: Source) -> Diagnostic:
    """A file without `mlpipe 1` at its head."""
    at = Span(source.name, 0, 0)
    return Diagnostic.of(
        checks.NO_EDITION,
        "the file does not say which edition of the language it is written in",
        at,
        help="write `mlpipe 1` in its first line",
        fix=Fix("add the header", (Edit(at, "mlpipe 1\n\n"),)),
    )


def second_edition(span: Span) -> Diagnostic:
    """A second `mlpipe N`, or one that is not the first line."""
    return Diagnostic.of(checks.EDITION, "`mlpipe` stands once, in the first line", span)


def unknown_edition(value: ast.Num) -> Diagnostic:
    """An edition of the future."""
    return Diagnostic.of(
        checks.EDITION,
        f"this version of mlpipec knows edition 1 only, not {value.raw}",
        value.span,
        help="upgrade with `uv tool upgrade mlflowc`, or write `mlpipe 1`",
    )


def unknown_unit(unit: str, units: tuple[str, ...], span: Span) -> Diagnostic:
    """`10x`."""
    guess = nearest(unit, units)
    return Diagnostic.of(
        checks.UNIT,
        f"`{unit}` is not a unit",
        span,
        help=f"write `{guess}`?"
        if guess
        else "durations: ms s m h d; sizes: B KB MB GB TB KiB MiB GiB TiB; `%`",
        fix=Fix(f"write `{guess}`", (Edit(span, guess),)) if guess else None,
    )


def bad_escape(escape: BadEscape) -> Diagnostic:
    """`\\d` in a string."""
    return Diagnostic.of(
        checks.ESCAPE,
        f"`{escape.text}` is not an escape",
        escape.span,
        help=f"write `\\{escape.text}` for a backslash",
        fix=Fix("double the backslash", (Edit(escape.span, "\\" + escape.text),)),
    )


def bare_name(name: ast.Dotted, colon: Span | None, before: object = None) -> Diagnostic:
    """A name alone on its line in a stage, or `env: py`, which has a colon where `=` belongs. `before` is the
    item that it follows behind a comma.
    """
    if colon is None and isinstance(before, ast.InItem) and before.value is not None:
        return Diagnostic.of(
            checks.BARE_NAME,
            f"`{name.text}` stands alone, behind an input that has its value already",
            name.span,
            related=(Label(before.span, "this input"),),
            help=f"several files of one input are a list: `in {before.name.text} = […, {name.text}]`; "
            f"an input of its own is `in {name.text}`",
        )
    if colon is not None:
        return Diagnostic.of(
            checks.COLON_EQUALS,
            f"after `{name.text}:` a type is wanted, and only `in`, `out` and `param` have one; "
            "a value comes after `=`",
            colon,
            help=f"write `{name.text} = …`",
            fix=Fix("write `=`", (Edit(colon, " ="),)),
        )
    return Diagnostic.of(
        checks.BARE_NAME,
        f"`{name.text}` stands alone: it is neither a declaration nor a setting",
        name.span,
        help=f"write `in {name.text}`, `param {name.text}` or `{name.text} = …`",
    )


def constraint_on_type(constraint: ast.ConstraintNode) -> Diagnostic:
    """`type Age = int in 0..120`."""
    return Diagnostic.of(
        checks.SYNTAX,
        "a named type has no constraint of its own",
        constraint.span,
        help="constraints belong to columns and parameters",
    )
