"""The `data` declarations: which arguments each kind of source takes, and of which type its data is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from mlflowc.check import auths, infer, values
from mlflowc.check.blocks import arguments, called, secret_names
from mlflowc.check.context import Context
from mlflowc.check.model import Block
from mlflowc.check.signatures import settle
from mlflowc.check.types import Types
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass
from mlflowc.ir import feeds
from mlflowc.ir import model as ir
from mlflowc.resolve import dvctracking
from mlflowc.resolve.dvctracking import Hit
from mlflowc.span import Span
from mlflowc.syntax import ast

_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_SQLITE = re.compile(r"(?:sqlite:///?)?[^:]+\.(?:db|sqlite3?|db3|gpkg)")
_QUERY = re.compile(r"\s*(?:--.*\n\s*)*(?:select|with|values|table|from)\b", re.IGNORECASE)
_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_ARTIFACT = re.compile(r"(?:[a-zA-Z0-9-_./]+:)?[a-zA-Z0-9](?:[a-zA-Z0-9-/_]*[a-zA-Z0-9])?")
_STAGE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-/_]*[a-zA-Z0-9])?")
_OUTPUT = re.compile(r"[a-z]\w*(?:\[.*\])?\.[a-z]\w*")
# What a query's result can be written as.
_RESULTS = ("csv", "tsv", "jsonl", "parquet", "arrow")
Given = dict[str, Any]


def _matching(pattern: re.Pattern[str], wanted: str, help: str) -> values.Reader:
    def reader(ctx: Context, expr: ast.Expr) -> Any:
        value = values.text(ctx, expr)
        if value is values.BAD or pattern.fullmatch(value):
            return value
        return values.wrong(ctx, expr, wanted, help)

    return reader


def _text(ctx: Context, expr: ast.Expr) -> Any:
    value = values.text(ctx, expr)
    if value is values.BAD or value.strip():
        return value
    return values.wrong(ctx, expr, "a text that is not empty")


def _secrets(ctx: Context, expr: ast.Expr) -> Any:
    found = secret_names(ctx, expr)
    return found if found is values.BAD else tuple(sorted({name for name, _ in found}))


def _address(ctx: Context, expr: ast.Expr) -> Any:
    """Where a file is fetched from: it begins with how."""
    value = values.text(ctx, expr)
    if value is values.BAD or (":" in value and value.partition(":")[0].lower() in feeds.SCHEMES):
        return value
    return values.wrong(ctx, expr, "an address that says how to get there", feeds.BEGINNINGS)


def _inner(ctx: Context, expr: ast.Expr) -> Any:
    """A path in something else: it does not lead out of it."""
    value = _text(ctx, expr)
    if value is values.BAD:
        return value
    path = posixpath.normpath(value.strip("/")) if value.strip("/") else "."
    return values.wrong(ctx, expr, "a path inside of it") if path.startswith("..") else path


def _connection(ctx: Context, expr: ast.Expr) -> Any:
    value = values.text(ctx, expr)
    if value is values.BAD:
        return value
    if _VARIABLE.fullmatch(value) or value.startswith(("postgresql://", "postgres://")):
        return value
    if _SQLITE.fullmatch(value):
        return value
    help = '"env:DATABASE_URL" (a variable with its address), "postgresql://host/name", or "data/app.sqlite"'
    return values.wrong(ctx, expr, "a database", help)


def _query(ctx: Context, expr: ast.Expr) -> Any:
    """A file of the project, or the query itself."""
    value = values.text(ctx, expr)
    if value is values.BAD or _QUERY.match(value):
        return value
    if value.endswith(".sql"):
        return values.path(ctx, expr)
    return values.wrong(ctx, expr, "a query", '"q.sql", a file of the project, or "select … order by …"')


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source: `order` are its positional arguments, `needed` those that must be said, `readers`
    all of them. `settle` looks at them together; None: it has complained."""

    order: tuple[str, ...]
    needed: tuple[str, ...]
    readers: Mapping[str, values.Reader]
    settle: Callable[[Context, ast.CallExpr, Given], Given | None] | None = None


