"""Text to AST: lark's LALR parser with a builder that makes the tree's nodes while it parses.

`parse` never raises for what stands in the text: it gives the file as far as it could be read, and the
diagnostics. What to say of a syntax error is `mlflowc.syntax.explain`'s part.
"""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from lark import Lark, Token
from lark.exceptions import UnexpectedInput
from lark.lexer import PatternRE, PatternStr, TerminalDef

from mlflowc import resources
from mlflowc.diagnostic import Diagnostic
from mlflowc.span import Source, Span
from mlflowc.syntax import ast, drive, explain, hints, recover, table
from mlflowc.syntax.lexer import Separators, TooDeepError
from mlflowc.syntax.template import bad_escapes, cook
from mlflowc.syntax.units import UNITS

UNIT_NAMES = tuple(u for u in UNITS if u)


# Tokens and nodes: what a rule is made of. (`list` is the name of a rule below.)
_Children: TypeAlias = list[Any]


class Parsed(NamedTuple):
    """A file and what was wrong with it; with errors, `file` holds the declarations that could be read."""

    file: ast.File
    diagnostics: tuple[Diagnostic, ...]


def parse(source: Source) -> Parsed:
    """Parses a whole source file."""
    text = source.text
    problems: list[Diagnostic] = []
    decls: tuple[Any, ...] = ()
    comments: tuple[tuple[int, str], ...] = ()
    try:
        attempt = _parse_part(source.name, " " + text[1:] if text.startswith("\ufeff") else text, 0)
        decls, problems = attempt.decls, attempt.problems
    except TooDeepError as e:
        at = e.token.start_pos or 0
        problems.append(hints.too_deep(Span(source.name, at, at + 1), operators=e.operators))
    except UnexpectedInput as e:
        if len(text) > recover.LARGE:
            problems.append(hints.first_of_large(source, e))
        else:
            recovered = recover.recover(source, _Parts(source.name))
            decls, problems, comments = recovered.decls, recovered.problems, recovered.comments
    else:
        comments = attempt.comments
    edition, edition_span, rest = _take_edition(source, decls, problems)
    notes = tuple(_comment(source, start, note) for start, note in comments)
    return Parsed(ast.File(source.name, edition, edition_span, rest, notes), tuple(problems))


def _parse_part(name: str, text: str, offset: int) -> recover.Attempt:
    """Parses `text`, which stands at `offset` of the source `name`; raises what lark raises."""
    builder = _Builder(name, offset)
    try:
        decls, comments = _driver().parse(text, builder)
        return recover.Attempt(decls, builder.problems, tuple(comments))
    except drive.Refused:
        _lark().parse(text)
        raise AssertionError("lark parses what the driver refused") from None


class _Parts(NamedTuple):
    """What recovery needs of the parser."""

    name: str

    def parse(self, text: str, offset: int) -> recover.Attempt:
        return _parse_part(self.name, text, offset)

    def accepts(self, text: str) -> frozenset[str]:
        """The terminals that can follow `text`, the beginning of something."""
        parser = _lark().parse_interactive(text)
        # Where the next line began with an operator, the line break that the cut leaves behind separates.
        with contextlib.suppress(UnexpectedInput):
            parser.exhaust_lexer()
        return frozenset(parser.accepts())  # type: ignore[no-untyped-call]


class _Edition(NamedTuple):
    value: ast.Num
    span: Span


def _take_edition(
    source: Source, decls: tuple[Any, ...], problems: list[Diagnostic]
) -> tuple[int | None, Span, tuple[ast.Decl, ...]]:
    rest = tuple(d for d in decls if not isinstance(d, _Edition))
    if not decls or not isinstance(decls[0], _Edition):
        if not problems:
            problems.append(explain.no_edition(source))
        return None, Span(source.name, 0, 0), rest
    first = decls[0]
    problems.extend(explain.second_edition(d.span) for d in decls[1:] if isinstance(d, _Edition))
    if first.value.kind != "int" or first.value.value != 1:
        problems.append(explain.unknown_edition(first.value))
    return int(first.value.value), first.span, rest


def _comment(source: Source, start: int, text: str) -> ast.Comment:
    line_start = source.text.rfind("\n", 0, start) + 1
    own = not source.text[line_start:start].strip(" \t\r\f\ufeff")
    text = text.rstrip()
    return ast.Comment(text, Span(source.name, start, start + len(text)), own)


