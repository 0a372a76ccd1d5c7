"""An output that overwrites a file which the pipeline is made of."""

from __future__ import annotations

from collections.abc import Iterator

from mlflowc.check.facts import Facts, ident, normal
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity, explanation
from mlflowc.span import Span

CHECK = Check(
    "MLP325",
    Severity.ERROR,
    "an output overwrites a source",
    explanation(
        """
        The output's path is that of a file which is written by hand: the pipeline, a parameter file, a
        requirements file, a data source, a script. Running the stage would replace it, and before a stage
        runs its old outputs are moved away.
        """,
        """
        data raw = "data/raw.csv"
        stage clean {
          in raw
          out x = "data/raw.csv"
          run = "cp {{raw}} {{x}}"
        }
        """,
        """
        data raw = "data/raw.csv"
        stage clean {
          in raw
          out x = "data/clean.csv"
          run = "cp {{raw}} {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Sources are few; each is looked for in each output's folder."""
    if not facts.written:
        return
    for path, what, span in _sources(facts):
        item = facts.writer_of(normal(path))
        if item is None:
            continue
        yield Diagnostic.of(
            CHECK,
            f"`{item.step.value.id}.{item.part.value.name}` would overwrite `{normal(path)}`",
            item.part.source or item.part.span,
            label=f"{what} lies here",
            related=(Label(span, what),) if span is not None else (),
            help="write the output somewhere else",
        )


def _sources(facts: Facts) -> Iterator[tuple[str, str, Span | None]]:
    for name in facts.typed.sources:
        yield name, "a source of the pipeline", None
    for env in facts.typed.envs:
        for key in ("requirements", "lock", "conda"):
            path = getattr(env.value, key)
            if path:
                yield path, "the environment's file", env.settings.get(key, env.span)
    for block in facts.typed.data:
        args = dict(block.value.args)
        if block.value.source in ("path", "dvc"):
            path = str(args.get("path", ""))
            if path:
                yield path, "a data source", block.settings.get("source", block.span)
    for step in facts.steps:
        for text in step.texts:
            for word in facts.scripts(text):
                # A script that another stage writes, and this one takes as input, is no source.
                made = facts.writer_of(normal(word.text))
                taken = made is not None and made.step.value.id in facts.upstream([ident(step)])
                if not taken or (made is not None and made.step.value.id == ident(step)):
                    yield word.text, "a script", word.span
