"""`mlpipec graph`: the graph of stages, data, gates, reports and actions."""

from __future__ import annotations

import importlib
import sys

import click

from mlflowc import project, terminal
from mlflowc.commands import complete
from mlflowc.commands.options import file_option


@click.command("graph")
@file_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot", "svg"]),
    default="text",
    show_default=True,
    help="text for the terminal, mermaid for Markdown, dot for Graphviz, svg for a web page.",
)
@click.argument("targets", metavar="[TARGET…]", nargs=-1, shell_complete=complete.drawn)
def command(file: str | None, form: str, targets: tuple[str, ...]) -> None:
    """Show the graph: what is made from what.

    With TARGETs (stages, gates, reports, actions), only these and all that they need.

    \b
    mlpipec graph                        in the terminal
    mlpipec graph train                  what train needs
    mlpipec graph --format svg > g.svg   a picture
    """
    from mlflowc.draw import model  # behind the options, so that --help is quick

    drawing = model.drawing(project.load(file).pipeline, targets)
    if form == "text":
        from mlflowc.draw import text

        click.echo(text.render(drawing, width=min(terminal.width(), 120), paint=terminal.style), nl=False)
        return
    renderer = importlib.import_module(f"mlflowc.draw.{form}")
    sys.stdout.write(renderer.render(drawing))
