"""`mlpipec explain`: the long form of a diagnostic."""

from __future__ import annotations

import click

from mlflowc import terminal
from mlflowc.commands import complete
from mlflowc.errors import Failure


@click.command("explain")
@click.argument("code", required=False, shell_complete=complete.codes)
def command(code: str | None) -> None:
    """Explain a diagnostic at length: why it matters, an example, and the example mended.

    Without CODE, list all codes.

    \b
    mlpipec explain MLP328
    """
    # The table imports every module that finds anything: not for --help.
    from mlflowc.check import registry

    if code is None:
        _list()
        return
    check = registry.find(code)
    if check is None:
        from mlflowc.spell import nearest

        wanted = registry.normal_code(code)
        guess = nearest(wanted, (c.code for c in registry.all_checks()))
        raise Failure(
            f"there is no diagnostic {wanted}",
            help=(f"the nearest is {guess}; " if guess else "") + "`mlpipec explain` lists all of them",
            code=2,
        )
    tone = "red" if check.severity == "error" else "yellow"
    head = terminal.style(f"{check.severity}[{check.code}]", "bold", tone)
    click.echo(f"{head}: {terminal.style(check.title, 'bold')}\n")
    click.echo(_plain(check.explanation))


def _list() -> None:
    from mlflowc.check import registry

    phase = ""
    for check in registry.all_checks():
        if check.code[3] != phase:
            click.echo(("\n" if phase else "") + terminal.style(registry.PHASES[check.code[3]], "bold"))
            phase = check.code[3]
        tone = "red" if check.severity == "error" else "yellow"
        click.echo(f"  {terminal.style(check.code, tone)}  {check.title}")


def _plain(markdown: str) -> str:
    """Markdown for the terminal: a fenced block becomes an indented one under a word that says what it is."""
    lines: list[str] = []
    inside = False
    for line in markdown.strip().splitlines():
        if line.startswith("```"):
            if not inside:
                lines.append(terminal.style("Fails:" if "fails" in line else "Right:", "bold"))
                lines.append("")
            inside = not inside
            continue
        lines.append(f"    {line}".rstrip() if inside else line)
    return "\n".join(lines)
