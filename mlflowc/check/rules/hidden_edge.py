"""An input by path that is another stage's output."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, Written, ident, normal
from mlflowc.check.model import Part
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
    """Inputs by path or glob of one step against the outputs of the others: at it, around it, in it."""
    for step in facts.steps:
        for part in step.inputs:
            made = (item for source in part.value.sources for item in facts.read_by(source))
            item = next((i for i in made if i.step.value.id != ident(step)), None)
            if item is not None:
                yield _hidden(part, item)


def _hidden(part: Part[ir.Input], item: Written) -> Diagnostic:
    source, maker, place = part.value.sources[0], item.step.value, part.source or part.span
    reference = f"{maker.name}.{item.part.value.name}"
    same = isinstance(source, ir.PathRef) and normal(source.path) == item.path
    certain = same and not maker.each and not part.value.many and part.source is not None
    read = source.path if isinstance(source, ir.PathRef) else getattr(source, "pattern", item.path)
    message = f"`{item.path}` is made by `{maker.id}`; a path is no edge"
    if not same:
        message = f"`{read}` takes in `{item.path}`, which `{maker.id}` makes; a path is no edge"
    return Diagnostic.of(
        CHECK,
        message,
        place,
        label=f"write `{reference}`" if certain else "a path, not a reference",
        related=(Label(item.part.source or item.part.span, "made here"),),
        help=f"refer to the output: `in {part.value.name} = {reference}`",
        fix=Fix(f"write `{reference}`", (Edit(place, reference),)) if certain else None,
    )
