"""Writes the missing `in` lines into pipeline files, and leaves everything else of them as it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlflowc.check import fixes
from mlflowc.diagnostic import Diagnostic, Edit, Fix, Severity, has_errors
from mlflowc.errors import Failure
from mlflowc.overwrite import overwrite
from mlflowc.runtime.sandbox.mend import Mend
from mlflowc.span import Source, Span
from mlflowc.syntax import ast
from mlflowc.syntax.decode import decode
from mlflowc.syntax.format import format_source
from mlflowc.syntax.parser import parse


def write(root: Path, mends: Iterable[Mend]) -> tuple[list[Mend], list[Mend]]:
    """Adds the lines of `mends` to the files below `root`; those that were added, and those that were not.

    A stage that is not declared in a file of the project (one of a component of the library) is left alone.
    Raises `Failure` when a file cannot be read or written.
    """
    by_file: dict[str, list[Mend]] = {}
    left: list[Mend] = []
    for mend in mends:
        known = mend.line and (root / mend.place.file).is_file()
        (by_file.setdefault(mend.place.file, []) if known else left).append(mend)
    done: list[Mend] = []
    for file, wanted in by_file.items():
        source = _read(root, file)
        parsed = parse(source)
        text, added = source.text, list[Mend]()
        if not has_errors(parsed.diagnostics):
            text, added = _with_lines(source, parsed.file, wanted)
        formatted = format_source(Source(file, text)) if added else ()
        if not isinstance(formatted, str):
            left += wanted
            continue
        overwrite(root / file, formatted.encode())
        done += added
        left += [m for m in wanted if m not in added]
    return done, left


def _with_lines(source: Source, file: ast.File, mends: Sequence[Mend]) -> tuple[str, list[Mend]]:
    by_stage: dict[str, list[Mend]] = {}
    for mend in mends:
        by_stage.setdefault(mend.stage, []).append(mend)
    diagnostics: list[Diagnostic] = []
    added: list[Mend] = []
    for decl in file.decls:
        if not isinstance(decl, ast.BlockDecl) or decl.keyword.text != "stage" or decl.name is None:
            continue
        wanted = by_stage.get(decl.name.text, [])
        if not wanted:
            continue
        at = _place(source, file, decl)
        text = "".join(f"\n{mend.line}" for mend in wanted)
        if source.text[at - 1] == "{":
            text += "\n"
        fix = Fix("declare what is read", (Edit(Span(source.name, at, at), text),))
        diagnostics.append(Diagnostic("", Severity.WARNING, "", decl.span, fix=fix))
        added += wanted
    return fixes.apply(diagnostics, {source.name: source}).texts.get(source.name, source.text), added


def _place(source: Source, file: ast.File, decl: ast.BlockDecl) -> int:
    """Behind the last input, with a comment that stands there; else at the beginning of the block."""
    text = source.text
    inputs = [item for item in decl.items if isinstance(item, ast.InItem)]
    if not inputs:
        # The brace that opens the block: the last one before its first item that is in no comment.
        at = decl.items[0].span.start if decl.items else decl.span.end - 1
        while True:
            at = text.rindex("{", decl.span.start, at)
            if not any(c.span.start <= at < c.span.end for c in file.comments):
                return at + 1
    end = inputs[-1].span.end
    behind = (c.span for c in file.comments if c.span.start >= end and not c.own_line)
    comment = next(behind, None)
    # A comment behind it stays behind it.
    return comment.end if comment is not None and "\n" not in text[end : comment.start] else end


def _read(root: Path, file: str) -> Source:
    try:
        found = decode(file, (root / file).read_bytes())
    except OSError as e:
        raise Failure(f"cannot read `{file}`: {e.strerror}") from e
    if isinstance(found, Diagnostic):
        raise Failure(f"cannot read `{file}`: {found.message}")
    return found
