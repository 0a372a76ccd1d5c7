"""A path that leaves the project folder."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir
from mlflowc.span import Span

CHECK = Check(
    "MLP322",
    Severity.ERROR,
    "a path leaves the project",
    explanation(
        """
        Inputs, outputs and kept paths are relative to the folder of the pipeline file and stay inside it. A
        CI machine has only the checkout, so an absolute path or one that goes up with `..` would not be
        there, and could overwrite something that is not the project's.
        """,
        """
        stage a {
          out x = "/tmp/data.csv"
          run = "touch {{x}}"
        }
        """,
        """
        stage a {
          out x = "data/data.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Inputs by path or glob, outputs, kept paths, `dir` and `path(...)` data."""
    for path, span, what in _paths(facts):
        if not path:
            continue
        if path.startswith(("/", "~")) or (len(path) > 1 and path[1] == ":"):
            label = "an absolute path"
        elif normal(path) == ".." or normal(path).startswith("../"):
            label = "outside the project folder"
        else:
            continue
        yield Diagnostic.of(
            CHECK,
            f"{what} `{path}` leaves the project",
            span,
            label=label,
            help="write a path below the folder of the pipeline file"
            + ('; for data that lives elsewhere, `data NAME = url("file:…")`' if what == "the input" else ""),
        )


def _paths(facts: Facts) -> Iterator[tuple[str, Span, str]]:
    for step in facts.steps:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.PathRef):
                    yield source.path, part.source or part.span, "the input"
                elif isinstance(source, ir.GlobRef):
                    yield source.pattern, part.source or part.span, "the input"
        for output in step.outputs:
            yield output.value.path, output.source or output.span, "the output"
        for keep in step.keeps:
            yield keep.value.path, keep.source or keep.span, "the kept path"
        if step.value.dir is not None:
            yield step.value.dir, step.settings.get("dir", step.span), "the working folder"
    for block in facts.typed.data:
        if block.value.source == "path":
            path = dict(block.value.args).get("path")
            yield str(path), block.settings.get("path", block.span), "the input"
