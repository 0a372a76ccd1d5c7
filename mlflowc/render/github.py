"""Diagnostics as GitHub workflow commands, which become annotations on the lines of a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflowc.diagnostic import Diagnostic
from mlflowc.render.place import region
from mlflowc.span import Source


def render(diagnostics: Sequence[Diagnostic], sources: Mapping[str, Source], *, prefix: str = "") -> str:
    """One line a diagnostic. `prefix` is the project folder below the root of the repository."""
    return "".join(_command(d, sources, prefix) + "\n" for d in diagnostics)


def _command(d: Diagnostic, sources: Mapping[str, Source], prefix: str) -> str:
    properties = {"file": prefix + d.span.file}
    where = region(d.span, sources)
    if where is not None:
        properties["line"] = str(where.start.line)
        properties["endLine"] = str(where.end.line)
        if where.start.line == where.end.line:
            # Columns of a range over several lines are not understood, and refuse the annotation.
            properties["col"] = str(where.start.column)
            properties["endColumn"] = str(where.end.column)
    properties["title"] = d.code
    text = d.message
    for label in d.related:
        there = region(label.span, sources)
        at = f"{label.span.file}:{there.start.line}" if there else label.span.file
        text += f"\n{at}: {label.text}" if label.text else f"\n{at}"
    if d.help:
        text += f"\nhelp: {d.help}"
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{d.severity} {listed}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
