"""`mlpipec cache key`: making and showing the key that signs results."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from mlflowc.errors import Failure
from mlflowc.runtime.remotes import signing


def new(out: Path | None) -> int:
    """Makes a key; never in place of another. Raises `Failure`."""
    path = out.expanduser() if out is not None else signing.default_file()
    secret, public = signing.new()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(secret + "\n")
    except FileExistsError:
        raise Failure(
            f"`{path}` exists already",
            help="`mlpipec cache key show` tells its public part; or give --out FILE",
        ) from None
    except OSError as e:
        raise Failure(f"cannot write `{path}`: {e.strerror}") from e
    told = "" if out is None else f" with {signing.FILE_VARIABLE}={shlex.quote(str(path))}"
    click.echo(
        f"the secret key is in {path}: whoever can read it can sign\n"
        f"  here it is found by itself{told}; in CI, put its text into a secret `{signing.VARIABLE}`\n"
        "  that only jobs of the protected branch are given\n"
        "the public key, for the `cache` block of the pipeline:\n"
        f'  keys = ["{public}"]'
    )
    return 0


def show() -> int:
    """Prints the public key, or says that there is none."""
    found = signing.signer()
    if found is None:
        raise Failure(
            f"there is no signing key: neither `{signing.VARIABLE}` nor `{signing.default_file()}`",
            help="make one with `mlpipec cache key new`",
        )
    click.echo(found.public)
    return 0
