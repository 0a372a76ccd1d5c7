"""A GPU runner that no service could provide."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP414",
    Severity.WARNING,
    "a GPU runner that says not where",
    explanation(
        """
        The runner wants a GPU, and says neither which runners of a CI service have one (`github = […]`,
        `gitlab = […]`, `bitbucket = […]`) nor that a machine is to be launched (`cloud = …`). It works on a
        machine of your own that has one; in CI the job would land on a machine without.
        """,
        """
        runner big { gpu = gpu(1, "A10G") }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        runner big {
          gpu    = gpu(1, "A10G")
          github = ["gpu-a10g"]
        }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Runners with `gpu` and neither labels nor `cloud`."""
    for block in facts.typed.runners:
        runner = block.value
        if runner.gpu is not None and runner.cloud is None and not runner.labels:
            yield Diagnostic.of(
                CHECK,
                f"the runner `{runner.name}` wants a GPU, and says not where there is one",
                block.settings.get("gpu", block.span),
                help='name the service\'s runners, as in `github = ["gpu-a10g"]`, or a `cloud`',
            )
