"""The blocks around the stages: `env`, `runner`, `cache`, `ci`."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from mlflowc.check import values
from mlflowc.check.context import Context
from mlflowc.check.model import Block
from mlflowc.diagnostic import Label
from mlflowc.ir import model as ir
from mlflowc.resolve.scope import Entry
from mlflowc.syntax import ast

_VERSION = re.compile(r"\d+(\.\d+){0,2}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROVIDERS = ("aws", "gcp", "azure", "kubernetes", "slurm")
_WAYS = ("requirements", "lock", "conda", "image")


def _version(ctx: Context, expr: ast.Expr) -> Any:
    expr = values.bare(expr)
    if isinstance(expr, ast.Num):
        # 3.10 as a number would be 3.1: say so instead of guessing.
        return values.wrong(ctx, expr, "a string", f'write "{expr.raw}"', values.quoted(expr.span, expr.raw))
    value = values.text(ctx, expr)
    if value is values.BAD or _VERSION.fullmatch(value):
        return value
    return values.wrong(ctx, expr, "a version of Python", 'such as "3.11"')


_ENV = {
    "python": _version,
    "requirements": values.path,
    "lock": values.path,
    "conda": values.path,
    "image": values.text,
    "pass": values.names,
}
_CI = {
    "install": values.text,
    "python": _version,
    "branch": values.text,
    "comments": values.boolean,
    "statuses": values.boolean,
}
# Base64 of the 32 bytes of an Ed25519 key.
_PUBLIC_KEY = re.compile(r"ed25519:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")


def _public_keys(ctx: Context, expr: ast.Expr) -> Any:
    found = values.texts(ctx, expr)
    for key in () if found is values.BAD else found:
        if key.startswith("mlpipe-secret-"):
            help = (
                "whoever can read this file can sign: make another key, and keep the secret part out of here"
            )
            return values.wrong(ctx, expr, "a public key, not the secret one,", help)
        if not _PUBLIC_KEY.fullmatch(key):
            help = 'as in `keys = ["ed25519:…"]`; `mlpipec cache key new` makes a key and prints that'
            return values.wrong(ctx, expr, "a public key", help)
    return found


def secret_names(ctx: Context, expr: ast.Expr) -> Any:
    """Names of secrets, as a tuple of (name, span)."""
    found = values.names(ctx, expr)
    for name, _ in () if found is values.BAD else found:
        if not _VARIABLE.fullmatch(name):
            return values.wrong(ctx, expr, "the name of a secret", "as in `[AWS_SECRET_ACCESS_KEY]`")
    return found


_LINK_HELP = "`copy` for outputs that may be written by hand; without `link`, the disk decides"

_CACHE: dict[str, values.Reader] = {
    "remote": values.text,
    "write": values.one_of("trusted", "all", "none"),
    "keys": _public_keys,
    "require_signature": values.boolean,
    "secrets": secret_names,
    "folder": values.text,
    "link": values.one_of("auto", "reflink", "hardlink", "copy", help=_LINK_HELP),
}


class Blocks:
    """The envs and runners of the pipeline, by declaration; those of used files count where they are used."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._names: dict[tuple[str, str, str], str] = {}
        self.envs: dict[str, Block[ir.Env]] = {}
        self.runners: dict[str, Block[ir.Runner]] = {}
        for decl in ctx.modules.main.tree.decls:
            if (
                isinstance(decl, ast.BlockDecl)
                and decl.name is not None
                and decl.keyword.text in ("env", "runner")
            ):
                entry = ctx.main.space(decl.keyword.text).get(decl.name.text)
                if entry is not None and entry.decl is decl:
                    self.name(entry)

    def name(self, entry: Entry) -> str:
        """The name in the IR of an env or a runner; it is read when it is first asked for."""
        key = (entry.kind, entry.module, entry.name)
        if key not in self._names:
            taken = self.envs if entry.kind == "env" else self.runners
            name = self._names[key] = self._free(entry, dict.fromkeys(taken))
            if entry.kind == "env":
                self.envs[name] = _env(self._ctx, entry, name)
            else:
                self.runners[name] = _runner(self._ctx, entry, name)
        return self._names[key]

    def _free(self, entry: Entry, taken: dict[str, None]) -> str:
        seen = self._ctx.main.space(entry.kind).get(entry.name)
        if seen is not None and seen.decl is entry.decl:
            return entry.name
        stem = posixpath.basename(entry.module).removesuffix(".mlpipe")
        name, n = f"{stem}.{entry.name}", 1
        while name in taken:
            n += 1
            name = f"{stem}.{entry.name}_{n}"
        return name


