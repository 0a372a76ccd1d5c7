"""`code = [...]` that names nothing."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

CHECK = Check(
    "MLP333",
    Severity.ERROR,
    "code that does not exist",
    explanation(
        """
        `code = ["src/"]` says which files decide what the stage does. A path that is not there counts
        nothing, so the stage would not run again when its real code changes.
        """,
        """
        stage a {
          code = ["source/"]
          out x = "x.csv"
          run = "python src/prepare.py {{x}}"
        }
        """,
        """
        stage a {
          code = ["src/"]
          out x = "x.csv"
          run = "python src/prepare.py {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Paths and globs of `code`."""
    for step in facts.typed.stages:
        for path in step.value.code.paths:
            if facts.writer_of(normal(path)) is not None:
                continue
            if bool(facts.loader.glob(path)) if any(c in path for c in "*?[") else facts.exists(path):
                continue
            yield Diagnostic.of(
                CHECK,
                f"`code` of `{step.value.name}` names `{path}`, and there is nothing",
                step.settings.get("code", step.span),
                label="not found",
                help="name the files or folders that the command reads as code",
            )
