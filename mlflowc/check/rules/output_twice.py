"""Two outputs at one path."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP320",
    Severity.ERROR,
    "an output is written twice",
    explanation(
        """
        Two outputs have the same path. Whichever stage runs last decides what the other one's consumers
        read, so the result depends on the order of running. Give each output a path of its own; in a stage
        with `each`, put the variable into the path.
        """,
        """
        stage a {
          out x = "out/data.csv"
          run = "touch {{x}}"
        }
        stage b {
          out y = "out/data.csv"
          run = "touch {{y}}"
        }
        """,
        """
        stage a {
          out x = "out/a.csv"
          run = "touch {{x}}"
        }
        stage b {
          out y = "out/b.csv"
          run = "touch {{y}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Compares normalised paths, so `a/../b` and `b` are the same."""
    for item in facts.written:
        first = facts.writers[item.path]
        if first is item:
            continue
        place = item.part.source or item.part.span
        there = first.part.source or first.part.span
        help = "give each output a path of its own"
        related: tuple[Label, ...] = ()
        if place == there:
            if item.step.value.name == first.step.value.name:
                continue  # instances of one `each`: found where they are spread out
            # Both are made of one component, whose path does not tell them apart.
            related = (Label(place, "the path of both"),)
            place, there = item.step.span, first.step.span
            name = item.part.value.name
            help = f'put `{{{{stage}}}}` into the component\'s path, or bind it here: `{name} = "…"`'
        yield Diagnostic.of(
            CHECK,
            f"`{item.step.value.id}.{item.part.value.name}` and "
            f"`{first.step.value.id}.{first.part.value.name}` both write `{item.path}`",
            place,
            label="written again here",
            related=(Label(there, "written here"), *related),
            help=help,
        )
