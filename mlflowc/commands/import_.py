"""`mlpipec import`: a project that has a pipeline or CI already, as a `.mlpipe` file that does the same."""

from __future__ import annotations

import json
import os

import click

from mlflowc import terminal
from mlflowc.errors import Failure
from mlflowc.importing import assemble, dvc, show
from mlflowc.importing.coverage import Coverage
from mlflowc.overwrite import overwrite
from mlflowc.project import DEFAULT


@click.command("import")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default=None,
    help=f"Write this file (default: {DEFAULT} beside dvc.yaml).",
)
@click.option(
    "--stdout",
    "to_stdout",
    is_flag=True,
    help="Print the pipeline instead of writing it; the report goes to stderr.",
)
@click.option("--force", is_flag=True, help="Overwrite a pipeline file that is there.")
@click.option(
    "--cache", "take_cache", is_flag=True, help="Take over DVC's results as well, so that nothing runs again."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    files: tuple[str, ...], output: str | None, to_stdout: bool, force: bool, take_cache: bool, as_json: bool
) -> int:
    """Make a pipeline file of a dvc.yaml, or of CI files.

    FILE is a `dvc.yaml` (the default, if there is one), a `.github/workflows/*.yml` or a
    `.gitlab-ci.yml`. What could not be carried over is listed with its place, and with what to do.
    """
    if to_stdout and take_cache:
        raise Failure("`--cache` needs a file that is written, and `--stdout` writes none", code=2)
    coverage = Coverage()
    plan = assemble.plan(files, output)
    if not to_stdout and not force and plan.target.exists():
        raise Failure(
            f"there is a `{os.path.relpath(plan.target)}` already",
            help="`--force` overwrites it, `-o FILE` writes another, `--stdout` only prints",
        )
    made = assemble.make(plan, coverage)
    if plan.dvc is not None and not take_cache:
        dvc.left_behind(plan.root, plan.dvc, coverage)
    if to_stdout:
        click.echo(made.text, nl=False)
    else:
        overwrite(plan.target, made.text.encode())
    if take_cache:
        _take(plan, made, coverage)
    if as_json:
        report = {
            "file": None if to_stdout else str(plan.target),
            "findings": [f.as_json() for f in coverage.findings],
        }
        click.echo(json.dumps(report, indent=1), err=to_stdout)
    else:
        if not to_stdout:
            click.echo(f"{terminal.style('wrote', 'green')} {os.path.relpath(plan.target)}")
        click.echo(show.text(coverage), nl=False, err=to_stdout)
    return 0


def _take(plan: assemble.Plan, made: assemble.Made, coverage: Coverage) -> None:
    if made.project is None or made.built is None:
        raise Failure("`--cache` takes over results of DVC, and there is no dvc.yaml", code=2)
    from mlflowc.importing import takeover  # the runtime: only where it is needed

    takeover.take(plan.target, made.project, made.built, coverage)
