"""A path that leaves the repository."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir import model as ir
from mlflowc.span import Span

_FURTHEST = 16

CHECK = Check(
    "MLP322",
    Severity.ERROR,
    "a path leaves the repository",
    explanation(
        """
        The path goes up with `..` past the root of the Git repository. A CI machine has only the checkout,
        so the file would not be there.
        """,
        """
        data raw = "../raw.csv"
        stage a {
          in raw
          out x = "x.csv"
          run = "cp {{raw}} {{x}}"
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
    """Inputs by path, `path(...)` data, `dir`, environments' files; nothing outside of Git."""
    depth: int | None = -1
    for path, span in _paths(facts):
        ups = _ups(normal(path))
        if not ups:
            continue
        if depth == -1:
            depth = _depth(facts)
        if depth is not None and ups > depth:
            yield Diagnostic.of(
                CHECK,
                f"`{path}` leaves the repository",
                span,
                label="not in a checkout",
                help='bring it into the repository; for data that lives elsewhere: `data NAME = url("…")`',
            )


def _ups(path: str) -> int:
    """How many folders up a normalised path begins."""
    parts = path.split("/")
    return next((n for n, part in enumerate(parts) if part != ".."), len(parts))


def _depth(facts: Facts) -> int | None:
    """How many folders the project lies below the root of its repository; None outside of one."""
    for n in range(_FURTHEST):
        if facts.loader.kind("../" * n + ".git") != "missing":
            return n
    return None


def _paths(facts: Facts) -> Iterator[tuple[str, Span]]:
    for env in facts.typed.envs:
        for key in ("requirements", "lock", "conda"):
            path = getattr(env.value, key)
            if path:
                yield path, env.settings.get(key, env.span)
    for block in facts.typed.data:
        if block.value.source == "path":
            yield str(dict(block.value.args).get("path", "")), block.settings.get("source", block.span)
    for step in facts.steps:
        for part in step.inputs:
            for source in part.value.sources:
                if isinstance(source, ir.PathRef):
                    yield source.path, part.source or part.span
        if step.value.dir is not None:
            yield step.value.dir, step.settings.get("dir", step.span)
