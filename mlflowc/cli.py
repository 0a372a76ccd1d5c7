"""The door: dispatches to one module a subcommand, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from keyword import iskeyword

import click

from mlflowc import __version__, ending

# Name -> the line in `mlpipec --help`. The module is `mlflowc.commands.<name>`, dashes as underscores.
# In the order shown, by section.
COMMANDS: dict[str, dict[str, str]] = {
    "Write": {
        "init": "Write a commented starter pipeline.",
        "import": "Make a pipeline of a dvc.yaml or of CI files.",
        "check": "Check the pipeline: types, graph, every mistake at once.",
        "fmt": "Format pipeline files.",
        "explain": "Explain a diagnostic code at length.",
        "graph": "Show the graph of stages.",
        "ir": "Print the compiled pipeline.",
        "infer": "Write the type of a real data file.",
    },
    "Run": {
        "run": "Run what is out of date, restore what is cached.",
        "status": "Say what a run would do.",
        "why": "Say why a stage would run.",
        "show": "Show a stage: its parts, key, outputs and last run.",
        "log": "Show what ran, when, and how it ended.",
        "diff": "Compare two runs or revisions: metrics, parameters, outputs, code, packages.",
        "update": "Take in what data sources have now, and pin it.",
        "pull": "Put pinned data in its place.",
        "verify": "Check that the lock file agrees with the checkout.",
        "lock": "Settle the lock file where two branches met.",
        "cache": "Share, check and clear up cached results.",
        "release": "Tag a version of a model, with a card and where it comes from.",
        "verify-model": "Check a file against what its release says.",
        "report": "Show metrics, parameters and plots against a baseline.",
    },
    "CI": {
        "build": "Generate the files of a CI service, or a Makefile.",
        "exec": "Run one job of a generated CI file.",
        "pr": "Open a pull request with the new lock, or update it.",
        "simulate": "Show the jobs that a service would start for an event.",
    },
}


class _ReaderGoneError(Exception):
    """Who reads our output has gone away."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        # `import` is a word of Python: its module is `import_`.
        module = importlib.import_module("mlflowc.commands." + (f"{name}_" if iskeyword(name) else name))
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            from mlflowc.spell import nearest

            guess = nearest(args[0], self.list_commands(ctx)) if args else None
            if guess:
                raise click.UsageError(f"{e.message} Did you mean '{guess}'?", ctx) from None
            raise

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as e:
            # Click would end with 1; we end quietly.
            raise _ReaderGoneError from e

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()))


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="mlpipec", message="%(prog)s %(version)s")
@click.option(
    "-C",
    "folder",
    type=click.Path(exists=True, file_okay=False),
    help="Work in this folder instead of the current one.",
)
def cli(folder: str | None) -> None:
    """One file describes an ML project: data, stages, gates, reports, schedules.
    From it come checked pipelines, cached local runs, and CI for GitHub, GitLab, Bitbucket and make.

    \b
    Start with:  mlpipec init        then:  mlpipec run
    Complete in the shell:  eval "$(_MLPIPEC_COMPLETE=bash_source mlpipec)"   (or zsh_source, fish_source)
    """
    if folder:
        os.chdir(folder)


def main() -> None:
    """Runs the command line and exits: 0, 1 findings or a failed run, 2 usage, 3 a bug, 130 interrupted."""
    sys.exit(run())


def run() -> int:
    """Runs the command line; the exit code."""
    return ending.code_of(_call)


def _call() -> int:
    try:
        result = cli.main(standalone_mode=False, prog_name="mlpipec")
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as e:
        e.show()
        return 2
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except _ReaderGoneError:
        raise BrokenPipeError from None
