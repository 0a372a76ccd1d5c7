"""The compiler as one pure function: a file's text and a port to the others in, IR and diagnostics out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mlflowc.check import rules
from mlflowc.check.analyse import analyse
from mlflowc.check.model import Checked
from mlflowc.diagnostic import Diagnostic, has_errors
from mlflowc.ir import model as ir
from mlflowc.lower import lower
from mlflowc.resolve import modules
from mlflowc.resolve.loader import Asked, Loader, Recorder
from mlflowc.span import Source


class Compiled(NamedTuple):
    """What came of compiling. `pipeline` is None where there are errors; `typed` is there whenever the
    text parses.

    `sources` are the texts that diagnostics point into; `asked` is all that the result depends on.
    """

    pipeline: ir.Pipeline | None
    typed: Checked | None
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, Source]
    asked: Asked


def compile_text(
    file: str, text: str, loader: Loader, overrides: Mapping[str, str] | None = None
) -> Compiled:
    """Compiles `text`, which is that of `file`, with the parameters in `overrides` set as `--set` does.

    Raises Failure (usage) for an override that does not fit; all else is a diagnostic.
    """
    recorder = Recorder(loader)
    loaded, problems = modules.load(recorder, file, text)
    sources = {name: m.source for name, m in loaded.by_name.items()}
    if has_errors(tuple(problems)):
        # Names that a broken declaration would have introduced are unknown: more findings would mislead.
        return Compiled(None, None, _once(problems), sources, recorder.asked())
    typed, found = analyse(loaded, recorder, overrides or {}, sources)
    problems.extend(found)
    problems.extend(rules.run(typed, recorder, tuple(problems)))
    pipeline: ir.Pipeline | None = None
    if not has_errors(tuple(found)):
        pipeline, circles = lower(typed)
        problems.extend(circles)
    diagnostics = _once(problems)
    return Compiled(
        None if has_errors(diagnostics) else pipeline, typed, diagnostics, sources, recorder.asked()
    )


def _once(problems: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(dict.fromkeys(problems))
