"""A parameter set for an event that runs nothing which depends on it."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.span import Span

CHECK = Check(
    "MLP404",
    Severity.WARNING,
    "a parameter that changes nothing under an event",
    explanation(
        """
        The event sets a parameter, or asks a person for it, but nothing that it runs depends on it: no
        stage among all that is needed declares it with `param`.
        """,
        """
        param train.epochs: int = 10
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on pull_request {
          run = [a]
          with { train.epochs = 3 }
        }
        """,
        """
        param train.epochs: int = 10
        stage a {
          param train.epochs
          out x = "x.csv"
          run = "echo {{params.train.epochs}} > {{x}}"
        }
        on pull_request {
          run = [a]
          with { train.epochs = 3 }
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`with` and `input` against the parameters of all that the event needs."""
    actions = {step.value.name: step.value.params for step in facts.typed.actions}
    for event in facts.typed.events:
        named: list[tuple[str, Span]] = [(p.value, p.span) for p in event.params]
        named += [(p.value.name, p.span) for p in event.inputs]
        if not named:
            continue
        names = {name for part in event.run for name in part.value}
        needed = facts.needed(*names)
        params = {p for id in needed for p in facts.stages[id].value.params}
        params |= {p for name in names for p in actions.get(name, ())}
        params |= _shown(facts, names)
        for name, span in named:
            if name not in params:
                yield Diagnostic.of(
                    CHECK,
                    f"nothing that this event runs depends on `{name}`",
                    span,
                    help=f"declare `param {name}` in the stage that reads it, or drop it here",
                )


def _shown(facts: Facts, names: set[str]) -> set[str]:
    """Parameters that a gate or report of these names."""
    blocks = [b.whole for b in facts.typed.gates if b.value.name in names]
    blocks += [b.whole for b in facts.typed.reports if b.value.name in names]
    return {
        r.name
        for r in facts.typed.references
        if r.kind == "param"
        and any(b.file == r.span.file and b.start <= r.span.start < b.end for b in blocks)
    }
