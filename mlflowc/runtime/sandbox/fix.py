"""Writes the missing `in` lines into pipeline files, and leaves everything else of them as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
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

# What is wrong with the pipeline when the file of that name has that text; empty when nothing is.
Objection = Callable[[str, str], str]


def write(root: Path, mends: Iterable[Mend], objection: Objection) -> tuple[list[Mend], list[Mend]]:
    """Adds the lines of `mends` to the files below `root`; those that were added, and those that were not.

    A stage that is not declared in a file of the project (one of a component of the library) is left alone,
    and so is a line with which the pipeline would not compile: its `help` then says why.
    Raises `Failure` when a file cannot be read or written.
    """
    by_file: dict[str, list[Mend]] = {}
    left: list[Mend] = []
    for mend in mends:
        known = mend.line and (root / mend.place.file).is_file()
        (by_file.setdefault(mend.place.file, []) if known else left).append(mend)
    done: list[Mend] = []
    for file, wanted in by_file.items():
        added, text, refused = _sound(_read(root, file), wanted, objection)
        if added:
            overwrite(root / file, text.encode())
        done += added
        left += [m for m in wanted if m not in added and m not in refused]
        left += [replace(m, help=why) for m, why in refused.items()]
    return done, left


def _sound(
    source: Source, wanted: Sequence[Mend], objection: Objection
) -> tuple[list[Mend], str, dict[Mend, str]]:
    """Those of the lines with which the pipeline compiles, the text with them, and why not the others."""
    added, text = _tried(source, wanted)
    why = objection(source.name, text) if added else ""
    if not why:
        return added, text, {}
    if len(added) == 1:
        return [], source.text, {added[0]: f"with `{added[0].line}` the pipeline would not compile: {why}"}
    # Some are in order and some are not: one after another.
    good: list[Mend] = []
    refused: dict[Mend, str] = {}
    for mend in added:
        made, with_it = _tried(source, [*good, mend])
        why = objection(source.name, with_it)
        if why:
            refused[mend] = f"with `{mend.line}` the pipeline would not compile: {why}"
        else:
            good, text = made, with_it
    return good, text, refused


def _tried(source: Source, wanted: Sequence[Mend]) -> tuple[list[Mend], str]:
    """The lines that find their stage, and the formatted text with them; none when it cannot be read."""
    parsed = parse(source)
    if has_errors(parsed.diagnostics):
        return [], source.text
    text, added = _with_lines(source, parsed.file, wanted)
    formatted = format_source(Source(source.name, text)) if added else ()
    return (added, formatted) if isinstance(formatted, str) else ([], source.text)


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
