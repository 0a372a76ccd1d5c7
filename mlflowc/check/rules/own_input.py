"""A stage that writes what it reads."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal, places, within
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP326",
    Severity.ERROR,
    "a stage writes its own input",
    explanation(
        """
        The stage reads a path and writes it too. Its input then changes each time it runs, so it is never
        up to date, and what it reads is its own last result.
        """,
        """
        stage clean {
          in raw = "data/raw.csv"
          out x: dir = "data"
          run = "sort {{raw}} -o {{raw}}"
        }
        """,
        """
        stage clean {
          in raw = "data/raw.csv"
          out x = "out/sorted.csv"
          run = "sort {{raw}} -o {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Inputs by path against the same stage's outputs and kept paths, either inside the other."""
    for step in facts.typed.stages:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.PathRef):
                    read = normal(source.path)
                elif isinstance(source, ir.GlobRef):
                    read = _fixed(source.pattern)
                else:
                    continue
                for target in places(step):
                    written = normal(target.value.path)
                    inside = within(read, written) or (
                        isinstance(source, ir.PathRef) and within(written, read)
                    )
                    if inside:
                        yield Diagnostic.of(
                            CHECK,
                            f"`{step.value.id}` reads `{read}` and writes `{written}`",
                            target.source or target.span,
                            label="written here",
                            related=(Label(part.source or part.span, "read here"),),
                            help="write to another path",
                        )


def _fixed(pattern: str) -> str:
    """The folder of a glob before its first wildcard."""
    parts = []
    for part in pattern.split("/"):
        if any(c in part for c in "*?["):
            break
        parts.append(part)
    return normal("/".join(parts)) or "."
