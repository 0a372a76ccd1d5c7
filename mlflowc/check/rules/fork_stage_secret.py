"""A stage with secrets in a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP403",
    Severity.WARNING,
    "a pull request runs a stage with secrets",
    explanation(
        """
        A pull request from a fork gets no secrets, so there this stage fails unless its result is cached;
        and in a branch of the repository, code that nobody has reviewed yet sees the secret. Where the
        secret only serves to fetch data, make it a `data` source: its content is pinned, and fetched by
        trusted jobs. So it is with credentials by `auth`, unless its `pull_request` says as whom pull
        requests come.
        """,
        """
        stage a {
          secrets = [TOKEN]
          out x = "x.csv"
          run = "curl -o {{x}} example.org"
        }
        on pull_request { run = [a] }
        """,
        """
        stage a {
          secrets = [TOKEN]
          out x = "x.csv"
          run = "curl -o {{x}} example.org"
        }
        on push("main") { run = [a] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Stages with secrets among all that `pull_request` needs."""
    secret = {step.value.id: step for step in facts.typed.stages if facts.sensitive(step)}
    if not secret:
        return
    for event in facts.typed.events:
        if event.value.kind != "pull_request":
            continue
        told: set[str] = set()
        for part in event.run:
            for id in sorted(facts.needed(*part.value) & set(secret)):
                step = secret[id]
                if step.value.name in told:
                    continue
                told.add(step.value.name)
                yield Diagnostic.of(
                    CHECK,
                    f"a pull request runs `{step.value.name}`, which has {facts.sensitive(step)[0]}",
                    part.span,
                    label="needed here" if id not in part.value else "started here",
                    related=(Label(facts.given(step), "given here"),),
                    help="a fork has no secrets: there it fails unless its result is cached",
                )
