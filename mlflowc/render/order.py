"""The order in which diagnostics are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlflowc.diagnostic import Diagnostic, Severity


def in_order(diagnostics: Iterable[Diagnostic], files: Sequence[str] = ()) -> list[Diagnostic]:
    """By file (those in `files` first, as they stand there), then by place; errors first there."""
    rank = {file: n for n, file in enumerate(files)}
    return sorted(
        diagnostics,
        key=lambda d: (
            rank.get(d.span.file, len(rank)),
            d.span.file,
            d.span.start,
            d.severity is not Severity.ERROR,
            d.code,
            d.message,
        ),
    )
