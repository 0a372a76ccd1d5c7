"""Calls uv, and turns what it says into messages."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from mlflowc.errors import Failure

# uv would take these for the environment to work in, or for a request for another Python.
_NOT_PASSED = frozenset(
    ["VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "PYTHONHOME", "PYTHONPATH"]
)
_NO_NETWORK = re.compile(
    r"error sending request|dns error|failed to lookup|connection refused|network is unreachable|timed? ?out"
    r"|failed to fetch|network connectivity is disabled|client error \(connect\)",
    re.IGNORECASE,
)


class NetworkFailure(Failure):
    """uv could not reach a package index."""


@cache
def binary() -> str:
    """The path of uv: the one that came with this package, else that on PATH. Raises `Failure`."""
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if not found:
        raise Failure(
            "`uv` is needed to make the environment, and it is not there",
            help="install it: `pip install uv`",
        )
    return found


def run(
    arguments: Sequence[str],
    *,
    folder: Path,
    doing: str,
    variables: Mapping[str, str] | None = None,
    help: str = "",
    said: str | None = None,
) -> str:
    """Runs uv in `folder`, with `said` as its standard input, and returns its standard output.

    Raises `Failure` "cannot {doing}" with uv's own words, `NetworkFailure` when it was the network.
    """
    import subprocess  # slow to import, and a run with nothing to do never gets here

    environment = {k: v for k, v in os.environ.items() if k not in _NOT_PASSED}
    environment |= {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_NO_ENV_FILE": "1", **(variables or {})}
    try:
        done = subprocess.run(
            [binary(), *arguments],
            cwd=folder,
            env=environment,
            input=said or "",
            capture_output=True,
            text=True,
        )
    except OSError as e:
        raise Failure(f"cannot {doing}: `uv` does not start: {e.strerror}") from None
    if done.returncode == 0:
        return done.stdout
    words = _words(done.stderr)
    if _NO_NETWORK.search(done.stderr) and "No solution found" not in words:
        raise NetworkFailure(
            f"cannot {doing}: the package index is out of reach\n{words}",
            help="check the network, a proxy (HTTPS_PROXY) or the index (UV_DEFAULT_INDEX);\n"
            "what `mlpipe.lock` and the caches of uv and mlpipec hold needs no network",
        )
    raise Failure(f"cannot {doing}: uv says\n{words}", help=help)


def _words(said: str) -> str:
    """What uv says of the error itself: warnings about interpreters that it looked at before are left out."""
    match = re.search(r"^(?:error|  ?×)", said, re.MULTILINE)
    lines = (said[match.start() :] if match else said).strip().splitlines()
    shown = lines if len(lines) <= 20 else [*lines[:8], "...", *lines[-11:]]
    return "\n".join("  " + line for line in shown)
