"""`mlpipec pr`: the new lock as a pull request, as after a scheduled training."""

from __future__ import annotations

import click

from mlflowc import project
from mlflowc.commands import complete, proposing
from mlflowc.commands.options import file_option
from mlflowc.errors import Failure
from mlflowc.ir import model as ir
from mlflowc.report.forges.place import SERVICES, Given
from mlflowc.runtime.workspace import open_workspace


@click.command("pr")
@click.option(
    "--base", metavar="BRANCH", help="The branch to merge into; else the `branch` of the `ci` block."
)
@click.option("--branch", metavar="NAME", help="The branch to propose; else mlpipe/PIPELINE.")
@click.option(
    "--add", "more", metavar="PATH", multiple=True, help="A file that belongs to it beside the lock."
)
@click.option("--title", metavar="TEXT", help="Its title.")
@click.option(
    "--report",
    "names",
    metavar="NAME",
    multiple=True,
    shell_complete=complete.reports,
    help="A report to show in it.",
)
@click.option("--service", type=click.Choice(tuple(SERVICES)), help="Outside of CI: where.")
@click.option("--repository", metavar="OWNER/NAME", help="The repository (GitLab: path or id).")
@click.option("--api", metavar="URL", help="The API's address, for a service of one's own.")
@file_option
def command(
    base: str | None,
    branch: str | None,
    more: tuple[str, ...],
    title: str | None,
    names: tuple[str, ...],
    service: str | None,
    repository: str | None,
    api: str | None,
    file: str | None,
) -> int:
    """Open a pull request with the new lock, or bring the open one up to date.

    Where the base branch says what the lock here says, nothing is done. HEAD has to be on the base branch;
    the branch that is proposed is made anew from there, with one commit.
    """
    loaded = project.load(file)
    pipeline = loaded.pipeline
    there = proposing.place(Given(service or "", repository or "", None, "", api or ""))
    if there is None:
        raise Failure(
            "no CI service is known here, so where to open it is not, either",
            help=f"say it: {proposing.elsewhere()}",
            code=2,
        )
    _known(pipeline, names)
    wanted = proposing.Offer(
        base or pipeline.ci.branch,
        branch or proposing.usual_branch(pipeline),
        title or f"{pipeline.name}: new results",
        more,
        names,
    )
    ws = open_workspace(loaded.root, pipeline)
    try:
        print(proposing.offer(ws, there, wanted))
    finally:
        ws.close()
    return 0


def _known(pipeline: ir.Pipeline, names: tuple[str, ...]) -> None:
    known = [r.name for r in pipeline.reports]
    for name in names:
        if name not in known:
            help = f"there are: {', '.join(known)}" if known else ""
            raise Failure(f"there is no report `{name}`", help=help, code=2)
