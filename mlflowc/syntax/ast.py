"""The tree that the parser makes: what was written, with places, and nothing concluded from it.

Blocks keep their items in the order written. Which settings a block may have, and what they mean,
is decided later (`mlflowc.resolve`, `mlflowc.check`), so that a slip in a name gets a better answer
than a syntax error.
"""

from __future__ import annotations

from typing import TypeAlias

from mlflowc.frozen import dataclass, field
from mlflowc.span import Span


@dataclass(frozen=True, slots=True)
class Name:
    """One identifier where it stands."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Dotted:
    """`a.b.c`; `star` for `a.b.*`."""

    parts: tuple[Name, ...]
    span: Span
    star: bool = False

    @property
    def text(self) -> str:
        """As written: `a.b`, `a.*`."""
        return ".".join(p.text for p in self.parts) + (".*" if self.star else "")


# --- expressions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Str:
    """A string: `value` as meant, `raw` as it stands in the source, quotes and all."""

    value: str
    raw: str
    span: Span


@dataclass(frozen=True, slots=True)
class Num:
    """A number. `kind` is `int float duration size percent`; `value` is in seconds, bytes or as written."""

    kind: str
    value: int | float
    raw: str
    span: Span


@dataclass(frozen=True, slots=True)
class Bool:
    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class ListExpr:
    items: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class RangeExpr:
    """`low..high`, both ends included."""

    low: Expr
    high: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class NameExpr:
    """A name standing as an expression."""

    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Attribute:
    """`value.name`."""

    value: Expr
    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Index:
    """`value[index]`; `index` None stands for `[*]`."""

    value: Expr
    index: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a call; `name` None for a positional one."""

    name: Name | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class CallExpr:
    function: Expr
    args: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class UnaryExpr:
    """`op` is `-` or `not`."""

    op: str
    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class BinaryExpr:
    """`op` is `+ - * / < <= > >= == != and or`."""

    op: str
    left: Expr
    right: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Paren:
    """A parenthesis, kept for the formatter."""

    inner: Expr
    span: Span


Expr: TypeAlias = (
    Str
    | Num
    | Bool
    | ListExpr
    | RangeExpr
    | NameExpr
    | Attribute
    | Index
    | CallExpr
    | UnaryExpr
    | BinaryExpr
    | Paren
)


# --- types -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConstraintNode:
    """`unique`, `minimize`, `maximize`, `in EXPR`, `matches "regex"`, `null <= 5%`; of a table `rows >= N`
    (`op`: `>=`).
    """

    name: Name
    op: str
    value: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class ColumnNode:
    """`name: type constraint...`"""

    name: Dotted
    type: TypeExpr
    constraints: tuple[ConstraintNode, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class TypeExpr:
    """`csv { ... }`, `list[int]`, `enum ["a"]`, `Customers`, `int?`. `columns` None: no block was written."""

    name: Dotted
    args: tuple[TypeExpr | Str, ...]
    columns: tuple[ColumnNode | ConstraintNode, ...] | None
    optional: bool
    span: Span


# --- items of blocks -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """`key = value`."""

    key: Dotted
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Nested:
    """`name { key = value ... }`."""

    name: Name
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class InItem:
    """`in name: type = value`, `in name`, `in stage.output`."""

    name: Dotted
    type: TypeExpr | None
    value: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class OutItem:
    """`out name: type = "path"`."""

    name: Name
    type: TypeExpr | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class KeepItem:
    """`keep name = "path"`."""

    name: Name
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class ParamItem:
    """`param a.b`, `param train.*`; with `: type = default` in a component or at the top of a file."""

    name: Dotted
    type: TypeExpr | None
    constraints: tuple[ConstraintNode, ...]
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class VaryItem:
    """`vary a.b in EXPR`."""

    name: Dotted
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class RequireItem:
    """`require EXPR else "message"`."""

    expr: Expr
    message: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class InputItem:
    """`input a.b: type = default`, in `on manual`."""

    name: Dotted
    type: TypeExpr
    constraints: tuple[ConstraintNode, ...]
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class ShowItem:
    """A line of a report: `metrics REF vs "main"`, `plot REF { ... }`, `text "..."`, `stages`.

    `block` None: no braces were written.
    """

    kind: Name
    value: Expr | None
    vs: Expr | None
    block: tuple[Item, ...] | None
    span: Span


Item: TypeAlias = (
    Setting | Nested | InItem | OutItem | KeepItem | ParamItem | VaryItem | RequireItem | InputItem | ShowItem
)


# --- declarations ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PipelineDecl:
    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class UseDecl:
    path: Str
    alias: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class ParamsDecl:
    """`params "file" { name: type constraint ... }`."""

    path: Str
    narrowed: tuple[ColumnNode | ConstraintNode, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ParamDecl:
    """`param name: type constraint = default` at the top of a file."""

    item: ParamItem
    span: Span


@dataclass(frozen=True, slots=True)
class TypeDecl:
    name: Name
    type: TypeExpr
    span: Span


@dataclass(frozen=True, slots=True)
class DataDecl:
    name: Name
    type: TypeExpr | None
    source: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class EachClause:
    """`each name in [values]`."""

    name: Name
    values: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class BlockDecl:
    """`keyword name { items }`: `env runner component stage gate report action auth cache ci`.

    `name` is None for `cache` and `ci`. `each` only on `stage`.
    """

    keyword: Name
    name: Name | None
    each: tuple[EachClause, ...]
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class InstanceDecl:
    """`stage name each ... = component { input = ref ... }`."""

    name: Name
    each: tuple[EachClause, ...]
    component: Dotted
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class SweepDecl:
    """`sweep name over stage { ... }`."""

    name: Name
    stage: Expr
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class SecretDecl:
    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class OnDecl:
    """`on event(args) { ... }`."""

    event: Name
    args: tuple[Argument, ...]
    items: tuple[Item, ...]
    span: Span


Decl: TypeAlias = (
    PipelineDecl
    | UseDecl
    | ParamsDecl
    | ParamDecl
    | TypeDecl
    | DataDecl
    | BlockDecl
    | InstanceDecl
    | SweepDecl
    | SecretDecl
    | OnDecl
)


# --- the file ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, `#` and all; `own_line` when nothing but space stands before it."""

    text: str
    span: Span
    own_line: bool


@dataclass(frozen=True, slots=True)
class File:
    """A whole source file. `edition` is None where the header is missing (which is a diagnostic)."""

    name: str
    edition: int | None
    edition_span: Span
    decls: tuple[Decl, ...]
    comments: tuple[Comment, ...] = field(default=(), compare=False)
