"""Kind of source -> its module. Each has clients of its own, which nobody else should wait for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.ir.model import Data
from mlflowc.sources.port import Opener, Source

_MODULES: Mapping[str, str] = {
    "url": "url",
    "dvc": "dvc",
    "registry": "registry",
    "git": "git",
    "huggingface": "huggingface",
    "sql": "sql",
    "deployed": "deployed",
}
# What to install where a client is missing.
_EXTRAS: Mapping[str, str] = {"url": "remote", "dvc": "remote", "registry": "remote", "sql": "sql"}


def open_source(data: Data, root: Path, env: Mapping[str, str] | None = None) -> Source:
    """The source of a `data` declaration. Raises `Failure`; nothing is sent yet."""
    try:
        module = importlib.import_module(f"mlflowc.sources.{_MODULES[data.source]}")
        opener: Opener = module.open
        return opener(dict(data.args), root, os.environ if env is None else env)
    except ModuleNotFoundError as e:
        if (e.name or "").startswith("mlflowc"):
            raise
        raise Failure(
            f"data `{data.name}` needs `{e.name}`, which is not installed",
            help=extras.install(_EXTRAS.get(data.source, "remote")),
        ) from None
