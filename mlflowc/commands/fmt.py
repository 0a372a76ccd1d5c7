"""`mlpipec fmt`: the canonical form of pipeline files."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

from mlflowc import terminal
from mlflowc.diagnostic import Diagnostic
from mlflowc.errors import Failure
from mlflowc.overwrite import overwrite
from mlflowc.render import text as render
from mlflowc.span import Source
from mlflowc.syntax.decode import decode
from mlflowc.syntax.format import format_source


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--check", is_flag=True, help="Write nothing; name the files that would change, and exit with 1."
)
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
def command(files: tuple[str, ...], check: bool, diff: bool) -> int:
    """Bring pipeline files into the one canonical form, in place.

    FILE is a `.mlpipe` file, a folder (every `.mlpipe` file below it) or `-` (standard input to standard
    output). Without any: all `.mlpipe` files of the current folder. A file with syntax errors stays as it is.
    """
    if "-" in files and len(files) > 1:
        raise Failure("`-` stands alone: standard input goes to standard output", code=2)
    changed, failed = 0, False
    for name in _names(files):
        source = _read(name)
        formatted = source if isinstance(source, Diagnostic) else format_source(source)
        if isinstance(formatted, Diagnostic | tuple):
            found = formatted if isinstance(formatted, tuple) else (formatted,)
            sources = {source.name: source} if isinstance(source, Source) else {}
            sys.stderr.write(render.render(found, sources, stream=sys.stderr, width=terminal.width()))
            failed = True
            continue
        assert isinstance(source, Source)
        same = formatted == source.text and not _had_bom(name)
        changed += not same
        _deliver(name, source, formatted, same, check=check, diff=diff)
    if check and changed:
        files_would = "file" if changed == 1 else "files"
        terminal.error(f"{changed} {files_would} would be reformatted", "run `mlpipec fmt`")
    return 1 if failed or (check and changed) else 0


def _deliver(name: str, source: Source, formatted: str, same: bool, *, check: bool, diff: bool) -> None:
    if diff:
        _show_diff(source, formatted)
    elif check:
        if not same:
            print(source.name)
    elif name == "-":
        sys.stdout.buffer.write(formatted.encode())
        sys.stdout.flush()
    elif not same:
        overwrite(Path(name), formatted.encode())
        print(f"formatted {name}")


def _names(files: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in files or (".",):
        path = Path(name)
        if name == "-" or not path.is_dir():
            found.append(name)
            continue
        below = path.glob("*.mlpipe") if not files else path.rglob("*.mlpipe")
        hidden = [
            p for p in below if not any(part.startswith(".") for part in p.relative_to(path).parts[:-1])
        ]
        found += sorted(str(p) for p in hidden if p.is_file())
    if not found:
        where = "here" if not files else f"in {' '.join(files)}"
        raise Failure(f"no `.mlpipe` file {where}", help="name a file, or write one with `mlpipec init`")
    return list(dict.fromkeys(found))


def _read(name: str) -> Source | Diagnostic:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        raise Failure(f"cannot read `{name}`: {e.strerror or e}") from e
    return decode("<stdin>" if name == "-" else name, data)


def _had_bom(name: str) -> bool:
    if name == "-":
        return False
    with Path(name).open("rb") as file:
        return file.read(3) == b"\xef\xbb\xbf"


def _show_diff(source: Source, formatted: str) -> None:
    lines = difflib.unified_diff(
        source.text.splitlines(keepends=True),
        formatted.splitlines(keepends=True),
        source.name,
        f"{source.name} (formatted)",
    )
    for line in lines:
        ended, _, _ = line.partition("\n")
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        print(terminal.style(ended, *([colour] if colour else [])))
        if not line.endswith("\n"):
            print("\\ No newline at end of file")