def _dvc(ctx: Context, call: ast.CallExpr, given: Given) -> Given | None:
    """`path` becomes the file of DVC, and `out` what it tracks, where that can be told here and now."""
    if "rev" in given:
        return given
    files = _Loaded(ctx)
    path, out = given["path"], given.get("out")
    try:
        if dvctracking.is_file_of_dvc(path):
            if ctx.loader.kind(path) != "file":
                return given  # a rule says so
            hit: Hit | None = dvctracking.in_file(files, path, out)
        else:
            hit = dvctracking.find(files, out or path, everywhere=False)
    except Failure as e:
        ctx.report(values.VALUE, e.message, call.span, help=e.help)
        return None
    if hit is None:
        ctx.report(
            values.VALUE,
            f"DVC tracks no `{out or path}`",
            call.span,
            help=f'`dvc add {path}` makes it do so; a file of git is named by its path alone: "{path}"',
        )
        return None
    tracked = hit.tracked
    stands = posixpath.join(tracked.path, hit.inner) if hit.inner else tracked.path
    if "://" in stands or stands.startswith(("..", "/")):
        ctx.report(
            values.VALUE,
            f"`{tracked.file}` tracks `{stands}`, which lies outside of the project",
            call.span,
            help="name it where it is, as in `url(…)`",
        )
        return None
    if not tracked.stored:
        ctx.report(
            values.VALUE,
            f"`{stands}` is kept by git, and not by DVC (`cache: false`)",
            call.span,
            help=f'name the file: `"{stands}"`',
        )
        return None
    settled = {"path": tracked.file}
    if stands != tracked.file.removesuffix(".dvc"):
        settled["out"] = stands
    return settled


class _Loaded:
    """The project's files as those of a repository."""

    label = "this project"

    def __init__(self, ctx: Context) -> None:
        self._loader = ctx.loader

    def read(self, path: str) -> bytes | None:
        found = self._loader.read(path)
        return found.encode() if isinstance(found, str) else None

    def names(self) -> list[str]:
        return list(self._loader.glob("**/*.dvc"))


def _deployed(ctx: Context, call: ast.CallExpr, given: Given) -> Given | None:
    """An address; or an artifact by its tags, with what of that commit is wanted."""
    name = given["name"]
    if "://" in name:
        others = [a for a in ("path", "output", "stage", "repo") if a in given]
        if others:
            ctx.report(
                values.VALUE,
                f"`deployed` of an address takes no `{others[0]}`",
                call.span,
                help="the file at that address is what runs; with tags, give the artifact's name",
            )
            return None
        return given
    if not _ARTIFACT.fullmatch(name):
        ctx.report(
            values.VALUE,
            f"`{name}` is neither an address nor the name of an artifact",
            call.span,
            help='as in "https://…/model.json"; or "churn", with the stage that it is in: `stage = "prod"`',
        )
        return None
    if ("path" in given) == ("output" in given):
        ctx.report(
            values.MISSING,
            "`deployed(…)` of an artifact has either `path` or `output`",
            call.span,
            help='what of its commit is wanted: a file (`path = "models/m.pkl"`), or what a stage made there '
            '(`output = "train.model"`)',
        )
        return None
    return given


_ADDRESS_TEXTS = ("url", "sha256", "token", "endpoint", "region", "key", "known_hosts")
_IN_GIT = {"url": _text, "path": _inner, "rev": _text}
_HUB = {
    "name": _matching(_HUB_NAME, "the name of a model or a data set", 'as in "owner/name"'),
    "revision": _text,
    "path": _inner,
    "files": values.texts,
    "type": values.one_of("model", "dataset", "space"),
    "token": _matching(_VARIABLE, "a variable", 'as in `token = "env:HF_TOKEN"`'),
}
_KINDS: Mapping[str, Kind] = {
    "path": Kind(("path",), ("path",), {"path": values.path}),
    "dvc": Kind(("path",), ("path",), {"path": values.path, "out": values.path, "rev": _text}, _dvc),
    "registry": Kind(("url", "path", "rev"), ("url", "path"), _IN_GIT),
    "url": Kind(
        ("url",),
        ("url",),
        {**dict.fromkeys(_ADDRESS_TEXTS, values.text), "url": _address, "anonymous": values.boolean},
    ),
    "git": Kind(("url", "path", "rev"), ("url", "path"), _IN_GIT),
    "huggingface": Kind(("name", "revision"), ("name",), _HUB),
    "sql": Kind(
        ("connection", "query"), ("connection", "query"), {"connection": _connection, "query": _query}
    ),
    "deployed": Kind(
        ("name",),
        ("name",),
        {
            "name": _text,
            "path": _inner,
            "output": _matching(_OUTPUT, "an output", 'as in "train.model"'),
            "stage": _matching(_STAGE, "the name of a stage", 'as in "prod"'),
            "repo": _text,
            "token": _matching(_VARIABLE, "a variable", 'as in `token = "env:NAME"`'),
        },
        _deployed,
    ),
}


