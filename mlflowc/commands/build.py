"""`mlpipec build`: the files of the CI services, and the Makefile."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

import click

from mlflowc import __version__, target, terminal
from mlflowc.commands.options import file_option
from mlflowc.diagnostic import Diagnostic, has_errors
from mlflowc.errors import Failure
from mlflowc.ir.model import Pipeline, Place
from mlflowc.jobs.lower import lower_all
from mlflowc.overwrite import overwrite
from mlflowc.project import load, repository_root
from mlflowc.span import Source, Span
from mlflowc.target import Backend, Emission, Settings

_NO_EVENT = "add one, as in `on pull_request { run = [...] }`"


@dataclass(frozen=True, slots=True)
class _State:
    """A file that is wanted, or left over: `state` is `ok new stale edited foreign left-over`.

    `text` is what it should hold (None: it should not be there).
    """

    path: str
    state: str
    text: str | None
    detail: str = ""


@click.command()
@click.option(
    "--target",
    "targets",
    type=click.Choice([*target.TARGETS, "all"]),
    multiple=True,
    help="What to generate for (may be given several times).",
)
@click.option(
    "--check", is_flag=True, help="Change nothing; fail when a file is not what would be generated."
)
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the files instead of writing them.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited, or not generated at all.")
@file_option
def command(targets: tuple[str, ...], check: bool, to_stdout: bool, force: bool, file: str | None) -> None:
    """Generate the files of a CI service, or a Makefile.

    The files hold no command of yours: their jobs run `mlpipec exec`. Commit them.
    Without --target, those are built again that were built before.
    """
    if check and (to_stdout or force):
        raise click.UsageError("--check goes with neither --stdout nor --force")
    project = load(file)
    root, pipeline = project.root, project.pipeline
    repository = repository_root(root)
    settings = make_settings(root, repository, pipeline)
    wanted = _wanted(targets, repository, settings)
    emissions = {name: _emit(name, pipeline, root, settings) for name in wanted}
    if to_stdout:
        for emission in emissions.values():
            for generated in emission.files:
                click.echo(f"# === {generated.path}\n{generated.text}", nl=False)
        return
    states = [s for name, e in emissions.items() for s in _states(name, e, repository, pipeline, settings)]
    if check:
        _fail_unless_fresh(states, wanted, settings)
        return
    _write(states, repository, force)
    for name, emission in emissions.items():
        for note in emission.notes:
            click.echo(f"note ({name}): {note}")
    if set(wanted) - {"make"} and pipeline.ci.install is None and _installed_from() is not None:
        click.echo(
            f"note: the jobs install mlflowc=={__version__} from the package index, and this one came from "
            f"{_installed_from()}; say what they install with ci {{ install = … }}"
        )
    install = pipeline.ci.install or ""
    if set(wanted) - {"make"} and install.endswith(".whl") and not _is_there(repository, install):
        click.echo(
            f"note: the jobs install `{install}`, and the repository has no such file: build and commit it"
        )


def _is_there(repository: Path, install: str) -> bool:
    return "://" in install or (repository / install).is_file()


def _installed_from() -> str | None:
    """What this tool was installed from, if not by name and version from a package index (PEP 610)."""
    try:
        origin = metadata.distribution("mlflowc").read_text("direct_url.json")
        return str(json.loads(origin)["url"]) if origin else None
    except (metadata.PackageNotFoundError, OSError, ValueError, KeyError):
        return None


def make_settings(root: Path, repository: Path, pipeline: Pipeline) -> Settings:
    """What backends have to know about the project at `root`."""
    folder = root.relative_to(repository).as_posix()
    attributes = repository / ".gitattributes"
    return Settings(
        version=__version__,
        locate=locator(root),
        folder="" if folder == "." else folder,
        file=None if pipeline.file == _found_by_itself(root) else pipeline.file,
        own_makefile=_own_makefile(root),
        lfs=attributes.is_file() and "filter=lfs" in attributes.read_text(encoding="utf-8", errors="replace"),
    )


def locator(root: Path) -> Callable[[Place], Span]:
    """Gives the span of the word that stands at a place of a source file below `root`."""
    sources: dict[str, Source] = {}

    def locate(place: Place) -> Span:
        if place.file not in sources:
            sources[place.file] = Source(place.file, _source_text(root / place.file) or "")
        source = sources[place.file]
        line = source.line(place.line)
        start = source.offset(place.line, place.column)
        rest = line[place.column - 1 :]
        word = len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))
        return Span(place.file, start, start + max(1, word))

    return locate


def show(diagnostics: tuple[Diagnostic, ...], root: Path) -> None:
    """Writes diagnostics to stderr as text."""
    from mlflowc.render.text import render

    files = {d.span.file for d in diagnostics} | {label.span.file for d in diagnostics for label in d.related}
    sources = {f: Source(f, text) for f in files if (text := _source_text(root / f)) is not None}
    print(render(diagnostics, sources, stream=sys.stderr, width=terminal.width()), file=sys.stderr)


def _source_text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _found_by_itself(root: Path) -> str | None:
    if (root / "pipeline.mlpipe").is_file():
        return "pipeline.mlpipe"
    files = sorted(p.name for p in root.glob("*.mlpipe"))
    return files[0] if len(files) == 1 else None


def _own_makefile(root: Path) -> bool:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        path = root / name
        if path.is_file() and target.read_header(_read(path)) is None:
            return True
    return False


def _wanted(targets: tuple[str, ...], repository: Path, settings: Settings) -> list[str]:
    if "all" in targets:
        return list(target.TARGETS)
    if targets:
        return list(dict.fromkeys(targets))
    built = [name for name in target.TARGETS if _ours(name, repository, settings)]
    if not built:
        help = "as in `mlpipec build --target github`; there are " + ", ".join([*target.TARGETS, "all"])
        raise Failure("say what to build for with `--target`", help=help, code=2)
    return built


def _ours(name: str, repository: Path, settings: Settings) -> list[str]:
    """The paths of files that were generated for target `name`."""
    found = []
    for pattern in target.load(name).owned(settings):
        for path in sorted(repository.glob(pattern)):
            header = target.read_header(_read(path)) if path.is_file() else None
            if header is not None and header.target == name:
                found.append(path.relative_to(repository).as_posix())
    return found


def _emit(name: str, pipeline: Pipeline, root: Path, settings: Settings) -> Emission:
    """The files of one target; diagnostics are shown, and errors among them end the command."""
    workflows = lower_all(pipeline)
    if not workflows and name != "make":
        raise Failure(f"`{pipeline.file}` has no event, so {name} has nothing to start", help=_NO_EVENT)
    backend: Backend = target.load(name)
    emission, found = backend.emit(workflows, pipeline, settings)
    if found:
        show(found, root)
    if has_errors(found):
        raise Failure(
            f"nothing was written for {name}",
            help="mend what is said above; `mlpipec explain CODE` says more",
        )
    return emission


def _states(
    name: str, emission: Emission, repository: Path, pipeline: Pipeline, settings: Settings
) -> list[_State]:
    states = []
    for path, text in emission.files:
        file = repository / path
        if not file.exists():
            states.append(_State(path, "new", text))
            continue
        there = _read(file)
        header = target.read_header(there)
        if header is None:
            states.append(_State(path, "foreign", text, "was not generated by mlpipec"))
        elif there == text:
            states.append(_State(path, "ok", text))
        elif not _same_source(header.source, pipeline, settings):
            states.append(_State(path, "foreign", text, f"was generated from {header.source}"))
        elif header.edited:
            states.append(_State(path, "edited", text))
        else:
            states.append(_State(path, "stale", text))
    wanted = {path for path, _ in emission.files}
    for path in _ours(name, repository, settings):
        header = target.read_header(_read(repository / path))
        if path not in wanted and header is not None and _same_source(header.source, pipeline, settings):
            states.append(_State(path, "edited" if header.edited else "left-over", None))
    return states


def _same_source(source: str, pipeline: Pipeline, settings: Settings) -> bool:
    here = PurePosixPath(settings.folder) / pipeline.file
    return source == here.as_posix()


def _fail_unless_fresh(states: list[_State], wanted: list[str], settings: Settings) -> None:
    words = {
        "new": "is missing",
        "stale": "is out of date",
        "edited": "was edited by hand",
        "left-over": "belongs to an event that is gone",
    }
    bad = [s for s in states if s.state != "ok"]
    if not bad:
        click.echo(f"up to date: {', '.join(wanted)}")
        return
    for state in bad:
        print(f"{state.path} {state.detail or words[state.state]}", file=sys.stderr)
    flags = " ".join(f"--target {name}" for name in wanted)
    force = " --force" if any(s.state in ("edited", "foreign") for s in bad) else ""
    raise Failure(
        "the generated files are not what the pipeline says",
        help=f"run:  {settings.command(f'build {flags}{force}')}\nand commit what it changes",
    )


def _write(states: list[_State], repository: Path, force: bool) -> None:
    refused = [s for s in states if s.state in ("edited", "foreign") and not force]
    if refused:
        for state in refused:
            print(f"{state.path} {state.detail or 'was edited by hand'}", file=sys.stderr)
        raise Failure(
            "nothing was written",
            help="give --force to overwrite; move your changes to the pipeline file first",
        )
    for state in states:
        path = repository / state.path
        if state.text is None:
            _remove(path)
        elif state.state != "ok":
            overwrite(path, state.text.encode())
        done = "unchanged" if state.state == "ok" else "removed" if state.text is None else "written"
        click.echo(f"{terminal.style(done, 'dim' if done == 'unchanged' else 'green')} {state.path}")


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as e:
        raise Failure(f"cannot remove `{path}`: {e.strerror}") from e


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError as e:
        raise Failure(f"cannot read {path.name}: {e.strerror}") from e
