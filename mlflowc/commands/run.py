"""`mlpipec run`: brings stages up to date, then decides the gates.

With nothing to do it is over before anything heavy is imported: see `mlflowc.quick`.
"""

from __future__ import annotations

from pathlib import Path

import click

from mlflowc import quick
from mlflowc.commands import complete
from mlflowc.commands.options import file_option, overrides, remote_option, sandbox_option, set_option


@click.command("run")
@click.argument("names", metavar="[TARGET]...", nargs=-1, shell_complete=complete.targets)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Run N stages at once (default: one a processor).",
)
@set_option
@click.option(
    "--on",
    "event",
    metavar="EVENT",
    shell_complete=complete.events,
    help="With the targets and parameters of this event, as in --on pull-request.",
)
@click.option("--force", is_flag=True, help="Run the targets again, whatever is cached.")
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, run what does not depend on it.")
@click.option(
    "--gpus", type=click.IntRange(0), metavar="N", help="Share out N GPUs (default: those that are there)."
)
@sandbox_option
@click.option(
    "--fix", is_flag=True, help="With --sandbox audit: write the missing `in` lines into the pipeline file."
)
@click.option("--locked", is_flag=True, help="Pin no data: what is not pinned is an error, as it is in CI.")
@click.option("-n", "--dry", "--dry-run", "dry", is_flag=True, help="Only say what would be done.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the outcome as JSON; output of commands goes to stderr."
)
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write stages, types of data and gates as JUnit XML, which CI services show.",
)
@remote_option
@file_option
def command(
    names: tuple[str, ...],
    jobs: int | None,
    settings: tuple[str, ...],
    event: str | None,
    force: bool,
    keep_going: bool,
    gpus: int | None,
    sandbox: str,
    fix: bool,
    locked: bool,
    dry: bool,
    as_json: bool,
    junit: Path | None,
    remote: str | None,
    file: str | None,
) -> int:
    """Run what is out of date, restore what is cached.

    TARGET is a stage (by name: all its instances; by id: one, as in 'train[de]'), a sweep, a gate or a
    report. Without targets, all stages are brought up to date, sweeps only where something reads them, and
    all gates are decided.

    With --set, outputs and mlpipe.lock are those of these values, until a run without it takes the others
    back from the cache.
    """
    given = overrides(settings)
    if not (names or event or force or dry or as_json or junit or fix or sandbox != "off"):
        fresh = quick.run(file, given)
        if fresh is not None:
            return fresh
    # The planner, the scanner of imports, and all that: only when there may be something to do.
    from mlflowc.commands.running import Asked, bring_up_to_date

    asked = Asked(
        names,
        jobs,
        given,
        event,
        force,
        keep_going,
        dry,
        as_json,
        file,
        gpus,
        sandbox,
        fix,
        remote,
        locked,
        junit=junit,
    )
    return bring_up_to_date(asked)
