"""Where a project's remote is, and what this process may do there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlflowc.ir.model import Pipeline, Value
from mlflowc.runtime.remotes.signing import NOTHING, VARIABLE, Demand
from mlflowc.runtime.remotes.transport import scheme_of
from mlflowc.runtime.remotes.trust import Trust, decide


class Place(NamedTuple):
    """Where a remote is and how to use it. `state` is the project's `.mlpipe`, `demand` what is believed.

    `lacks` names the credentials that this job was to be given and was not: one of a fork's pull request.
    `own`: it has credentials of its own, and takes none of an `auth`.
    """

    address: str
    root: Path
    state: Path
    options: Mapping[str, Value]
    trust: Trust
    demand: Demand = NOTHING
    lacks: tuple[str, ...] = ()
    own: bool = False


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
    env = os.environ if env is None else env
    own = given is None or given == cache.remote
    trust = decide(env, cache.write, pipeline.ci.branch)
    demand = Demand(cache.keys, cache.require_signature)
    # A service passes a secret that it does not give as an empty variable, or not at all. On a person's
    # machine, credentials may come from anywhere.
    needed = cache.secrets if own and not trust.person else ()
    secret = own and any(n != VARIABLE for n in cache.secrets)
    lacks = tuple(n for n in needed if n != VARIABLE and not env.get(n))
    return Place(address, root, state, dict(cache.options) if own else {}, trust, demand, lacks, secret)
