"""An input that no stage makes and the project does not have."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mlflowc.check.facts import Facts, is_address, normal
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir
from mlflowc.span import Span
from mlflowc.spell import nearest

CHECK = Check(
    "MLP328",
    Severity.ERROR,
    "an input that does not exist",
    explanation(
        """
        The path is not in the project and no stage writes it, so the stage could never run: not here, and
        not on a CI machine. Large data that is not committed is named by its source, as in
        `dvc("data/raw.csv.dvc")` or `url("s3://…")`.
        """,
        """
        data raw = "data/absent.csv"
        stage a {
          in raw
          out x = "out.csv"
          run = "cp {{raw}} {{x}}"
        }
        """,
        """
        data raw = "data/raw.csv"
        stage a {
          in raw
          out x = "out.csv"
          run = "cp {{raw}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Paths in `in` and `path(...)` data; those that leave the project have a rule of their own."""
    for step in facts.steps:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.PathRef):
                    yield from _path(facts, source.path, part.source or part.span)
    for block in facts.typed.data:
        if block.value.source == "path":
            path = str(dict(block.value.args).get("path", ""))
            yield from _path(facts, path, block.settings.get("source", block.span))


def _path(facts: Facts, written: str, span: Span) -> Iterator[Diagnostic]:
    path = normal(written)
    if not path or path.startswith(("/", "..", "~")) or is_address(path):
        return
    # What a stage makes is not looked for on disk: whether it ran already decides nothing here.
    made = facts.writer_of(path) is not None or any(facts.inside(path))
    if made or facts.exists(path):
        return
    folder = posixpath.dirname(path)
    beside = facts.loader.glob(f"{folder}/*" if folder else "*")
    pointer = path + ".dvc"
    guess = nearest(path, beside)
    if pointer in beside:
        help = f'DVC has it: write `dvc("{pointer}")`'
    elif guess:
        help = f"did you mean `{guess}`?"
    else:
        help = 'add the file, or name where it comes from: `dvc("…")`, `url("…")`'
    yield Diagnostic.of(
        CHECK, f"there is no `{path}`, and no stage makes it", span, label="not found", help=help
    )