class DataTable:
    """The `data` declarations, read once."""

    def __init__(self, ctx: Context, types: Types) -> None:
        self._found: dict[str, Block[ir.Data]] = {}
        self._declared: dict[str, Span] = {}
        for decl in ctx.modules.main.tree.decls:
            if isinstance(decl, ast.DataDecl):
                entry = ctx.main.things.get(decl.name.text)
                if entry is not None and entry.decl is decl:
                    made = _data(ctx, types, decl)
                    self._declared[decl.name.text] = decl.type.span if decl.type else decl.name.span
                    if made is not None:
                        self._found[decl.name.text] = made

    def get(self, name: str) -> Block[ir.Data] | None:
        """The data of that name; None where its declaration has a mistake."""
        return self._found.get(name)

    def declared(self, name: str) -> Span:
        """Where its type is written, else its name."""
        return self._declared[name]

    def all(self) -> tuple[Block[ir.Data], ...]:
        """All of them, in the order of the source."""
        return tuple(self._found.values())


def _data(ctx: Context, types: Types, decl: ast.DataDecl) -> Block[ir.Data] | None:
    expr = values.bare(decl.source)
    if isinstance(expr, ast.Str):
        argument = ast.Argument(None, expr, expr.span)
        expr = ast.CallExpr(ast.NameExpr(ast.Name("path", expr.span), expr.span), (argument,), expr.span)
    source = called(expr) if isinstance(expr, ast.CallExpr) else ""
    if source not in _KINDS or not isinstance(expr, ast.CallExpr):
        ways = ", ".join(f"`{s}(…)`" for s in _KINDS)
        values.wrong(ctx, expr, "a source of data", f'a path (`"data/raw.csv"`), or one of {ways}')
        return None
    kind = _KINDS[source]
    readers = (
        dict(kind.readers)
        if source == "path"
        else {**kind.readers, "secrets": _secrets, "auth": auths.providers}
    )
    given = arguments(ctx, expr, kind.order, readers, source)
    if given is None:
        return None
    missing = [n for n in kind.needed if n not in given]
    if missing:
        ctx.report(values.MISSING, f"`{source}(…)` lacks `{missing[0]}`", expr.span)
        return None
    if kind.settle is not None:
        settled = kind.settle(ctx, expr, given)
        if settled is None:
            return None
        access = {k: v for k, v in given.items() if k in ("secrets", "auth")}
        given = {**settled, **access}
    path = _path(source, given)
    type = _natural(ctx, source, path, given)
    if decl.type is not None:
        declared = types.file(decl.type, ctx.main)
        type = settle(ctx, declared, path if source in ("path", "dvc") else "", decl.type.span)
    if source == "sql":
        if type.kind not in _RESULTS:
            values.wrong(ctx, decl.source, f"`{', '.join(_RESULTS)}` as the type of a query's result")
            return None
        given["format"] = type.kind
    made = ir.Data(decl.name.text, ctx.place(decl.name.span), type, source, tuple(sorted(given.items())))
    return Block(made, decl.name.span, decl.span, {"source": decl.source.span})


def _path(source: str, given: Given) -> str:
    """The path or address whose ending tells what the data is; "" where none does."""
    if source == "dvc":
        return str(given.get("out") or given["path"]).removesuffix(".dvc")
    if source == "sql" or (source == "huggingface" and "path" not in given):
        return ""
    if source == "deployed" and "://" not in given["name"]:
        return str(given.get("path", ""))
    return str(given.get("path") or given.get("url") or given.get("name") or "")


def _natural(ctx: Context, source: str, path: str, given: Given) -> ir.FileType:
    if source == "path":
        here = ctx.loader.kind(path.rstrip("/") or ".")
        if here == "dir":
            return ir.FileType("dir")
        if here == "file" and infer.kind_of(path) == "path":
            return ir.FileType("file")
    if source == "sql":
        return ir.FileType("csv")
    if source == "huggingface" and not path:
        return ir.FileType("dir")
    if source == "dvc" and "rev" not in given and _is_folder(ctx, given):
        return ir.FileType("dir")
    return infer.type_of(path) if path else ir.FileType("path")


def _is_folder(ctx: Context, given: Given) -> bool:
    """Whether DVC tracks a folder there."""
    if ctx.loader.kind(given["path"]) != "file":
        return False
    hit = dvctracking.in_file(_Loaded(ctx), given["path"], given.get("out"))
    return hit.tracked.is_folder and not hit.inner
