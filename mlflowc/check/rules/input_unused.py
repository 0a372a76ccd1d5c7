"""An input that the command does not read."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal, placed
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP409",
    Severity.WARNING,
    "an input that the command does not read",
    explanation(
        """
        The stage waits for this input and runs again when it changes, but the command names neither it nor
        its path, and starts no program that could read it unasked. For order without data there is `after`.
        """,
        """
        data raw = "data/raw.csv"
        stage a {
          in raw
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        data raw = "data/raw.csv"
        stage a {
          in raw
          out x = "x.csv"
          run = "cp {{raw}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Steps whose command lines say all that they read."""
    for step in facts.steps:
        if not step.inputs or not facts.visible(step):
            continue
        used = placed(step, "input")
        for part in step.inputs:
            if part.value.name in used:
                continue
            words = [word.text for text in step.texts for word in facts.command(text).words]
            paths = [p for source in part.value.sources if (p := _path(facts, source))]
            if any(path in word for path in paths for word in words) or not paths:
                continue
            yield Diagnostic.of(
                CHECK,
                f"the command of `{step.value.name}` does not read `{part.value.name}`",
                part.span,
                help=f"write `{{{{{part.value.name}}}}}` where it is read; for order alone, use `after`",
            )


def _path(facts: Facts, source: ir.InputSource) -> str | None:
    """Where the input lies, or None where that is not known before it is fetched."""
    match source:
        case ir.PathRef(path):
            return normal(path)
        case ir.StageOutput(stage, output):
            step = facts.stages.get(stage)
            found = (
                next((o.value.path for o in step.outputs if o.value.name == output), None) if step else None
            )
            return normal(found) if found else None
        case ir.DataRef(data):
            block = next((b for b in facts.typed.data if b.value.name == data), None)
            if block is None or block.value.source != "path":
                return None
            return normal(str(dict(block.value.args).get("path", ""))) or None
        case _:
            return None
