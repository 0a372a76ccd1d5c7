"""The `auth` blocks, and the providers that `auth = […]` names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlflowc.check import values
from mlflowc.check.context import Context
from mlflowc.check.model import Block
from mlflowc.diagnostic import Label
from mlflowc.ir import model as ir
from mlflowc.ir.identity import PROVIDERS, WHO
from mlflowc.spell import nearest
from mlflowc.syntax import ast

_ARN = re.compile(r"arn:aws(?:-[a-z]+)*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
# Other servers that speak S3 have roles with names of their own.
_ANY_ARN = re.compile(r"arn:[\w-]*:[\w-]*:[\w-]*:[\w-]*:role/[\w+=,.@/:-]+", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_POOL = re.compile(
    r"projects/\d+/locations/global/workloadIdentityPools/[a-z][a-z0-9-]{2,30}[a-z0-9]/providers/[a-z][a-z0-9-]{2,30}[a-z0-9]"
)
_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z0-9.:-]+\.iam\.gserviceaccount\.com")
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d+")
_ADDRESS = re.compile(r"https?://[^\s/?#]+[^\s?#]*")


def _like(pattern: re.Pattern[str], wanted: str, help: str) -> values.Reader:
    def reader(ctx: Context, expr: ast.Expr) -> Any:
        value = values.text(ctx, expr)
        if value is values.BAD or pattern.fullmatch(value):
            return value
        return values.wrong(ctx, expr, wanted, help)

    return reader


def _or_true(reader: values.Reader) -> values.Reader:
    def both(ctx: Context, expr: ast.Expr) -> Any:
        if values.literal(expr) is True:
            return True
        return reader(ctx, expr)

    return both


class _Provider(NamedTuple):
    """Its options, and which must be given."""

    needed: tuple[str, ...]
    readers: Mapping[str, values.Reader]
    example: str


_role = _like(_ARN, "the ARN of a role", 'as in "arn:aws:iam::123456789012:role/ci"')
_any_role = _like(_ANY_ARN, "the ARN of a role", 'as in "arn:minio:iam:::role/ci"')
_id = _like(_UUID, "an id", 'as in "1b4e28ba-2fa1-11d2-883f-0016d3cca427": Entra ID shows it')
_account = _like(_ACCOUNT, "a service account", 'as in "ci-jobs@my-project.iam.gserviceaccount.com"')
_address = _like(_ADDRESS, "an address", 'as in "https://sts.example.org"')
_AWS: dict[str, values.Reader] = {
    "role": _role,
    "region": _like(_REGION, "a region", 'as in "eu-west-1"'),
    "session": _like(_SESSION, "the name of a session", "2 to 64 letters, digits and `+=,.@-_`"),
    "sts": _address,
    "pull_request": _or_true(_role),
    "audience": values.text,
}
_OF: Mapping[str, _Provider] = {
    "aws": _Provider(("role",), _AWS, 'role = "arn:aws:iam::123456789012:role/ci"'),
    "gcp": _Provider(
        ("provider",),
        {
            "provider": _like(
                _POOL,
                "a workload identity provider",
                'as in "projects/123456789/locations/global/workloadIdentityPools/ci-pool/providers/github"',
            ),
            "service_account": _account,
            "pull_request": _or_true(_account),
            "audience": values.text,
        },
        'provider = "projects/123456789/locations/global/workloadIdentityPools/ci-pool/providers/github"',
    ),
    "azure": _Provider(
        ("client_id", "tenant_id"),
        {
            "client_id": _id,
            "tenant_id": _id,
            "authority": _address,
            "pull_request": _or_true(_id),
            "audience": values.text,
        },
        "`az ad app show --id NAME` shows both ids",
    ),
}


def read(ctx: Context) -> tuple[Block[ir.Auth], ...]:
    """The `auth` blocks."""
    found: dict[str, Block[ir.Auth]] = {}
    for decl in ctx.modules.main.tree.decls:
        if not isinstance(decl, ast.BlockDecl) or decl.keyword.text != "auth" or decl.name is None:
            continue
        provider = decl.name.text
        if provider not in _OF:
            expr = ast.NameExpr(decl.name, decl.name.span)
            values.wrong(ctx, expr, "a provider", "`aws`, `gcp` or `azure`")
        elif provider in found:
            related = (Label(found[provider].span, "first given here"),)
            ctx.report(values.TWICE, f"`auth {provider}` stands twice", decl.name.span, related=related)
        else:
            found[provider] = _block(ctx, decl, provider, decl.name)
    return tuple(found.values())


def _block(ctx: Context, decl: ast.BlockDecl, provider: str, name: ast.Name) -> Block[ir.Auth]:
    known = _OF[provider]
    readers = dict(known.readers)
    if any(isinstance(i, ast.Setting) and i.key.text == "sts" for i in decl.items):
        readers |= {"role": _any_role, "pull_request": _or_true(_any_role)}
    what = f"`auth {provider}`"
    settings = values.read(ctx, decl.items, readers, what)
    values.refuse_nested(ctx, decl.items, what)
    for needed in known.needed:
        if needed not in settings.spans:
            help = known.example if needed == known.needed[0] or provider == "azure" else ""
            ctx.report(values.MISSING, f"{what} lacks `{needed}`", name.span, help=help)
    if isinstance(settings.get("pull_request"), str) and provider == "gcp" and not settings.get(WHO["gcp"]):
        ctx.report(
            values.MISSING,
            f"{what} has a service account for pull requests alone",
            settings.spans["pull_request"],
            help="give `service_account`, too; `pull_request = true` lets them in as everybody",
        )
    made = ir.Auth(provider, tuple(sorted(settings.values.items())))
    return Block(made, name.span, decl.span, settings.spans)


def providers(ctx: Context, expr: ast.Expr) -> Any:
    """`[aws, gcp]`: names of providers, sorted."""
    found = values.names(ctx, expr)
    for name, span in () if found is values.BAD else found:
        if name not in PROVIDERS:
            guess = nearest(name, PROVIDERS)
            help = f"did you mean `{guess}`?" if guess else "`aws`, `gcp` or `azure`"
            return values.wrong(ctx, ast.NameExpr(ast.Name(name, span), span), "a provider", help)
    return found if found is values.BAD else tuple(sorted({name for name, _ in found}))