@cache
def _driver() -> drive.Driver:
    return drive.Driver(_lark())


@cache
def _lark() -> Lark:
    grammar = resources.grammar()

    def make() -> Lark:
        return Lark(
            grammar,
            parser="lalr",
            lexer="contextual",
            maybe_placeholders=False,
            keep_all_tokens=True,
            edit_terminals=_whole_word,
            postlex=Separators(),
        )

    return table.load(grammar, make, postlex=Separators())


def _whole_word(terminal: TerminalDef) -> None:
    # Where no name can stand, lark would take the `in` of `int` for the keyword.
    word = terminal.pattern.value
    if isinstance(terminal.pattern, PatternStr) and word.isalpha():
        terminal.pattern = PatternRE(word + r"(?![A-Za-z0-9_])")
        terminal.priority = 1


class _Builder:
    """One method a grammar rule; each takes the children (tokens and nodes) and gives a node."""

    def __init__(self, file: str, offset: int) -> None:
        self._file = file
        self._offset = offset
        self.problems: list[Diagnostic] = []

    # -- helpers --

    def _span(self, c: _Children) -> Span:
        first, last = c[0], c[-1]
        start = (first.start_pos or 0) + self._offset if isinstance(first, Token) else first.span.start
        end = (last.end_pos or 0) + self._offset if isinstance(last, Token) else last.span.end
        return Span(self._file, start, end)

    def _name(self, token: Token) -> ast.Name:
        at = self._offset
        return ast.Name(str(token), Span(self._file, (token.start_pos or 0) + at, (token.end_pos or 0) + at))

    def _str(self, token: Token) -> ast.Str:
        at = self._offset
        span = Span(self._file, (token.start_pos or 0) + at, (token.end_pos or 0) + at)
        raw = str(token)
        self.problems.extend(explain.bad_escape(b) for b in bad_escapes(raw, span))
        return ast.Str(cook(raw), raw, span)

    def _block(self, c: _Children) -> _Block:
        return _Block(tuple(x for x in c if not isinstance(x, Token)), self._span(c))

    # -- top --

    def start(self, c: _Children) -> tuple[Any, ...]:
        return tuple(x for x in c if not isinstance(x, Token))

    def edition(self, c: _Children) -> _Edition:
        return _Edition(self.number(c[1:]), self._span(c))

    def pipeline(self, c: _Children) -> ast.PipelineDecl:
        return ast.PipelineDecl(self._name(c[1]), self._span(c))

    def use(self, c: _Children) -> ast.UseDecl:
        return ast.UseDecl(self._str(c[1]), self._name(c[3]) if len(c) > 2 else None, self._span(c))

    def params(self, c: _Children) -> ast.ParamsDecl:
        return ast.ParamsDecl(self._str(c[1]), c[2].items if len(c) > 2 else (), self._span(c))

    def param_decl(self, c: _Children) -> ast.ParamDecl:
        return ast.ParamDecl(self.param_item(c), self._span(c))

    def type_decl(self, c: _Children) -> ast.TypeDecl:
        typ: ast.TypeExpr = c[3]
        extra = tuple(c[4:])
        if extra:
            self.problems.append(explain.constraint_on_type(extra[0]))
        return ast.TypeDecl(self._name(c[1]), typ, self._span(c))

    def data(self, c: _Children) -> ast.DataDecl:
        typ = c[3] if len(c) > 4 else None
        return ast.DataDecl(self._name(c[1]), typ, c[-1], self._span(c))

    def secret(self, c: _Children) -> ast.SecretDecl:
        return ast.SecretDecl(self._name(c[1]), self._span(c))

    def plain_block(self, c: _Children) -> ast.BlockDecl:
        return ast.BlockDecl(self._name(c[0]), None, (), c[1].items, self._span(c))

    def settings_block(self, c: _Children) -> ast.BlockDecl:
        return ast.BlockDecl(self._name(c[0]), self._name(c[1]), (), c[2].items, self._span(c))

    steps_block = gate = report = settings_block

    def stage(self, c: _Children) -> ast.BlockDecl:
        return ast.BlockDecl(self._name(c[0]), self._name(c[1]), tuple(c[2:-1]), c[-1].items, self._span(c))

    def instance(self, c: _Children) -> ast.InstanceDecl:
        each = tuple(x for x in c if isinstance(x, ast.EachClause))
        component = next(x for x in c if isinstance(x, ast.Dotted))
        items = c[-1].items if isinstance(c[-1], _Block) else ()
        return ast.InstanceDecl(self._name(c[1]), each, component, items, self._span(c))

    def each(self, c: _Children) -> ast.EachClause:
        return ast.EachClause(self._name(c[1]), c[3], self._span(c))

    def sweep(self, c: _Children) -> ast.SweepDecl:
        return ast.SweepDecl(self._name(c[1]), c[3], c[4].items, self._span(c))

    def on(self, c: _Children) -> ast.OnDecl:
        args = c[2].items if len(c) > 3 else ()
        return ast.OnDecl(self._name(c[1]), args, c[-1].items, self._span(c))

    # -- blocks --

    def settings(self, c: _Children) -> _Block:
        return self._block(c)

    requires = shows = varies = event = columns = settings

    def steps(self, c: _Children) -> _Block:
        """Joins `param a, b` and `in a, b`: a bare name behind a comma is one more of the item before it."""
        items: list[Any] = []
        separator = ""
        for x in c:
            if isinstance(x, Token):
                separator = str(x) if x.type == "_SEP" else separator
            elif isinstance(x, _Bare):
                before = items[-1] if items and separator == "," else None
                if isinstance(before, ast.ParamItem) and before.default is None:
                    items.append(ast.ParamItem(x.name, x.type, (), None, x.span))
                elif isinstance(before, ast.InItem) and before.value is None:
                    items.append(ast.InItem(x.name, x.type, None, x.span))
                else:
                    self.problems.append(explain.bare_name(x.name, x.colon, before))
            else:
                items.append(x)
        return _Block(tuple(items), self._span(c))

    def setting(self, c: _Children) -> ast.Setting:
        return ast.Setting(c[0], c[2], self._span(c))

    def nested(self, c: _Children) -> ast.Nested:
        name: ast.Dotted = c[0]
        return ast.Nested(ast.Name(name.text, name.span), c[1].items, self._span(c))

    def bare(self, c: _Children) -> _Bare:
        colon = Span(self._file, *(c[1].start_pos + self._offset + n for n in (0, 1))) if len(c) > 1 else None
        return _Bare(c[0], c[2] if len(c) > 1 else None, colon, self._span(c))

    def in_item(self, c: _Children) -> ast.InItem:
        typ, value = _typed(c)
        return ast.InItem(c[1], typ, value, self._span(c))

    def out_item(self, c: _Children) -> ast.OutItem:
        typ, value = _typed(c)
        assert value is not None
        return ast.OutItem(self._name(c[1]), typ, value, self._span(c))

    def keep_item(self, c: _Children) -> ast.KeepItem:
        return ast.KeepItem(self._name(c[1]), c[3], self._span(c))

    def param_item(self, c: _Children) -> ast.ParamItem:
        typ, value = _typed(c)
        return ast.ParamItem(c[1], typ, _constraints(c), value, self._span(c))

    def input(self, c: _Children) -> ast.InputItem:
        typ, value = _typed(c)
        assert typ is not None
        return ast.InputItem(c[1], typ, _constraints(c), value, self._span(c))

    def vary(self, c: _Children) -> ast.VaryItem:
        return ast.VaryItem(c[1], c[3], self._span(c))

    def require(self, c: _Children) -> ast.RequireItem:
        return ast.RequireItem(c[1], c[3] if len(c) > 2 else None, self._span(c))

    def show(self, c: _Children) -> ast.ShowItem:
        block = c[-1].items if isinstance(c[-1], _Block) else None
        at = next((n for n, x in enumerate(c) if isinstance(x, Token) and x.type == "VS"), None)
        value = c[1] if len(c) > 1 and not isinstance(c[1], Token | _Block) else None
        return ast.ShowItem(self._name(c[0]), value, c[at + 1] if at else None, block, self._span(c))

    # -- types --

    def type(self, c: _Children) -> ast.TypeExpr:
        args = next((x.items for x in c if isinstance(x, _Args)), ())
        columns = next((x.items for x in c if isinstance(x, _Block)), None)
        optional = isinstance(c[-1], Token)
        return ast.TypeExpr(c[0], args, columns, optional, self._span(c))

    def type_args(self, c: _Children) -> _Args:
        items = [
            self._str(x) if isinstance(x, Token) else x
            for x in c
            if not isinstance(x, Token) or x.type == "STRING"
        ]
        return _Args(tuple(items), self._span(c))

    def column(self, c: _Children) -> ast.ColumnNode:
        return ast.ColumnNode(c[0], c[2], tuple(c[3:]), self._span(c))

    def table_constraint(self, c: _Children) -> ast.ConstraintNode:
        return ast.ConstraintNode(self._name(c[0]), str(c[1]), c[2], self._span(c))

    def constraint(self, c: _Children) -> ast.ConstraintNode:
        name = self._name(c[0])
        if len(c) == 1:
            return ast.ConstraintNode(name, "", None, self._span(c))
        value = self._str(c[1]) if name.text == "matches" else c[-1]
        return ast.ConstraintNode(name, str(c[1]) if len(c) == 3 else "", value, self._span(c))

    # -- expressions --

    def binary(self, c: _Children) -> ast.BinaryExpr:
        return ast.BinaryExpr(str(c[1]), c[0], c[2], self._span(c))

    def unary(self, c: _Children) -> ast.UnaryExpr:
        return ast.UnaryExpr(str(c[0]), c[1], self._span(c))

    def range(self, c: _Children) -> ast.RangeExpr:
        return ast.RangeExpr(c[0], c[2], self._span(c))

    def attribute(self, c: _Children) -> ast.Attribute:
        return ast.Attribute(c[0], self._name(c[2]), self._span(c))

    def index(self, c: _Children) -> ast.Index:
        return ast.Index(c[0], None if isinstance(c[2], Token) else c[2], self._span(c))

    def call(self, c: _Children) -> ast.CallExpr:
        return ast.CallExpr(c[0], c[1].items, self._span(c))

    def args(self, c: _Children) -> _Args:
        return _Args(tuple(x for x in c if not isinstance(x, Token)), self._span(c))

    def arg(self, c: _Children) -> ast.Argument:
        return ast.Argument(self._name(c[0]) if len(c) == 3 else None, c[-1], self._span(c))

    def name(self, c: _Children) -> ast.NameExpr:
        name = self._name(c[0])
        return ast.NameExpr(name, name.span)

    def string(self, c: _Children) -> ast.Str:
        return self._str(c[0])

    def bool(self, c: _Children) -> ast.Bool:
        return ast.Bool(c[0] == "true", self._span(c))

    def list(self, c: _Children) -> ast.ListExpr:
        return ast.ListExpr(tuple(x for x in c if not isinstance(x, Token)), self._span(c))

    def paren(self, c: _Children) -> ast.Paren:
        return ast.Paren(c[1], self._span(c))

    def number(self, c: _Children) -> ast.Num:
        raw, span = str(c[0]), self._span(c[:1])
        digits = raw.rstrip("%ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
        unit = raw[len(digits) :]
        if unit not in UNITS:
            self.problems.append(
                explain.unknown_unit(unit, UNIT_NAMES, Span(span.file, span.end - len(unit), span.end))
            )
            unit = ""
        kind, factor = UNITS[unit]
        text = digits.replace("_", "")
        if text.isdigit():
            return ast.Num(kind, int(text) * factor, raw, span)
        return ast.Num("float" if kind == "int" else kind, float(text) * factor, raw, span)

    def dotted(self, c: _Children) -> ast.Dotted:
        star = c[-1].type == "DOTSTAR"
        names = tuple(self._name(x) for x in c if x.type not in ("DOT", "DOTSTAR"))
        return ast.Dotted(names, self._span(c), star)


class _Block(NamedTuple):
    items: tuple[Any, ...]
    span: Span


class _Args(NamedTuple):
    items: tuple[Any, ...]
    span: Span


class _Bare(NamedTuple):
    name: ast.Dotted
    type: ast.TypeExpr | None
    colon: Span | None
    span: Span


def _typed(c: _Children) -> tuple[ast.TypeExpr | None, ast.Expr | None]:
    """The type behind `:` and the value behind `=` of an item's children, each None where absent."""
    typ = next((x for x in c if isinstance(x, ast.TypeExpr)), None)
    at = next((n for n, x in enumerate(c) if isinstance(x, Token) and x.type == "EQUAL"), None)
    return typ, c[at + 1] if at else None


def _constraints(c: _Children) -> tuple[ast.ConstraintNode, ...]:
    return tuple(x for x in c if isinstance(x, ast.ConstraintNode))
