"""`mlpipec verify`: does `mlpipe.lock` belong to this checkout? Needs no data that stages made."""

from __future__ import annotations

import json

import click

from mlflowc import project, terminal
from mlflowc.commands.options import file_option
from mlflowc.runtime.foreseen import verify
from mlflowc.runtime.progress import count
from mlflowc.runtime.workspace import open_workspace


@click.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@file_option
def command(as_json: bool, file: str | None) -> int:
    """Check that the lock file agrees with the checkout.

    Every stage's key is computed from the files here and from the results that the lock names, and compared
    with the key in the lock. Ends with exit code 1 when one differs: somebody changed the project without a
    run.
    """
    loaded = project.load(file)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        problems = verify(ws)
    finally:
        ws.close()
    total = len(loaded.pipeline.stages)
    if as_json:
        print(
            json.dumps(
                {"ok": not problems, "stages": total, "problems": problems}, indent=2, ensure_ascii=False
            )
        )
        return 1 if problems else 0
    for stage, problem in problems.items():
        print(f"{terminal.style(stage, 'bold')}: {problem}")
    if problems:
        terminal.error(
            f"the lock does not agree with the checkout in {count(len(problems), 'place')}",
            "`mlpipec run` brings it up to date; commit `mlpipe.lock` with the change",
        )
        return 1
    print(f"the lock agrees with the checkout: {count(total, 'stage')}")
    return 0
