"""A secret in the text of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.span import Span

_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # an AWS access key
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}\b"
    r"|\bglpat-[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z0-9]{30,}\b|\bsk-[A-Za-z0-9_-]{32,}"
    r"|\bxox[baprs]-[A-Za-z0-9-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
# One of these stands in every key: looking for them takes a hundredth of the time.
_MARKS = (
    *("AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    *("glpat-", "hf_", "sk-", "xox", "-----BEGIN "),
)
_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:(?P<password>[^/\s@{$]+)@")

CHECK = Check(
    "MLP343",
    Severity.ERROR,
    "a secret is written in the file",
    explanation(
        """
        The text looks like an access key or holds a password in an address. Whoever can read the
        repository, its history and the generated CI files can read it too. Keep it in the CI service's
        secret store and name it in `secrets = [NAME]`; then revoke this one.
        """,
        """
        data feed: csv = url("https://bob:hunter2@example.org/feed.csv")
        stage a {
          in feed
          out x = "x.csv"
          run = "cp {{feed}} {{x}}"
        }
        """,
        """
        data feed: csv = url("https://example.org/feed.csv")
        stage a {
          in feed
          out x = "x.csv"
          run = "cp {{feed}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Every source that was read, parameter files included; comments too, for they are read as well."""
    for name, source in facts.typed.sources.items():
        if any(mark in source.text for mark in _MARKS):
            for match in _KNOWN.finditer(source.text):
                yield _found(Span(name, match.start(), match.end()), "this looks like an access key")
        if "@" in source.text:
            for match in _IN_URL.finditer(source.text):
                yield _found(Span(name, *match.span("password")), "this looks like a password")


def _found(span: Span, what: str) -> Diagnostic:
    return Diagnostic.of(
        CHECK,
        what,
        span,
        label="everyone who can read the repository can read it",
        help="revoke it, keep the new one as a secret of the CI service, and name that in `secrets = [NAME]`",
    )
