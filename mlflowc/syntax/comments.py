"""Where the comments of a file belong: each is given a slot by its place, so that the formatter, which prints
the tree, prints each of them once.

Slots belong to groups: what stands between a pair of brackets with one element a line (the file itself is
one too). A comment in a group stands before an element, behind one on its line, behind the opening bracket,
or at the end. A comment in the middle of an element, where no group is, goes before the element.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlflowc.frozen import dataclass, field
from mlflowc.span import Span
from mlflowc.syntax import ast

# Any node of the tree that can be an element of a group.
Node = Any


class Group(NamedTuple):
    """The elements of `node` between brackets, and the part of the text that the brackets enclose."""

    node: Node
    start: int
    end: int
    elements: Sequence[Node]


@dataclass(slots=True)
class Slots:
    """The comments of one group. `before`, `inside` and `behind` are by the index of an element."""

    head: list[ast.Comment] = field(default_factory=list)
    before: dict[int, list[ast.Comment]] = field(default_factory=dict)
    inside: dict[int, list[ast.Comment]] = field(default_factory=dict)
    behind: dict[int, ast.Comment] = field(default_factory=dict)
    end: list[ast.Comment] = field(default_factory=list)


class Placed:
    """The slots of all groups of a file that have comments, by the identity of the group's node."""

    def __init__(self, root: Group, comments: Sequence[ast.Comment], text: str) -> None:
        self._slots: dict[int, Slots] = {}
        self._known: dict[int, list[Group]] = {}
        closers = set(broken(root, text))
        for comment in comments:
            group = self._place(root, comment)
            if group is not root:
                closers.add(group.end - 1)
        self._closers = sorted(closers)

    def slots(self, node: Node) -> Slots | None:
        """The comments of the group of `node`, or None where there are none."""
        return self._slots.get(id(node))

    def touches(self, node: Node) -> bool:
        """Whether a group in `node` (or its own) takes several lines: for a comment, or by its author."""
        n = bisect_left(self._closers, node.span.start)
        return n < len(self._closers) and self._closers[n] < node.span.end

    def _place(self, group: Group, comment: ast.Comment) -> Group:
        at = comment.span.start
        while True:
            n = bisect_right(group.elements, at, key=lambda e: e.span.start) - 1
            if n < 0 or at >= group.elements[n].span.end:
                self._in_gap(self._of(group), group, n, comment)
                return group
            element = group.elements[n]
            if id(element) not in self._known:
                self._known[id(element)] = groups(element)
            inner = next((g for g in self._known[id(element)] if g.start <= at < g.end), None)
            if inner is None:
                self._of(group).inside.setdefault(n, []).append(comment)
                return group
            group = inner

    @staticmethod
    def _in_gap(slots: Slots, group: Group, n: int, comment: ast.Comment) -> None:
        """The comment stands between element `n` (-1: the opening bracket) and the one behind it."""
        first = n + 1 not in slots.before and not slots.end
        if not comment.own_line and n >= 0 and n not in slots.behind and first:
            slots.behind[n] = comment
        elif not comment.own_line and n < 0 and not slots.head and first:
            slots.head.append(comment)
        elif n + 1 < len(group.elements):
            slots.before.setdefault(n + 1, []).append(comment)
        else:
            slots.end.append(comment)

    def _of(self, group: Group) -> Slots:
        return self._slots.setdefault(id(group.node), Slots())


def broken(root: Group, text: str) -> list[int]:
    """The places of the brackets that close a block or a list whose first element begins a line of its own:
    its author wanted it so, and it stays so."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        for element in waiting.pop().elements:
            if "\n" not in text[element.span.start : element.span.end]:
                continue
            for group in groups(element):
                waiting.append(group)
                if not group.elements or isinstance(group.node, ast.CallExpr):
                    continue
                gap = text[group.start : group.elements[0].span.start]
                opening = max(gap.rfind("{"), gap.rfind("["))
                if "\n" in gap[opening:]:
                    found.append(group.end - 1)
    return found


def groups(node: Node) -> list[Group]:
    """The groups that stand directly in `node`, outermost first, in order of place."""
    match node:
        case ast.ListExpr(items=items, span=span):
            return [Group(node, span.start, span.end, items)]
        case ast.CallExpr(function=function, args=args, span=span):
            return [*groups(function), Group(node, function.span.end, span.end, args)]
        case ast.TypeExpr(columns=columns, span=span) if columns is not None:
            start = node.args[-1].span.end if node.args else node.name.span.end
            return [Group(node, start, span.end, columns)]
        case ast.Nested(name=name, items=items, span=span):
            return [Group(node, name.span.end, span.end, items)]
        case ast.ShowItem(block=block, span=span):
            head = [e for e in (node.value, node.vs) if e is not None]
            own = (
                []
                if block is None
                else [Group(node, (head[-1] if head else node.kind).span.end, span.end, block)]
            )
            return [g for e in head for g in groups(e)] + own
        case ast.BlockDecl() | ast.InstanceDecl() | ast.SweepDecl() | ast.OnDecl() | ast.ParamsDecl():
            return _of_declaration(node)
        case ast.ParamDecl(item=item):
            return groups(item)
    return [g for child in _children(node) for g in groups(child)]


def _of_declaration(node: Node) -> list[Group]:
    end = node.span.end
    match node:
        case ast.ParamsDecl(path=path, narrowed=narrowed):
            return [Group(node, path.span.end, end, narrowed)] if narrowed else []
        case ast.InstanceDecl(component=component, items=items):
            each = [g for e in node.each for g in groups(e.values)]
            return each + ([Group(node, component.span.end, end, items)] if items else [])
        case ast.SweepDecl(stage=stage, items=items):
            return [Group(node, stage.span.end, end, items)]
        case ast.OnDecl(event=event, args=args, items=items):
            return [Group(node, (args[-1] if args else event).span.end, end, items)]
        case ast.BlockDecl(each=each_clauses, items=items):
            header: Span = (each_clauses[-1] if each_clauses else node.name or node.keyword).span
            return [g for e in each_clauses for g in groups(e.values)] + [Group(node, header.end, end, items)]
    return []


def _children(node: Node) -> list[Node]:
    found: list[Node] = []
    match node:
        case ast.Setting() | ast.KeepItem() | ast.VaryItem() | ast.Argument():
            found = [node.value]
        case ast.InItem() | ast.OutItem():
            found = [node.type, node.value]
        case ast.ParamItem() | ast.InputItem():
            found = [node.type, *(c.value for c in node.constraints), node.default]
        case ast.ColumnNode():
            found = [node.type, *(c.value for c in node.constraints)]
        case ast.ConstraintNode():
            found = [node.value]
        case ast.RequireItem():
            found = [node.expr, node.message]
        case ast.DataDecl():
            found = [node.type, node.source]
        case ast.TypeDecl():
            found = [node.type]
        case ast.BinaryExpr():
            found = [node.left, node.right]
        case ast.UnaryExpr():
            found = [node.operand]
        case ast.Paren():
            found = [node.inner]
        case ast.RangeExpr():
            found = [node.low, node.high]
        case ast.Attribute():
            found = [node.value]
        case ast.Index():
            found = [node.value, node.index]
    return [n for n in found if n is not None]
