"""Fresh data is proposed, but not the results of all that reads it."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir

CHECK = Check(
    "MLP428",
    Severity.WARNING,
    "fresh data is proposed without all results that follow from it",
    explanation(
        """
        The event refreshes data and proposes the new lock, but does not run a stage that depends on this
        data. In the lock that it proposes the pin of the data is new, and the result of that stage is the
        old one: `mlpipec verify` fails there.
        """,
        """
        data feed: csv = url("https://example.org/feed.csv")
        stage train {
          in  feed
          out model: file = "model.txt"
          run = "cp {{feed}} {{model}}"
        }
        stage predict {
          in  model = train.model
          out rows: file = "rows.txt"
          run = "cp {{model}} {{rows}}"
        }
        on push("main") { run = [predict] }
        on schedule("17 3 * * 1") { refresh = [feed], run = [train], propose = true }
        """,
        """
        data feed: csv = url("https://example.org/feed.csv")
        stage train {
          in  feed
          out model: file = "model.txt"
          run = "cp {{feed}} {{model}}"
        }
        stage predict {
          in  model = train.model
          out rows: file = "rows.txt"
          run = "cp {{model}} {{rows}}"
        }
        on push("main") { run = [predict] }
        on schedule("17 3 * * 1") { refresh = [feed], run = [predict], propose = true }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Events that propose: stages behind the refreshed data that they do not run."""
    for event in facts.typed.events:
        if not event.value.propose or not event.value.refresh:
            continue
        needed = facts.needed(*event.value.run)
        behind = [id for id in _behind(facts, set(event.value.refresh)) if id not in needed]
        if behind:
            others = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
            yield Diagnostic.of(
                CHECK,
                f"`{behind[0]}`{others} depends on what is refreshed, and is not run",
                event.settings["propose"],
                help=f"add it to `run`: `{behind[0]}`",
            )


def _behind(facts: Facts, data: set[str]) -> list[str]:
    """The ids of the stages that depend on any of that data, in the order of the source."""
    sweeps = {block.value.name: block.value.stage for block in facts.typed.sweeps}
    readers: dict[str, list[str]] = {}
    found: set[str] = set()
    for id, step in facts.stages.items():
        for name in (*facts.sources_of(id), *step.value.after):
            readers.setdefault(sweeps.get(name, name), []).append(id)
        if any(isinstance(s, ir.DataRef) and s.data in data for i in step.value.inputs for s in i.sources):
            found.add(id)
    todo = list(found)
    while todo:
        new = [id for id in readers.get(todo.pop(), ()) if id not in found]
        found.update(new)
        todo += new
    return [id for id in facts.stages if id in found]
