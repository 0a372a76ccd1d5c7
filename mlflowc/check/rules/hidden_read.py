"""A command that reads another stage's output without saying so."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import AnyStep, Facts, ident, normal
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP417",
    Severity.WARNING,
    "a command reads what is no input",
    explanation(
        """
        The command names a path that another stage writes, and the stage does not take it as input. The
        stages may run in the wrong order or at the same time, and a change of the file does not run this
        stage again.
        """,
        """
        stage a {
          out x = "out/x.csv"
          run = "touch {{x}}"
        }
        stage b {
          out y = "out/y.csv"
          run = "cp out/x.csv {{y}}"
        }
        """,
        """
        stage a {
          out x = "out/x.csv"
          run = "touch {{x}}"
        }
        stage b {
          in x = a.x
          out y = "out/y.csv"
          run = "cp {{x}} {{y}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Whole words only; a command in a folder of its own counts from there."""
    for step in facts.steps:
        taken: set[tuple[str, str]] | None = None
        for text in step.texts:
            for word in facts.command(text).words:
                # Most words are no paths, and normal as they are.
                path = normal(word.text) if "/" in word.text else word.text
                item = facts.writers.get(path) if path and not word.open else None
                if item is None or item.step.value.id == ident(step) or step.value.dir:
                    continue
                taken = _taken(step) if taken is None else taken
                if (item.step.value.id, item.part.value.name) in taken:
                    continue
                maker, name = item.step.value.name, item.part.value.name
                yield Diagnostic.of(
                    CHECK,
                    f"`{step.value.name}` reads `{word.text}` of `{maker}`, and has no such input",
                    word.span,
                    label="no input",
                    related=(Label(item.part.source or item.part.span, "made here"),),
                    help=f"declare `in {name} = {maker}.{name}` and write `{{{{{name}}}}}`",
                )


def _taken(step: AnyStep) -> set[tuple[str, str]]:
    return {
        (source.stage, source.output)
        for part in step.inputs
        for source in part.value.sources
        if isinstance(source, ir.StageOutput)
    }
