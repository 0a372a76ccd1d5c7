"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mlflowc.commands import complete
from mlflowc.errors import Failure

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

file_option: _Decorator = click.option(
    "-f",
    "--file",
    metavar="FILE",
    default=None,
    help="The pipeline file (default: pipeline.mlpipe, or the only *.mlpipe here).",
)
set_option: _Decorator = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    shell_complete=complete.settings,
    help="Set a parameter for this call, as in train.lr=0.1.",
)
sandbox_option: _Decorator = click.option(
    "--sandbox",
    type=click.Choice(["off", "audit", "enforce"]),
    default="off",
    envvar="MLPIPEC_SANDBOX",
    show_envvar=True,
    help="Tell of files that a stage touches and does not declare (audit), or refuse them (enforce).",
)


def remote_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--remote ADDRESS` and `--no-remote`, as `remote`: None as the pipeline says, "" without one."""
    off = click.option("--no-remote", "remote", flag_value="", help="Leave the remote alone.")
    on = click.option(
        "--remote",
        "remote",
        metavar="ADDRESS",
        default=None,
        help="Share results there instead: a folder, or s3://, gs://, az://, https://, ssh://.",
    )
    return on(off(command))


def overrides(settings: tuple[str, ...]) -> dict[str, str]:
    """`("a.b=1",)` as `{"a.b": "1"}`; a setting without `=` is a usage failure."""
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise Failure(
                f"`--set {setting}` is not of the form NAME=VALUE", help="as in --set train.lr=0.1", code=2
            )
        values[name.strip()] = value
    return values
