"""A kept path that something else uses."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal
from mlflowc.check.model import Part, Step
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP327",
    Severity.ERROR,
    "a kept path is also something else",
    explanation(
        """
        What `keep` names lives on between runs and is never part of a result. If it overlaps an output,
        part of the result would be left over from an earlier run; if two stages keep the same path, they
        spoil each other's checkpoints.
        """,
        """
        stage train {
          out model: dir = "models"
          keep ckpt = "models/checkpoints"
          run = "mkdir -p {{model}} {{ckpt}}"
        }
        """,
        """
        stage train {
          out model: dir = "models"
          keep ckpt = "checkpoints"
          run = "mkdir -p {{model}} {{ckpt}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Kept paths against all outputs and all other kept paths."""
    kept: dict[str, tuple[Step[ir.Stage], Part[ir.Keep]]] = {}
    for step in facts.typed.stages:
        for part in step.keeps:
            path = normal(part.value.path)
            item = facts.writer_of(path) or next(facts.inside(path), None)
            if item is not None:
                yield Diagnostic.of(
                    CHECK,
                    f"`{path}` is kept by `{step.value.id}` and overlaps the output "
                    f"`{item.step.value.id}.{item.part.value.name}`",
                    part.source or part.span,
                    label="kept",
                    related=(Label(item.part.source or item.part.span, "an output"),),
                    help="keep it in a folder of its own",
                )
            other = kept.setdefault(path, (step, part))
            if other[1] is not part and other[1].whole != part.whole:
                yield from _twice(path, step, part, *other)


def _twice(
    path: str, step: Step[ir.Stage], part: Part[ir.Keep], other: Step[ir.Stage], first: Part[ir.Keep]
) -> Iterator[Diagnostic]:
    place, there = part.source or part.span, first.source or first.span
    yield Diagnostic.of(
        CHECK,
        f"`{other.value.id}` and `{step.value.id}` keep `{path}`"
        if other is not step
        else f"`{step.value.id}` keeps `{path}` twice",
        place,
        label="kept again",
        related=(Label(there, "kept here"),),
        help="give each a path of its own",
    )
