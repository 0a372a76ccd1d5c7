"""What the command is that adds an optional part of mlpipec."""

from __future__ import annotations

import sys
from pathlib import Path

# What the installers that give each program an environment of its own leave there.
_OWN = (("uv-receipt.toml", "uv tool install"), ("pipx_metadata.json", "pipx install --force"))


def install(extra: str) -> str:
    """The command that installs mlpipec with `extra` (`data`, `remote`, …: see the README), by what installed
    this one."""
    by = next((command for file, command in _OWN if Path(sys.prefix, file).exists()), "pip install")
    return f"{by} 'mlflowc[{extra}]'"
