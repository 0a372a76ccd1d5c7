"""A command that starts a script which does not exist."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mlflowc.check.facts import AnyStep, Facts, normal
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir
from mlflowc.spell import nearest

CHECK = Check(
    "MLP331",
    Severity.ERROR,
    "a script that does not exist",
    explanation(
        """
        The command starts a script that is not in the project, and no input brings it. It would fail the
        moment it runs, after everything before it was computed.
        """,
        """
        stage prepare {
          out x = "x.csv"
          run = "python src/prepair.py {{x}}"
        }
        """,
        """
        stage prepare {
          out x = "x.csv"
          run = "python src/prepare.py {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`python FILE`, `bash FILE`, `./FILE` and the like; commands that change their folder are left alone."""
    for step in facts.steps:
        for text in step.texts:
            for word in facts.scripts(text):
                path = normal(posixpath.join(step.value.dir or "", word.text))
                if path.startswith(("/", "..", "~")) or _made(facts, step, path) or facts.exists(path):
                    continue
                ending = posixpath.splitext(path)[1]
                guess = nearest(path, facts.loader.glob(f"**/*{ending}"))
                yield Diagnostic.of(
                    CHECK,
                    f"`{step.value.name}` starts `{word.text}`, and there is no such file",
                    word.span,
                    label="not found",
                    help=f"did you mean `{guess}`?" if guess else "write the script, or mend its path",
                )


def _made(facts: Facts, step: AnyStep, path: str) -> bool:
    """Whether a stage or an input brings the script."""
    if facts.writer_of(path) is not None:
        return True
    return any(
        isinstance(source, ir.PathRef) and normal(source.path) == path
        for part in step.inputs
        for source in part.value.sources
    )