def _env(ctx: Context, entry: Entry, name: str) -> Block[ir.Env]:
    decl = entry.decl
    assert isinstance(decl, ast.BlockDecl)
    block = f"env `{entry.name}`"
    found = values.read(ctx, decl.items, _ENV, block)
    values.refuse_nested(ctx, decl.items, block, ("vars",))
    ways = [w for w in _WAYS if w in found.spans]
    if len(ways) > 1:
        related = (Label(found.spans[ways[0]], f"`{ways[0]}` is given here"),)
        ctx.report(
            values.VALUE,
            f"an env has one of {', '.join(f'`{w}`' for w in _WAYS)}",
            found.spans[ways[1]],
            related=related,
            help="drop one of them",
        )
    made = ir.Env(
        name,
        ctx.place(entry.span),
        found.get("python"),
        found.get("requirements"),
        found.get("lock"),
        found.get("conda"),
        found.get("image"),
        tuple(sorted(_vars(ctx, decl.items).items())),
        tuple(sorted({n for n, _ in found.get("pass", ())})),
    )
    return Block(made, entry.span, decl.span, found.spans)


def _vars(ctx: Context, items: tuple[ast.Item, ...]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for item in items:
        if not isinstance(item, ast.Nested) or item.name.text != "vars":
            continue
        values.refuse_nested(ctx, item.items, "`vars`")
        for setting in item.items:
            if not isinstance(setting, ast.Setting):
                continue
            name = setting.key.text
            value = values.literal(setting.value)
            if not _VARIABLE.fullmatch(name):
                values.wrong(
                    ctx, ast.NameExpr(setting.key.parts[0], setting.key.span), "the name of a variable"
                )
            elif name in variables:
                ctx.report(
                    values.TWICE, f"`{name}` is given twice", setting.key.span, help="keep one of them"
                )
            elif isinstance(value, bool) or not isinstance(value, str | int | float):
                values.wrong(ctx, setting.value, "a string", 'as in `KEY = "value"`')
            else:
                variables[name] = value if isinstance(value, str) else str(value)
    return variables


# --- runners -----------------------------------------------------------------------------------


def _labels(ctx: Context, expr: ast.Expr) -> Any:
    labels = values.texts(ctx, expr)
    if labels is not values.BAD and (not labels or not all(label.strip() for label in labels)):
        return values.wrong(ctx, expr, "at least one label")
    return labels


def _gpu(ctx: Context, expr: ast.Expr) -> Any:
    """`1`, `gpu(1, "A10G", memory = 24GiB)`."""
    expr = values.bare(expr)
    if isinstance(expr, ast.Num):
        count = values.integer(1, 64)(ctx, expr)
        return values.BAD if count is values.BAD else ir.Gpu(count)
    if not isinstance(expr, ast.CallExpr) or called(expr) != "gpu":
        return values.wrong(ctx, expr, "a number of GPUs", 'as in `gpu(1, "A10G", memory = 24GiB)`')
    table = {"count": values.integer(1, 64), "model": values.text, "memory": values.size}
    given = arguments(ctx, expr, ("count", "model"), table, "gpu")
    return (
        ir.Gpu(given.get("count", 1), given.get("model"), given.get("memory"))
        if given is not None
        else values.BAD
    )


def _cloud(ctx: Context, expr: ast.Expr) -> Any:
    expr = values.bare(expr)
    call = expr if isinstance(expr, ast.CallExpr) else None
    provider = called(call) if call else expr.name.text if isinstance(expr, ast.NameExpr) else ""
    if provider not in _PROVIDERS:
        return values.wrong(ctx, expr, "a provider", ", ".join(f"`{p}(…)`" for p in _PROVIDERS))
    options: dict[str, ir.Value] = {}
    for argument in call.args if call else ():
        if argument.name is None:
            return values.wrong(
                ctx, argument.value, "an option with its name", 'as in `region = "eu-west-1"`'
            )
        value = values.any_literal(ctx, argument.value)
        if value is not values.BAD:
            options[argument.name.text] = value
    return ir.Cloud(provider, tuple(sorted(options.items())))


def called(expr: ast.CallExpr) -> str:
    """The name of the function that is called; "" where that is no plain name."""
    return expr.function.name.text if isinstance(expr.function, ast.NameExpr) else ""


def arguments(
    ctx: Context,
    call: ast.CallExpr,
    order: tuple[str, ...],
    table: dict[str, values.Reader],
    what: str,
) -> dict[str, Any] | None:
    """The arguments of a call by name, positional ones by `order`; None with a diagnostic where one is
    wrong."""
    given: dict[str, Any] = {}
    good = True
    for n, argument in enumerate(call.args):
        name = argument.name.text if argument.name else order[n] if n < len(order) else ""
        if not name:
            values.wrong(ctx, argument.value, f"no further argument of `{what}`")
            good = False
        elif name not in table:
            assert argument.name is not None
            values.unknown_setting(ctx, argument.name, f"`{what}(…)`", table)
            good = False
        elif name in given:
            ctx.report(values.TWICE, f"`{name}` is given twice", argument.span, help="keep one of them")
            good = False
        else:
            given[name] = table[name](ctx, argument.value)
            good = good and given[name] is not values.BAD
    return given if good else None


_RUNNER = {
    "cpu": values.integer(1),
    "memory": values.size,
    "disk": values.size,
    "gpu": _gpu,
    "timeout": values.duration,
    "cloud": _cloud,
    "github": _labels,
    "gitlab": _labels,
    "bitbucket": _labels,
    "price": values.amount,
}


def _runner(ctx: Context, entry: Entry, name: str) -> Block[ir.Runner]:
    decl = entry.decl
    assert isinstance(decl, ast.BlockDecl)
    found = values.read(ctx, decl.items, _RUNNER, f"runner `{entry.name}`")
    values.refuse_nested(ctx, decl.items, f"runner `{entry.name}`")
    get = found.get
    labels = tuple((s, get(s)) for s in ("bitbucket", "github", "gitlab") if get(s))
    made = ir.Runner(
        name, ctx.place(entry.span), get("cpu"), get("memory"), get("disk"), get("gpu"), get("timeout"),
        get("cloud"), labels, get("price"),
    )  # fmt: skip
    return Block(made, entry.span, decl.span, found.spans)


# --- the rest ----------------------------------------------------------------------------------


def cache(ctx: Context) -> Block[ir.Cache] | None:
    """The `cache` block."""
    decl = _only(ctx, "cache")
    if decl is None:
        return None
    found = _open_settings(ctx, decl, _CACHE)
    for needy, needed in (("require_signature", "keys"), ("secrets", "remote")):
        if found.get(needy) and needed not in found.spans:
            message = f"`{needy}` says nothing without `{needed}`"
            ctx.report(values.MISSING, message, found.spans[needy], help=f"add `{needed} = …`")
    made = ir.Cache(
        found.get("remote"),
        found.get("write", "trusted"),
        tuple(sorted((k, v) for k, v in found.values.items() if k not in _CACHE)),
        tuple(dict.fromkeys(found.get("keys", ()))),
        found.get("require_signature", bool(found.get("keys"))),
        tuple(dict.fromkeys(name for name, _ in found.get("secrets", ()))),
        found.get("folder"),
        found.get("link", "auto"),
    )
    return Block(made, decl.keyword.span, decl.span, found.spans)


def ci(ctx: Context) -> Block[ir.Ci] | None:
    """The `ci` block."""
    decl = _only(ctx, "ci")
    if decl is None:
        return None
    found = values.read(ctx, decl.items, _CI, "`ci`")
    values.refuse_nested(ctx, decl.items, "`ci`")
    made = ir.Ci(
        found.get("install"),
        found.get("python", "3.11"),
        found.get("branch", "main"),
        found.get("comments", True),
        found.get("statuses", True),
    )
    return Block(made, decl.keyword.span, decl.span, found.spans)


def _open_settings(ctx: Context, decl: ast.BlockDecl, table: dict[str, values.Reader]) -> values.Settings:
    """The settings of a block whose keys its provider decides: any literal will do for those not in
    `table`."""
    keys = [i.key.text for i in decl.items if isinstance(i, ast.Setting)]
    values.refuse_nested(ctx, decl.items, f"`{decl.keyword.text}`")
    return values.read(
        ctx, decl.items, {**dict.fromkeys(keys, values.any_literal), **table}, f"`{decl.keyword.text}`"
    )


def _only(ctx: Context, keyword: str) -> ast.BlockDecl | None:
    found = [
        d for d in ctx.modules.main.tree.decls if isinstance(d, ast.BlockDecl) and d.keyword.text == keyword
    ]
    for second in found[1:]:
        related = (Label(found[0].keyword.span, "first given here"),)
        ctx.report(
            values.TWICE,
            f"`{keyword}` stands twice",
            second.keyword.span,
            related=related,
            help="join the two",
        )
    return found[0] if found else None
