"""An effect with secrets that a pull request starts."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP339",
    Severity.ERROR,
    "a pull request starts an action with secrets",
    explanation(
        """
        An action that publishes or deploys with a secret runs on `pull_request`, so code that nobody has
        reviewed yet decides what is done with the secret. From a fork it gets no secret, and fails. Start
        it on `push("main")`, or on `tag(…)`, where the code was reviewed. The same holds for credentials by
        `auth`, unless its `pull_request` says as whom pull requests come.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        action publish {
          in a.x
          secrets = [TOKEN]
          run = "curl -F file=@{{x}} example.org"
        }
        on pull_request { run = [publish] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        action publish {
          in a.x
          secrets = [TOKEN]
          run = "curl -F file=@{{x}} example.org"
        }
        on push("main") { run = [publish] }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Actions with secrets among those that `pull_request` names."""
    actions = {step.value.name: step for step in facts.typed.actions if facts.sensitive(step)}
    for event in facts.typed.events:
        if event.value.kind != "pull_request":
            continue
        for part in event.run:
            for name in part.value:
                step = actions.get(name)
                if step is None:
                    continue
                what = facts.sensitive(step)
                yield Diagnostic.of(
                    CHECK,
                    f"anyone who opens a pull request starts `{name}`, which has {', '.join(what)}",
                    part.span,
                    label="started here",
                    related=(Label(facts.given(step), "given here"),),
                    help='run it on `push("main")` or `tag("v*")`',
                )
