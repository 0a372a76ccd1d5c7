"""`mlpipec check`: every mistake of a pipeline at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflowc import project, terminal
from mlflowc.commands.options import file_option, overrides, set_option
from mlflowc.errors import Failure
from mlflowc.overwrite import overwrite

if TYPE_CHECKING:
    from mlflowc.compile import Compiled
    from mlflowc.diagnostic import Diagnostic
    from mlflowc.ir.model import Pipeline

_ROUNDS = 10  # a fix may uncover another; a pair that undoes each other must still end


@click.command("check")
@click.argument("named", metavar="[FILE]", required=False)
@file_option
@set_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github", "gitlab"]),
    default="text",
    show_default=True,
    help="github: annotations by workflow commands; gitlab: a Code Quality report.",
)
@click.option("--fix", is_flag=True, help="Apply the fixes that are certain, then check again.")
@click.option("--strict", is_flag=True, help="Fail on warnings, too.")
def command(
    named: str | None, file: str | None, settings: tuple[str, ...], form: str, fix: bool, strict: bool
) -> int:
    """Check the pipeline: syntax, names, types, graph, files, and what experience says goes wrong.

    FILE is the same as with -f.

    All findings are shown in one go. Exit code 1 when there is an error. The format is text wherever it runs,
    in CI too, unless told otherwise.

    \b
    mlpipec check
    mlpipec check --format sarif > mlpipec.sarif
    """
    if named is not None and file is not None:
        raise Failure("the pipeline file is given twice", help="write one: `mlpipec check FILE`", code=2)
    file = file or named
    values = overrides(settings)
    if form == "text" and not fix and (known := project.clean(file, overrides=values)) is not None:
        return _ok(known)
    # The compiler is loaded here, so that --help is quick.
    from mlflowc.diagnostic import Severity
    from mlflowc.render.order import in_order

    compiled = project.compile_file(file, overrides=values)
    if fix:
        compiled = _fixed(file, values, compiled)
    shown = in_order(compiled.diagnostics, tuple(compiled.sources))
    sys.stdout.write(_rendered(form, shown, compiled, _prefix(project.locate(file)[0])))
    if form == "text" and compiled.pipeline is not None:
        _ok(compiled.pipeline)
    return int(any(d.severity is Severity.ERROR or strict for d in shown))


def _ok(pipeline: Pipeline) -> int:
    click.echo(terminal.style("ok", "bold", "green") + f": {summary(pipeline)}")
    return 0


def summary(pipeline: Pipeline) -> str:
    """`5 stages, 1 gate, 2 events`."""
    counts = [
        ("stage", len(pipeline.stages)),
        ("data source", len(pipeline.data)),
        ("sweep", len(pipeline.sweeps)),
        ("gate", len(pipeline.gates)),
        ("report", len(pipeline.reports)),
        ("action", len(pipeline.actions)),
        ("event", len(pipeline.events)),
    ]
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts if n) or "nothing in it"


def _rendered(form: str, shown: Sequence[Diagnostic], compiled: Compiled, prefix: str) -> str:
    match form:
        case "text":
            from mlflowc.render import text

            return text.render(shown, compiled.sources, width=min(terminal.width(), 120))
        case "json":
            from mlflowc.render import json

            return json.render(shown, compiled.sources)
        case "sarif":
            from mlflowc.check import registry
            from mlflowc.render import sarif

            return sarif.render(shown, compiled.sources, registry.all_checks(), prefix=prefix)
        case "github":
            from mlflowc.render import github

            return github.render(shown, compiled.sources, prefix=prefix)
        case _:
            from mlflowc.render import gitlab

            return gitlab.render(shown, compiled.sources, prefix=prefix)


def _prefix(root: Path) -> str:
    """The project folder below the root of its repository, as `sub/folder/`; empty where it is the root."""
    below = root.relative_to(project.repository_root(root)).as_posix()
    return "" if below == "." else f"{below}/"


# --- fixes ---------------------------------------------------------------------------------------


def _fixed(file: str | None, values: Mapping[str, str], compiled: Compiled) -> Compiled:
    """Applies fixes round by round until none is left, and says on stderr how many there were."""
    from mlflowc.check import fixes

    root, _ = project.locate(file)
    count, files = 0, set[str]()
    for _ in range(_ROUNDS):
        # What ships with this tool (the standard library) and what is no source of ours is not written.
        sources = {name: s for name, s in compiled.sources.items() if (root / name).is_file()}
        fixed = fixes.apply(compiled.diagnostics, sources)
        if not fixed.applied:
            break
        for name, text in fixed.texts.items():
            _replace(root / name, sources[name].text, text)
        count += len(fixed.applied)
        files |= set(fixed.texts)
        compiled = project.compile_file(file, overrides=values)
    if count:
        what = f"applied {count} fix{'' if count == 1 else 'es'} in {', '.join(sorted(files))}"
    else:
        what = "nothing that could be fixed for certain"
    print(what, file=sys.stderr)
    return compiled


def _replace(path: Path, before: str, after: str) -> None:
    """Puts `after` in place of `before`; refused when the file says something else by now."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise Failure(f"cannot read `{path.name}`: {e.strerror or e}") from e
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    if data != mark + before.encode():
        raise Failure(f"`{path.name}` was changed by someone else just now", help="run it again")
    overwrite(path, mark + after.encode())
