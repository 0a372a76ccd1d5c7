"""A stage that writes what it reads."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal, within
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
    """Inputs by path or glob against what the same stage writes or keeps: at it, around it, in it."""
    for step in facts.typed.stages:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.StageOutput):
                    continue
                read = source.path if isinstance(source, ir.PathRef) else getattr(source, "pattern", "")
                own = [i.part for i in facts.read_by(source) if i.step.value.id == step.value.id]
                found = [(o.value.path, o.source or o.span) for o in own]
                found += [(k.value.path, k.source or k.span) for k in step.keeps if _reads(source, k.value)]
                for path, span in found:
                    yield Diagnostic.of(
                        CHECK,
                        f"`{step.value.id}` reads `{read}` and writes `{normal(path)}`",
                        span,
                        label="written here",
                        related=(Label(part.source or part.span, "read here"),),
                        help="write to another path",
                    )


def _reads(source: ir.InputSource, kept: ir.Keep) -> bool:
    """Whether an input by path takes in a kept path, or lies in it."""
    if not isinstance(source, ir.PathRef):
        return False
    read, written = normal(source.path), normal(kept.path)
    return within(read, written) or within(written, read)
