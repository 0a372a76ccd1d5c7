"""The credentials that a job of a generated file comes with: see `mlflowc.ir.identity`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlflowc.ir import identity
from mlflowc.ir.model import Event, Pipeline
from mlflowc.jobs.model import Job
from mlflowc.runtime.remotes.trust import decide

if TYPE_CHECKING:
    from mlflowc.runtime.identity.held import Held


@contextlib.contextmanager
def taken(root: Path, pipeline: Pipeline, event: Event, job: Job) -> Iterator[Held | None]:
    """What a job of a CI service has; None on a person's machine, which has credentials of its own.

    Programs that are started meanwhile do not inherit what tokens are got with.
    """
    if not pipeline.auths or decide(os.environ, pipeline.cache.write, pipeline.ci.branch).person:
        yield None
        return
    from mlflowc.runtime.identity import current, tokens  # most pipelines have none
    from mlflowc.runtime.identity.held import Held

    env = tokens.take_away(os.environ)
    wanted = {a.provider: identity.identity(a, event.kind) for a in pipeline.auths if a.provider in job.auths}
    offers = {p: o for p in wanted if (o := tokens.offer(env, p)) is not None}
    session = f"mlpipec-{pipeline.name}-{job.id}"
    try:
        with current.using(Held(wanted, offers, session, outside=root)) as held:
            yield held
    finally:
        os.environ.update({n: v for n, v in env.items() if n not in os.environ})


def withheld(pipeline: Pipeline, event: Event, held: Held | None, given: str | None) -> bool:
    """Whether a job leaves the pipeline's remote alone, for it has no credentials for it; and says so.

    `given` is a remote that the command line names.
    """
    provider = identity.of_remote(pipeline)
    own = given is None or given == pipeline.cache.remote
    if held is None or provider is None or not own or held.has(provider):
        return False
    if not identity.shares(pipeline, event.kind):
        why = f"jobs of pull requests come to {provider} as nobody: see `pull_request` of `auth {provider}`"
    else:
        why = f"this job was given no token for `auth {provider}`"
    print(f"note: the remote is left alone: {why}", file=sys.stderr)
    return True
