"""An output at a place that belongs to Git, to this tool or to the project itself."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal, places, within
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_RESERVED = {
    ".git": "is Git's",
    ".mlpipe": "is where results are stored",
    "mlpipe-bundles": "is where jobs hand over results",
    "mlpipe.lock": "is the lock file",
}

CHECK = Check(
    "MLP323",
    Severity.ERROR,
    "an output at a reserved place",
    explanation(
        """
        `.git`, `.mlpipe`, `mlpipe-bundles` and `mlpipe.lock` belong to Git and to mlpipec, and the project
        folder as a whole belongs to you. An output there would destroy what makes results reproducible.
        """,
        """
        stage a {
          out x = ".mlpipe/data.csv"
          run = "touch {{x}}"
        }
        """,
        """
        stage a {
          out x = "data/data.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Outputs and kept paths, in and around the reserved places."""
    for step in facts.typed.stages:
        for part in places(step):
            path = normal(part.value.path)
            place = part.source or part.span
            for reserved, why in _RESERVED.items():
                if within(path.casefold(), reserved):
                    yield Diagnostic.of(
                        CHECK,
                        f"`{path}` is not a place for results",
                        place,
                        label=f"`{reserved}` {why}",
                        help="write to a folder of your own, such as `data/` or `models/`",
                    )
