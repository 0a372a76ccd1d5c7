"""Credentials of a provider that no `auth` describes."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, ident
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir
from mlflowc.span import Span

CHECK = Check(
    "MLP347",
    Severity.ERROR,
    "credentials of a provider that no `auth` describes",
    explanation(
        """
        `auth = [aws]` gives commands, or the fetching of data, short-lived credentials of that provider. As
        whom jobs come there, an `auth` block says: without one, there are none.
        """,
        """
        action deploy {
          auth = [aws]
          run  = "aws s3 sync site s3://acme-site"
        }
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a, deploy] }
        """,
        """
        auth aws { role = "arn:aws:iam::123456789012:role/deploy" }
        action deploy {
          auth = [aws]
          run  = "aws s3 sync site s3://acme-site"
        }
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a, deploy] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Stages, actions and data."""
    known = {block.value.provider for block in facts.typed.auths}
    named: list[tuple[str, tuple[str, ...], Span]] = []
    for step in facts.steps:
        kind = "stage" if isinstance(step.value, ir.Stage) else "action"
        where = step.settings.get("auth", step.span)
        named.append((f"{kind} `{ident(step)}`", step.value.auth, where))
    for data in facts.typed.data:
        given = dict(data.value.args).get("auth")
        if isinstance(given, tuple):
            providers = tuple(str(p) for p in given)
            named.append((f"data `{data.value.name}`", providers, data.settings.get("source", data.span)))
    for what, providers, span in named:
        for provider in providers:
            if provider not in known:
                yield Diagnostic.of(
                    CHECK,
                    f"{what} wants credentials of `{provider}`, and there is no `auth {provider}`",
                    span,
                    help=f"declare it: `auth {provider} {{ … }}`",
                )
