"""An `auth` that nothing uses."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import identity
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP429",
    Severity.WARNING,
    "an `auth` that nothing uses",
    explanation(
        """
        No job takes credentials of this provider: the remote of `cache` is not there (or has `secrets` of its
        own), no data comes from there, and no stage or action says `auth = […]`.
        """,
        """
        auth aws { role = "arn:aws:iam::123456789012:role/ci" }
        cache { remote = "gs://acme-ml/results" }
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        auth aws { role = "arn:aws:iam::123456789012:role/ci" }
        cache { remote = "s3://acme-ml/results" }
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Declared ones."""
    if not facts.typed.auths:
        return
    cache = facts.typed.cache.value if facts.typed.cache else ir.Cache()
    whole = ir.Pipeline("", 1, "", auths=tuple(b.value for b in facts.typed.auths), cache=cache)
    used = {p for step in facts.steps for p in step.value.auth}
    used |= {p for data in facts.typed.data for p in identity.of_data(whole, data.value)}
    used |= {identity.of_remote(whole) or ""}
    for block in facts.typed.auths:
        provider = block.value.provider
        if provider in used:
            continue
        at = identity.provider_of(cache.remote or "") == provider
        help = "its remote has credentials of its own: drop these, or the `auth`" if at else _HELP
        yield Diagnostic.of(
            CHECK, f"nothing uses `auth {provider}`", block.span, help=help.replace("aws", provider)
        )


_HELP = "say `auth = [aws]` in the stage or action that needs it, or drop it"
