"""Tree to text: the one canonical form of a source file.

Two spaces a level, a blank line between declarations, at most one anywhere. Lists, calls, columns and short
blocks stand on one line where they fit into `WIDTH` columns and no comment is in them, else one element a
line. A list or block whose first element its author put on a line of its own stays so. In a run of like lines
(no blank line, comment or multi-line element between them) names, types and values are aligned. Strings and
numbers stay as written. Nothing else decides; formatting again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlflowc.diagnostic import Diagnostic, has_errors
from mlflowc.span import Source, Span
from mlflowc.syntax import ast
from mlflowc.syntax.comments import Group, Node, Placed, Slots
from mlflowc.syntax.flat import flat_argument, flat_columns, flat_constraint, flat_type, format_expr
from mlflowc.syntax.parser import parse
from mlflowc.syntax.rows import WIDTH, Row, align

__all__ = ["WIDTH", "format_expr", "format_source"]

# Blocks that take one line where they fit; the others have a line for each item, always.
_SHORT = {"cache", "ci", "auth"}
# Declarations that may stand together without a blank line between them.
_TOGETHER = (
    ast.UseDecl, ast.ParamsDecl, ast.ParamDecl, ast.TypeDecl, ast.DataDecl, ast.SecretDecl, ast.OnDecl,
    ast.BlockDecl, ast.InstanceDecl,
)  # fmt: skip


class _Edition(NamedTuple):
    span: Span


def format_source(source: Source) -> str | tuple[Diagnostic, ...]:
    """The text in canonical form, or the diagnostics of a text that has errors (which is left alone)."""
    parsed = parse(source)
    if has_errors(parsed.diagnostics):
        return parsed.diagnostics
    return _Printer(source, parsed.file).print()


class _Printer:
    def __init__(self, source: Source, file: ast.File) -> None:
        self.text = source.text
        elements: list[Node] = [_Edition(file.edition_span), *file.decls]
        self.root = Group(file, 0, len(source.text) + 1, elements)
        self.placed = Placed(self.root, file.comments, source.text)

    def print(self) -> str:
        text = "\n".join(self._lines(self.root, 0, "")) + "\n"
        return text.replace("\r\n", "\n")

    # -- groups: one element a line, with the comments of each --

    def _lines(self, group: Group, indent: int, comma: str) -> list[str]:
        """The lines of a group's elements and comments, indented, without the brackets."""
        slots = self.placed.slots(group.node) or Slots()
        pad, lines, run = " " * indent, list[str](), list[tuple[Row, str]]()
        top = group.node is self.root.node

        def flush() -> None:
            lines.extend(pad + line for line in align(run, indent))
            run.clear()

        def note(found: list[ast.Comment], end: int) -> int:
            for comment in found:
                flush()
                if lines and end and not comma and self._blank(end, comment.span.start):
                    lines.append("")
                lines.append(pad + comment.text)
                end = comment.span.end
            return end

        end = slots.head[-1].span.end if slots.head else 0
        previous: Node | None = None
        for n, element in enumerate(group.elements):
            row = self._row(element, indent)
            before = slots.before.get(n, [])
            if top and previous is not None and not self._together(previous, element, row, run):
                flush()
                lines.append("")
                end = 0
            started = note(before, end)
            start = element.span.start
            if started and not comma and self._blank(started, start):
                flush()
                if lines and lines[-1]:
                    lines.append("")
            if slots.inside.get(n):
                flush()
                lines.extend(pad + c.text for c in slots.inside[n])
            behind = slots.behind.get(n)
            tail = comma + (f"  {behind.text}" if behind else "")
            if run and not row.goes_with(run[-1][0]):
                flush()
            run.append((row, tail))
            if row.is_multi:
                flush()
            end = behind.span.end if behind else element.span.end
            previous = element
        flush()
        note(slots.end, end)
        return lines

    def _blank(self, start: int, end: int) -> bool:
        return self.text.count("\n", start, end) > 1

    def _together(self, previous: Node, element: Node, row: Row, run: list[tuple[Row, str]]) -> bool:
        """Whether two declarations may do without a blank line: short ones of one kind."""
        if row.is_multi or type(previous) is not type(element) or type(element) not in _TOGETHER:
            return False
        if type(element) is ast.BlockDecl and previous.keyword.text != element.keyword.text:
            return False
        return bool(run) and not run[-1][0].is_multi

    def _bracketed(self, group: Group, indent: int, brackets: str, comma: str = "") -> str:
        """A group over several lines, brackets and all; the closing one stands at `indent`."""
        slots = self.placed.slots(group.node)
        head = f"  {slots.head[0].text}" if slots and slots.head else ""
        lines = self._lines(group, indent + 2, comma)
        return "\n".join([brackets[0] + head, *lines, " " * indent + brackets[1]])

    def _block(self, node: Node, items: Sequence[Node], indent: int, used: int, *, short: bool) -> str:
        """`{ … }` behind `used` columns; on one line where it is short and fits."""
        if not self.placed.touches(node) or not self.placed.slots(node):
            if not items:
                return "{}"
            if short and not self.placed.touches(node):
                flat = "{ " + ", ".join(self._row(i, 0).flat() for i in items) + " }"
                if "\n" not in flat and used + len(flat) <= WIDTH:
                    return flat
        return self._bracketed(Group(node, 0, 0, items), indent, "{}")

    # -- values and types, broken where they must be --

    def _expr(self, e: ast.Expr, indent: int, used: int) -> str:
        """An expression behind `used` columns of its first line."""
        touched = self.placed.touches(e)
        flat = format_expr(e)
        if not touched and used + len(flat.split("\n", 1)[0]) <= WIDTH:
            return flat
        again: Callable[[ast.Expr], str] = lambda x: self._expr(x, indent, used if not touched else 0)  # noqa: E731
        match e:
            case ast.ListExpr(items=items) if items or touched:
                return self._bracketed(Group(e, 0, 0, items), indent, "[]", ",")
            case ast.CallExpr(function=function, args=args) if args or touched:
                if not touched or self.placed.slots(e) or any(self.placed.touches(a) for a in args):
                    return self._callee(function, indent) + self._bracketed(
                        Group(e, 0, 0, args), indent, "()", ","
                    )
                return self._callee(function, indent) + format_expr(e)[len(format_expr(function)) :]
            case _ if not touched:
                return flat
            case ast.Paren(inner=inner):
                return f"({again(inner)})"
            case ast.BinaryExpr(op=op, left=left, right=right):
                return f"{again(left)} {op} {again(right)}"
            case ast.UnaryExpr(op=op, operand=operand):
                return f"{op}{' ' if op == 'not' else ''}{again(operand)}"
            case ast.RangeExpr(low=low, high=high):
                return f"{again(low)}..{again(high)}"
            case ast.Attribute(value=value, name=name):
                return f"{again(value)}.{name.text}"
            case ast.Index(value=value, index=index):
                return f"{again(value)}[{'*' if index is None else again(index)}]"
        return flat

    def _callee(self, function: ast.Expr, indent: int) -> str:
        return self._expr(function, indent, 0) if self.placed.touches(function) else format_expr(function)

    def _type(self, t: ast.TypeExpr, indent: int, *, broken: bool) -> str:
        if t.columns is None or not (self.placed.touches(t) or (broken and t.columns)):
            return flat_type(t)
        head = flat_type(t)[: -len(flat_columns(t))].rstrip()
        return f"{head} {self._bracketed(Group(t, 0, 0, t.columns), indent, '{}')}{'?' if t.optional else ''}"

    def _typed(
        self,
        lead: str,
        t: ast.TypeExpr | None,
        constraints: Sequence[ast.ConstraintNode],
        value: ast.Expr | None,
        indent: int,
    ) -> tuple[str, str]:
        """The type with its constraints, and `= value`, of a line that begins with `lead`."""
        whole = [lead] + ([flat_type(t)] if t else []) + [flat_constraint(c) for c in constraints]
        whole += [f"= {format_expr(value)}"] if value is not None else []
        used = indent + len(" ".join(whole).split("\n", 1)[0])
        middle = ""
        if t is not None:
            parts = [
                self._type(t, indent, broken=used > WIDTH),
                *(self._constraint(c, indent) for c in constraints),
            ]
            middle = " ".join(parts)
        if value is None:
            return middle, ""
        before = f"{lead} {middle} = ".rsplit("\n", 1)
        return middle, "= " + self._expr(value, indent, len(before[-1]) + (indent if len(before) == 1 else 0))

    def _constraint(self, c: ast.ConstraintNode, indent: int) -> str:
        if c.value is None or not self.placed.touches(c):
            return flat_constraint(c)
        return flat_constraint(c)[: -len(format_expr(c.value))] + self._expr(c.value, indent, 0)

    # -- elements --

    def _row(self, e: Node, indent: int) -> Row:
        """An element as the row that it is aligned as."""
        match e:
            case ast.Setting(key=key, value=value):
                return Row(
                    "setting", "", key.text, "", "= " + self._expr(value, indent, indent + len(key.text) + 3)
                )
            case ast.Nested(name=name, items=items):
                used = indent + len(name.text) + 1
                return Row("", "", f"{name.text} {self._block(e, items, indent, used, short=True)}")
            case ast.InItem() | ast.OutItem() | ast.KeepItem() | ast.ParamItem() | ast.InputItem():
                return self._item(e, indent)
            case ast.VaryItem(name=dotted, value=value):
                return Row(
                    "vary",
                    "vary",
                    dotted.text,
                    "",
                    "in " + self._expr(value, indent, indent + len(dotted.text) + 9),
                )
            case ast.RequireItem():
                return Row("", "", self._require(e, indent))
            case ast.ShowItem():
                return self._show(e, indent)
            case ast.ColumnNode(name=dotted, type=t, constraints=constraints):
                middle = self._type(
                    t, indent, broken=indent + len(dotted.text) + len(flat_type(t)) > WIDTH - 2
                )
                rest = " ".join(self._constraint(c, indent) for c in constraints)
                return Row("column", "", f"{dotted.text}:", middle, rest)
            case ast.ConstraintNode():
                return Row("", "", self._constraint(e, indent))
            case ast.Argument(name=arg, value=value):
                lead = f"{arg.text} = " if arg else ""
                return Row("", "", lead + self._expr(value, indent, indent + len(lead) + 1))
        if isinstance(e, _Edition):
            return Row("", "", "mlpipe 1")
        return (
            self._declaration(e)
            if hasattr(e, "span") and indent == 0 and _is_decl(e)
            else self._plain(e, indent)
        )

    def _plain(self, e: ast.Expr, indent: int) -> Row:
        return Row("", "", self._expr(e, indent, indent + 1))

    def _item(self, e: Node, indent: int) -> Row:
        kind, value, constraints, t = type(e), None, (), None
        name = e.name.text
        match e:
            case ast.InItem() | ast.OutItem():
                keyword, t, value = "in" if kind is ast.InItem else "out", e.type, e.value
            case ast.KeepItem():
                keyword, value = "keep", e.value
            case _:
                keyword, t, value = "param" if kind is ast.ParamItem else "input", e.type, e.default
                constraints = e.constraints
        left = f"{name}:" if t is not None else name
        middle, rest = self._typed(f"{keyword} {left}", t, constraints, value, indent)
        return Row("out" if keyword == "keep" else keyword, keyword, left, middle, rest)

    def _require(self, e: ast.RequireItem, indent: int) -> str:
        message = "" if e.message is None else f" else {self._expr(e.message, indent, 0)}"
        flat = f"require {format_expr(e.expr)}{message}"
        if self.placed.touches(e):
            return f"require {self._expr(e.expr, indent, 0)}{message}"
        if indent + len(flat) <= WIDTH or "\n" in flat:
            return flat
        parts = [f"require {format_expr(e.expr)}"]
        if len(parts[0]) + indent > WIDTH:
            parts = ["require " + line for line in _conjuncts(e.expr)[:1]] + _conjuncts(e.expr)[1:]
        return ("\n" + " " * (indent + 4)).join([*parts, message.strip()] if message else parts)

    def _show(self, e: ast.ShowItem, indent: int) -> Row:
        left, used = "", indent + len(e.kind.text) + 1
        if e.value is not None:
            left = self._expr(e.value, indent, used)
        if e.vs is not None:
            left += (" " if left else "") + "vs " + self._expr(e.vs, indent, used + len(left) + 4)
        if e.block is not None:
            left += (" " if left else "") + self._block(e, e.block, indent, used + len(left) + 1, short=True)
        return Row("show", e.kind.text, left)

    # -- declarations --

    def _declaration(self, e: Node) -> Row:
        match e:
            case ast.PipelineDecl(name=name):
                return Row("", "", f"pipeline {name.text}")
            case ast.SecretDecl(name=name):
                return Row("", "", f"secret {name.text}")
            case ast.UseDecl(path=path, alias=alias):
                return Row("", "", f"use {path.raw}" + (f" as {alias.text}" if alias else ""))
            case ast.ParamsDecl(path=path, narrowed=narrowed):
                head = f"params {path.raw}"
                block = f" {self._block(e, narrowed, 0, len(head) + 1, short=True)}" if narrowed else ""
                return Row("", "", head + block)
            case ast.ParamDecl(item=item):
                return self._item(item, 0)
            case ast.TypeDecl(name=name, type=t):
                lead = f"type {name.text} ="
                broken = len(lead) + 1 + len(flat_type(t)) > WIDTH
                return Row("type", "type", name.text, "", "= " + self._type(t, 0, broken=broken))
            case ast.DataDecl(name=name, type=t, source=value):
                left = f"{name.text}:" if t is not None else name.text
                return Row("data", "data", left, *self._typed(f"data {left}", t, (), value, 0))
        return self._block_declaration(e)

    def _block_declaration(self, e: Node) -> Row:
        match e:
            case ast.InstanceDecl(name=name, component=component, items=items):
                head = f"stage {name.text}{self._each(e.each)} = {component.text}"
                return Row(
                    "", "", f"{head} {self._block(e, items, 0, len(head) + 1, short=True)}" if items else head
                )
            case ast.SweepDecl(name=name, stage=stage, items=items):
                head = f"sweep {name.text} over {format_expr(stage)}"
                return Row("", "", f"{head} {self._block(e, items, 0, 0, short=False)}")
            case ast.OnDecl(event=event, args=args, items=items):
                call = f"({', '.join(flat_argument(a) for a in args)})" if args else ""
                head = f"on {event.text}{call}"
                return Row("on", "", head, "", self._block(e, items, 0, len(head) + 1, short=True))
        head = e.keyword.text + (f" {e.name.text}" if e.name else "") + self._each(e.each)
        short = e.keyword.text in _SHORT or (e.keyword.text in ("env", "runner") and len(e.items) == 1)
        return Row("", "", f"{head} {self._block(e, e.items, 0, len(head) + 1, short=short)}")

    def _each(self, clauses: Sequence[ast.EachClause]) -> str:
        return "".join(f" each {c.name.text} in {self._expr(c.values, 0, 0)}" for c in clauses)


def _is_decl(e: Any) -> bool:
    return type(e).__name__.endswith("Decl")


def _conjuncts(e: ast.Expr) -> list[str]:
    """`a and b or c` as `a`, `and b`, `or c`."""
    if isinstance(e, ast.BinaryExpr) and e.op in ("and", "or"):
        return [*_conjuncts(e.left), f"{e.op} {format_expr(e.right)}"]
    return [format_expr(e)]
