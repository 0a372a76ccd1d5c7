"""Where a project's remote is, and what this process may do there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlflowc.ir.model import Pipeline, Value
from mlflowc.runtime.remotes.transport import scheme_of
from mlflowc.runtime.remotes.trust import Trust, decide


class Place(NamedTuple):
    """Where a remote is and how to use it. `state` is the project's `.mlpipe`."""

    address: str
    root: Path
    state: Path
    options: Mapping[str, Value]
    trust: Trust


def place_of(
    root: Path,
    state: Path,
    pipeline: Pipeline,
    given: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Place | None:
    """The remote that the command line (`given`) or else the pipeline names; None without one."""
    cache = pipeline.cache
    address = given if given is not None else cache.remote
    if not address:
        return None
    scheme_of(address)
    options = dict(cache.options) if given is None or given == cache.remote else {}
    trust = decide(os.environ if env is None else env, cache.write, pipeline.ci.branch)
    return Place(address, root, state, options, trust)
