"""Expressions and types on one line, in canonical form (only a `\"\"\"` string brings line breaks)."""

from __future__ import annotations

from mlflowc.syntax import ast


def format_expr(e: ast.Expr) -> str:
    """An expression in canonical form, strings and numbers as written."""
    match e:
        case ast.Str() | ast.Num():
            return e.raw
        case ast.Bool():
            return "true" if e.value else "false"
        case ast.NameExpr():
            return e.name.text
        case ast.ListExpr():
            return f"[{', '.join(map(format_expr, e.items))}]"
        case ast.RangeExpr():
            return f"{format_expr(e.low)}..{format_expr(e.high)}"
        case ast.Attribute():
            return f"{format_expr(e.value)}.{e.name.text}"
        case ast.Index():
            return f"{format_expr(e.value)}[{'*' if e.index is None else format_expr(e.index)}]"
        case ast.CallExpr():
            return f"{format_expr(e.function)}({', '.join(map(flat_argument, e.args))})"
        case ast.UnaryExpr():
            return f"not {format_expr(e.operand)}" if e.op == "not" else f"-{format_expr(e.operand)}"
        case ast.BinaryExpr():
            return f"{format_expr(e.left)} {e.op} {format_expr(e.right)}"
        case ast.Paren():
            return f"({format_expr(e.inner)})"


def flat_argument(a: ast.Argument) -> str:
    """`name = value` or `value`."""
    return f"{a.name.text} = {format_expr(a.value)}" if a.name else format_expr(a.value)


def flat_type(t: ast.TypeExpr) -> str:
    """A type with its arguments and columns."""
    args = ""
    if t.args:
        space = " " if t.name.text == "enum" else ""
        args = f"{space}[{', '.join(a.raw if isinstance(a, ast.Str) else flat_type(a) for a in t.args)}]"
    return t.name.text + args + flat_columns(t)


def flat_columns(t: ast.TypeExpr) -> str:
    """What stands behind the name and the arguments: ` { … }` and `?`."""
    optional = "?" if t.optional else ""
    if t.columns is None:
        return optional
    if not t.columns:
        return " {}" + optional
    return f" {{ {', '.join(map(flat_column, t.columns))} }}{optional}"


def flat_column(c: ast.ColumnNode | ast.ConstraintNode) -> str:
    """`name: type constraint…`, or a constraint of the table."""
    if isinstance(c, ast.ConstraintNode):
        return flat_constraint(c)
    return " ".join([f"{c.name.text}: {flat_type(c.type)}", *map(flat_constraint, c.constraints)])


def flat_constraint(c: ast.ConstraintNode) -> str:
    """`unique`, `minimize`, `in EXPR`, `matches "…"`, `null <= 5%`, `rows >= N`, `rows in 1..9`."""
    parts = [c.name.text]
    if c.op:
        parts.append(c.op)
    if c.value is not None:
        parts.append(format_expr(c.value))
    return " ".join(parts)
