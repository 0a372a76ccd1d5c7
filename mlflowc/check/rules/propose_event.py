"""An event that could never propose its results."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation

CHECK = Check(
    "MLP346",
    Severity.ERROR,
    "an event whose results cannot be proposed",
    explanation(
        """
        `propose = true` makes a pull request of the new `mlpipe.lock`. That is for what starts on the main
        branch by itself or by hand: `schedule` and `manual`. A pull request would propose into itself, and
        a push would start again by what it proposed. Nor can results under other parameters be proposed,
        which `with` sets: the lock would hold what the parameter file does not say. Of an `input` only the
        run knows: with another value than the file's, the job `propose` fails and says so.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on pull_request { run = [a], propose = true }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 * * 1") { run = [a], propose = true }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`propose` under other events, or beside `with`."""
    for event in facts.typed.events:
        if not event.value.propose:
            continue
        at = event.settings["propose"]
        if event.value.kind not in ("schedule", "manual"):
            yield Diagnostic.of(
                CHECK,
                f"`on {event.value.kind}` cannot propose its results",
                at,
                help="`schedule` and `manual` can: move it there, or drop it here",
            )
        elif event.params:
            yield Diagnostic.of(
                CHECK,
                "results under other parameters cannot be proposed",
                at,
                related=(Label(event.params[0].span, f"`{event.params[0].value}` is another one here"),),
                help="change the parameter file, and drop `with`",
            )
