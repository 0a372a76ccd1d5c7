"""`mlpipec init`: a first pipeline file that passes `check` and runs as it is."""

from __future__ import annotations

import os
import posixpath
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from mlflowc import terminal
from mlflowc.errors import Failure
from mlflowc.span import Source
from mlflowc.starter import detect, write
from mlflowc.syntax.format import format_source

_FILE = "pipeline.mlpipe"


@click.command("init")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
def command(folder: Path) -> None:
    """Write a commented starter pipeline into FOLDER (the current one by default).

    A dvc.yaml is imported. In a project with scripts such as train.py it describes what they do, with the
    environment and parameters that it finds. Anywhere else it writes a small example that runs. Nothing
    that is there is overwritten.
    """
    root = folder.absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _refuse_second(root)
        if (root / "dvc.yaml").is_file():
            _import(root, folder)
            return
        name = detect.identifier(root.name, "project")
        project = detect.look(root)
        if project.scripts:
            files, ignored = _for_project(root, name, project)
        else:
            files, ignored = _example(root, name)
        for path, text in files.items():
            _create(root / path, text)
        grown = _ignore(root, ignored)
    except OSError as e:
        raise Failure(
            f"cannot write in `{folder}`: {e.strerror}", help="check permissions and free space"
        ) from e
    _say(folder, tuple(files), grown, project)


def _refuse_second(root: Path) -> None:
    there = sorted(p.name for p in root.glob("*.mlpipe") if p.is_file())  # not the folder `.mlpipe`
    if there:
        raise Failure(
            f"there is a pipeline file already: `{there[0]}`",
            help=f"`mlpipec check -f {there[0]}` looks at it; nothing was changed",
        )


def _import(root: Path, folder: Path) -> None:
    # The importer is loaded where there is something to import.
    from mlflowc.commands import import_

    click.get_current_context().invoke(import_.command, files=(os.fspath(folder / "dvc.yaml"),))
    if _ignore(root, ()):
        click.echo(f"{terminal.style('added to', 'green')} {(folder / '.gitignore').as_posix()}")
    click.echo("`mlpipec import --cache --force` takes over what DVC has made as well: nothing runs again")


def _for_project(root: Path, name: str, project: detect.Project) -> tuple[dict[str, str], tuple[str, ...]]:
    has = {p: (root / p).is_file() for script in project.scripts for p in script.reads}
    text, made = write.pipeline(project, name, has)
    return {_FILE: _formatted(text)}, made


def _example(root: Path, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    files = dict(_templates(resources.files("mlflowc.starter") / "templates", ""))
    files = dict(sorted(files.items()))
    files[_FILE] = _formatted(files[_FILE].replace("@NAME@", name))
    taken = [path for path in files if (root / path).exists()]
    if taken:
        raise Failure(
            f"`{taken[0]}` is there already, and the example needs a file of that name",
            help="no script such as train.py was found here to describe; `mlpipec init NEW_FOLDER` writes\n"
            "the example elsewhere",
        )
    return files, ("results/",)


def _formatted(text: str) -> str:
    formatted = format_source(Source(_FILE, text))
    assert isinstance(formatted, str), formatted
    return formatted


def _templates(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in folder.iterdir():
        path = posixpath.join(prefix, entry.name)
        if entry.is_dir():
            found += _templates(entry, path)
        else:
            # Scripts are kept as `x.py.txt`: they are the user's, not modules of this package.
            found.append((path.removesuffix(".txt"), entry.read_text("utf-8")))
    return found


def _create(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # "x": a file that came into being since we looked is not overwritten either.
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def _ignore(root: Path, paths: tuple[str, ...]) -> bool:
    """Adds what stages write to `.gitignore`; whether that changed it."""
    file = root / ".gitignore"
    before = file.read_text("utf-8", "replace") if file.exists() else ""
    known = {line.strip().strip("/") for line in before.splitlines()}
    lines = [f"/{path}" for path in (*paths, "mlpipe-bundles/") if not _covered(path.strip("/"), known)]
    if not lines:
        return False
    gap = "" if not before else ("\n" if before.endswith("\n") else "\n\n")
    with file.open("a", encoding="utf-8") as out:
        out.write(
            f"{gap}# Made by the pipeline; `mlpipec run` brings it back.\n" + "".join(f"{n}\n" for n in lines)
        )
    return True


def _covered(path: str, known: set[str]) -> bool:
    while path:
        if path in known or (os.path.splitext(path)[1] and "*" + os.path.splitext(path)[1] in known):  # noqa: PTH122
            return True
        path = posixpath.dirname(path)
    return False


def _say(folder: Path, files: tuple[str, ...], grown: bool, project: detect.Project) -> None:
    for path in files:
        click.echo(f"{terminal.style('wrote', 'green')} {(folder / path).as_posix()}")
    if grown:
        click.echo(f"{terminal.style('added to', 'green')} {(folder / '.gitignore').as_posix()}")
    for script in project.scripts:
        click.echo(f"  stage `{script.name}` runs {script.path}")
        if script.needs:
            click.echo(
                f"    {script.path} wants {', '.join(script.needs)}: complete its command before you run it"
            )
    for note in project.notes:
        click.echo(f"  note: {note}")
    click.echo("\nnext:")
    if folder != Path():
        click.echo(f"  cd {folder.as_posix()}")
    click.echo("  mlpipec check     find mistakes")
    click.echo("  mlpipec run       run it; again, and there is nothing to do")
    if not project.scripts:
        click.echo("  mlpipec report review --html report.html")
