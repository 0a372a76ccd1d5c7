"""`{name}` or `${{name}}` where a placeholder was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import AnyStep, Facts, places
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Severity, explanation
from mlflowc.span import Span

_SINGLE = re.compile(r"(?<![{$\w\\])\{\s*([a-z][a-z0-9_.]*)\s*\}(?!\})")
_OPENED = re.compile(r"\{\{\s*([a-z][a-z0-9_.]*)(\}?)(?![\w.}]|\s*\}\})")
_DOLLAR = re.compile(r"\$\{\{")

CHECK = Check(
    "MLP412",
    Severity.WARNING,
    "braces that make no placeholder",
    explanation(
        """
        A placeholder has two braces on each side. `{x}` reaches the command as it stands, and in `${{x}}`
        the `$` stays in front of the value.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {x}"
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
    """Single braces around a name that the step has, and `$` before a placeholder."""
    for step in facts.steps:
        for text in step.texts:
            source = facts.typed.sources.get(text.span.file)
            if source is None:
                continue
            for match in _DOLLAR.finditer(source.text, text.span.start, text.span.end):
                dollar = Span(text.span.file, match.start(), match.start() + 1)
                yield Diagnostic.of(
                    CHECK,
                    "a placeholder has no `$`",
                    dollar,
                    help="take the `$` away",
                    fix=Fix("take the `$` away", (Edit(dollar, ""),)),
                )
            for match in _OPENED.finditer(source.text, text.span.start, text.span.end):
                if match[1].partition(".")[0] not in {n.partition(".")[0] for n in _names(step)}:
                    continue
                end = Span(text.span.file, match.end(), match.end())
                yield Diagnostic.of(
                    CHECK,
                    f"`{match[0]}` is not closed, and reaches the command as it stands",
                    Span(text.span.file, *match.span()),
                    help=f"a placeholder is `{{{{{match[1]}}}}}`",
                    fix=Fix(f"write `{{{{{match[1]}}}}}`", (Edit(end, "}" * (2 - len(match[2]))),)),
                )
            for match in _SINGLE.finditer(source.text, text.span.start, text.span.end):
                if match[1] not in _names(step):
                    continue
                span = Span(text.span.file, *match.span())
                yield Diagnostic.of(
                    CHECK,
                    f"`{match[0]}` reaches the command as it stands",
                    span,
                    help=f"a placeholder is `{{{{{match[1]}}}}}`",
                    fix=Fix(f"write `{{{{{match[1]}}}}}`", (Edit(span, f"{{{{{match[1]}}}}}"),)),
                )


def _names(step: AnyStep) -> set[str]:
    """What a placeholder of the step may name."""
    names = {part.value.name for part in step.inputs} | {part.value.name for part in places(step)}
    return names | {f"params.{name}" for name in step.value.params}
