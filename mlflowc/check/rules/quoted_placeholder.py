"""A placeholder between quotes."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity, explanation
from mlflowc.span import Span

CHECK = Check(
    "MLP411",
    Severity.WARNING,
    "a placeholder is quoted twice",
    explanation(
        """
        A placeholder's value is quoted for the shell already. Between quotes of your own, a value with a
        space arrives with quotes in it: `"{{x}}"` gives `"'my file.csv'"`, and there is no such file.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch '{{x}}'"
        }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Placeholders that stand between the shell's quotes; parameters that are numbers never need any."""
    numbers = {p.value.name for p in facts.typed.params if p.value.type.name in ("int", "float", "bool")}
    for step in facts.steps:
        for text in step.texts:
            safe = {s.span.start for s in text.slots if s.value.kind == "param" and s.value.name in numbers}
            source = facts.typed.sources.get(text.span.file)
            for found in facts.command(text).quoted:
                if source is None or any(found.span.start <= at < found.span.end for at in safe):
                    continue
                yield Diagnostic.of(
                    CHECK,
                    "the value of a placeholder is quoted for the shell already",
                    found.span,
                    label="between quotes",
                    help="take the quotes away",
                    fix=_fix(source.text, found.span, found.quote),
                )


def _fix(text: str, span: Span, quote: str) -> Fix | None:
    """Certain where the quotes hold the placeholder and nothing else."""
    mark = f"\\{quote}" if text.startswith(f"\\{quote}", span.end) else quote
    before = Span(span.file, span.start - len(mark), span.start)
    after = Span(span.file, span.end, span.end + len(mark))
    if text[before.start : before.end] != mark or text[after.start : after.end] != mark:
        return None
    outer = text[before.start - 1 : before.start] + text[after.end : after.end + 1]
    if any(not (c.isspace() or c in '"=;|&()<>') for c in outer):
        return None
    return Fix("take the quotes away", (Edit(before, ""), Edit(after, "")))
