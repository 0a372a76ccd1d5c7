"""Jobs whose stages run in an image, at services whose jobs are in containers themselves.

Such a job is in the image, and tells `mlpipec exec` so: there is nothing that could start a container in it.
A runner with labels is a machine of the user's; there `exec` starts the container as on a laptop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mlflowc.backends import text

from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir.model import Pipeline
from mlflowc.jobs.model import Job, Workflow
from mlflowc.target import Settings

_DIGEST = re.compile(r".+@(sha256:[0-9a-f]{64})")
_STAGE = """\
stage a {
  env = box
  out x = "x.csv"
  run = "touch {{x}}"
}
on push("main") { run = [a] }
"""

TAG = Check(
    "MLP544",
    Severity.ERROR,
    "a job would run in whatever a tag names",
    explanation(
        """
        At GitLab and Bitbucket a job of stages with an `image` runs in that image, which the service looks
        up by the name in its file. A tag can name another image tomorrow, and results of that would be
        kept under the key of this one. So `build` wants the digest. `mlpipec run` keeps the one that the
        tag had in `mlpipe.lock`.
        """,
        'env box { image = "python:3.11" }\n' + _STAGE,
        'env box { image = "python@sha256:' + "0123456789abcdef" * 4 + '" }\n' + _STAGE,
    ),
)


def image_of(pipeline: Pipeline, job: Job, service: str) -> str | None:
    """The image that the job is in; None where it is the usual one."""
    if text.own_labels(pipeline, job, service):
        return None
    used = {s.env for s in pipeline.stages if s.id in job.stages}
    used |= {a.env for a in pipeline.actions if a.name == job.action}
    found = [e.image for e in pipeline.envs if e.name in used and e.image is not None]
    return found[0] if found else None


def said(image: str | None) -> list[str]:
    """The line of a script that tells `mlpipec exec` which image it is in."""
    match = _DIGEST.fullmatch(image or "")
    return [f"export MLPIPE_IMAGE={match[1]}"] if match else []


def findings(
    workflows: Iterable[Workflow], pipeline: Pipeline, settings: Settings, service: str
) -> Iterator[Diagnostic]:
    """Images that a job would be in, and that have no digest."""
    images = {image_of(pipeline, j, service) for w in workflows for j in w.jobs}
    for env in pipeline.envs:
        if env.image in images and env.image is not None and not _DIGEST.fullmatch(env.image):
            yield Diagnostic.of(
                TAG,
                f"jobs would run in whatever `{env.image}` is then",
                settings.locate(env.place),
                help="say the digest, `NAME@sha256:…`: `mlpipe.lock` has it after a run",
            )
