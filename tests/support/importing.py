"""Imports in this process: quicker than a command, with the same checks of what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mlflowc.compile import compile_text
from mlflowc.diagnostic import Severity
from mlflowc.importing import assemble
from mlflowc.importing.coverage import Coverage, Fate, Finding
from mlflowc.ir.model import Pipeline
from mlflowc.project import Disk
from mlflowc.span import Source
from mlflowc.syntax.format import format_source


class Imported(NamedTuple):
    """The text, what it compiles to, and what became of each construct."""

    text: str
    pipeline: Pipeline
    findings: tuple[Finding, ...]

    @property
    def left(self) -> set[tuple[str, int]]:
        """What was left out: constructs with their lines."""
        return {(f.construct, f.place.line) for f in self.findings if f.fate is Fate.LEFT}


def made(root: Path, *files: str) -> Imported:
    """What comes of importing files of the project `root`: it has no errors, and is in canonical form."""
    imported = attempted(root, *files)
    assert imported is not None
    return imported


def attempted(root: Path, *files: str, but: str = "") -> Imported | None:
    """As `made`; None where it has errors of the code `but` and no others."""
    coverage = Coverage()
    plan = assemble.plan(tuple(str(root / f) for f in files), str(root / "pipeline.mlpipe"))
    text = assemble.make(plan, coverage).text
    assert format_source(Source("pipeline.mlpipe", text)) == text
    compiled = compile_text("pipeline.mlpipe", text, Disk(root))
    errors = [d for d in compiled.diagnostics if d.severity is Severity.ERROR]
    assert all(d.code == but for d in errors), f"{errors}\n{text}"
    if errors:
        return None
    assert compiled.pipeline is not None
    return Imported(text, compiled.pipeline, coverage.findings)
