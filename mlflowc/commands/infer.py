"""`mlpipec infer`: the type of a real file, to be put into the pipeline."""

from __future__ import annotations

import re
from pathlib import Path

import click

from mlflowc.errors import Failure


@click.command("infer")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option("--name", metavar="NAME", help="Name of the type (default: made of the file's name).")
@click.option(
    "--rows",
    type=click.IntRange(0),
    default=1_000_000,
    show_default=True,
    metavar="N",
    help="Read no more than N rows; 0 for all.",
)
def command(file: str, name: str | None, rows: int) -> None:
    """Write the type of a table file: columns, types, values, ranges.

    FILE is a csv, tsv, jsonl, Parquet or Arrow file. The type holds for it; look through the rules before you
    keep them, for the next file has to pass as well.

    \b
    mlpipec infer data/raw.csv                      type Raw = csv { … }
    mlpipec infer data/raw.csv --name Customers     under another name
    """
    # Behind the options, so that --help is quick.
    from mlflowc.data import infer

    path = Path(file)
    name = name or infer.type_name(path)
    if not re.fullmatch(r"[A-Z][A-Za-z0-9_]*", name):
        raise Failure(f"`{name}` is no name of a type", help="it starts with a capital: `Customers`", code=2)
    type, untyped, read = infer.infer(path, file, rows or None)
    if rows and read == rows:
        click.echo(f"note: from the first {rows:,} rows; --rows 0 reads all", err=True)
    click.echo(infer.written(name, type, untyped), nl=False)
