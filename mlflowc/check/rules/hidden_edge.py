"""An input by path that is another stage's output."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, ident, normal
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Label, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP329",
    Severity.ERROR,
    "an edge hidden in a path",
    explanation(
        """
        The input names a path that a stage writes. Two equal strings are no edge: the types would not be
        checked, and the stages could run in the wrong order. Refer to the output instead.
        """,
        """
        stage a {
          out x = "out/x.csv"
          run = "touch {{x}}"
        }
        stage b {
          in x = "out/x.csv"
          out y = "out/y.csv"
          run = "cp {{x}} {{y}}"
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
    """Inputs by path of one step against the outputs of the others."""
    for step in facts.steps:
        for part in step.inputs:
            for source in part.value.sources:
                if not isinstance(source, ir.PathRef):
                    continue
                item = facts.writer_of(normal(source.path))
                if item is None or item.step.value.id == ident(step):
                    continue
                maker = item.step.value
                plain = not maker.each and item.path == normal(source.path) and not part.value.many
                certain = plain and part.source is not None
                reference = f"{maker.name}.{item.part.value.name}"
                place = part.source or part.span
                yield Diagnostic.of(
                    CHECK,
                    f"`{normal(source.path)}` is made by `{maker.id}`; a path is no edge",
                    place,
                    label=f"write `{reference}`" if plain else "a path, not a reference",
                    related=(Label(item.part.source or item.part.span, "made here"),),
                    help=f"refer to the output: `in {part.value.name} = {reference}`",
                    fix=Fix(f"write `{reference}`", (Edit(place, reference),)) if certain else None,
                )
