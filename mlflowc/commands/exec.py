"""`mlpipec exec`: one job of a generated file. The only command that such files hold.

A line without options does not come by here: see `mlflowc.quick.understood`.
"""

from __future__ import annotations

from pathlib import Path

import click

from mlflowc.commands import complete
from mlflowc.commands.executing import Asked, execute_job
from mlflowc.commands.options import file_option, remote_option, sandbox_option


@click.command("exec")
@click.argument("job", shell_complete=complete.targets)
@click.option(
    "--on",
    "event",
    metavar="EVENT",
    shell_complete=complete.events,
    help="The event whose job it is, as in --on pull-request.",
)
@click.option(
    "--outputs",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Add what the plan found out to FILE.",
)
@click.option(
    "--format", "form", type=click.Choice(["github", "dotenv", "bitbucket"]), help="The form of --outputs."
)
@click.option(
    "--post", is_flag=True, help="Post reports and gates on the pull request, as the `ci` block says."
)
@remote_option
@sandbox_option
@file_option
def command(
    job: str,
    event: str | None,
    outputs: Path | None,
    form: str | None,
    post: bool,
    remote: str | None,
    sandbox: str,
    file: str | None,
) -> int:
    """Run one job of a generated CI file.

    With --on, JOB is a job of that event. It takes in what other jobs left in mlpipe-bundles/,
    does exactly its own part, and leaves mlpipe-bundles/JOB.tar. Without --on, JOB is a stage,
    a gate or a report, and what comes before must be there.
    """
    if (outputs is None) != (form is None):
        raise click.UsageError("--outputs and --format go together")
    if post and event is None:
        raise click.UsageError("--post belongs to the job `check` of an event: give --on")
    if outputs is not None and event is None:
        raise click.UsageError("--outputs belongs to the job `plan` of an event: give --on")
    return execute_job(Asked(job, event, outputs, form, post, remote, sandbox, file))
