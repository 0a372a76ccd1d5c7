"""A parameter that a stage declares and its command does not use."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, placed, whole_line
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity, explanation

CHECK = Check(
    "MLP408",
    Severity.WARNING,
    "a parameter that the command does not use",
    explanation(
        """
        The stage declares a parameter, so it runs again when the parameter changes, but its command does
        not use it and starts no program that could read it from a file. Only commands of plain tools (`cp`,
        `sort`, `curl`, …) are looked at: a script may read the parameter file by itself.
        """,
        """
        param lines: int = 10
        data raw = "data/raw.csv"
        stage top {
          in raw
          param lines
          out x = "x.csv"
          run = "head {{raw}} > {{x}}"
        }
        """,
        """
        param lines: int = 10
        data raw = "data/raw.csv"
        stage top {
          in raw
          param lines
          out x = "x.csv"
          run = "head -n {{params.lines}} {{raw}} > {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Steps whose command lines say all that they read."""
    for step in facts.steps:
        if not step.params or not facts.visible(step):
            continue
        used = placed(step, "param")
        words = {word.text for text in step.texts for word in facts.command(text).words}
        files = {p.value.file for p in facts.typed.params if p.value.name in step.value.params}
        if words & {f for f in files if f}:
            continue
        for part in step.params:
            if used.intersection(part.value):
                continue
            source = facts.typed.sources.get(part.whole.file)
            written = source.text[part.span.start : part.span.end] if source else ", ".join(part.value)
            edit = Edit(whole_line(part.whole, source.text), "") if source else None
            alone = edit is not None and edit.span != part.whole
            yield Diagnostic.of(
                CHECK,
                f"the command of `{step.value.name}` does not use `{written}`",
                part.span,
                label="makes it run again for nothing",
                help=f"use `{{{{params.{part.value[0]}}}}}` in `run`, or drop it"
                if part.value
                else "drop it",
                fix=Fix("drop the parameter", (edit,)) if edit is not None and alone else None,
            )
