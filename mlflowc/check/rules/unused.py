"""A declaration that nothing uses."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.span import Span
from mlflowc.syntax import ast

CHECK = Check(
    "MLP407",
    Severity.WARNING,
    "a declaration that nothing uses",
    explanation(
        """
        Nothing refers to this `env`, `runner`, `type`, `data`, `component` or `param`. Either it is left
        over, or a stage was meant to use it: a stage without `env = …` runs in the host's environment.
        """,
        """
        env py { requirements = "requirements.txt" }
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        env py { requirements = "requirements.txt" }
        stage a {
          env = py
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)

_HELP = {
    "env": "write `env = {}` in a stage, or take it away",
    "runner": "write `runner = {}` in a stage, or take it away",
    "type": "write `: {}` behind an input or output, or take it away",
    "data": "write `in {}` in a stage, or take it away",
    "component": "write `stage NAME = {} {{ … }}`, or take it away",
    "param": "write `param {}` in the stage that reads it, or take it away",
}


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Declarations of the main file only: a file that is used may hold more than one pipeline needs."""
    targets = {reference.target for reference in facts.typed.references}
    params = {p for step in facts.steps for p in step.value.params}
    params |= facts.used("param")
    for kind, name, span in _declared(facts):
        if span in targets or (kind == "param" and name in params):
            continue
        yield Diagnostic.of(CHECK, f"nothing uses the {kind} `{name}`", span, help=_HELP[kind].format(name))


def _declared(facts: Facts) -> Iterator[tuple[str, str, Span]]:
    for decl in facts.typed.files[0].decls if facts.typed.files else ():
        match decl:
            case ast.BlockDecl(keyword=keyword, name=ast.Name() as name) if keyword.text in (
                "env",
                "runner",
                "component",
            ):
                yield keyword.text, name.text, name.span
            case ast.TypeDecl(name=name):
                yield "type", name.text, name.span
            case ast.DataDecl(name=name):
                yield "data", name.text, name.span
            case ast.ParamDecl(item=item):
                yield "param", item.name.text, item.name.span
            case _:
                pass
