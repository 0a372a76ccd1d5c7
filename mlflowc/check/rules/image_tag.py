"""A container image by a tag that can move."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")

CHECK = Check(
    "MLP415",
    Severity.WARNING,
    "an image without a digest",
    explanation(
        """
        A tag can be moved to another image at any time. The digest that it had first is kept in
        `mlpipe.lock` and runs from then on, but the file does not say what that is, and jobs of GitLab and
        Bitbucket cannot be built from it (MLP544). A digest names one image for ever.
        """,
        """
        env box { image = "python:3.11" }
        stage a {
          env = box
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        env box { image = "python@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" }
        stage a {
          env = box
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`image` of each `env`."""
    for block in facts.typed.envs:
        image = block.value.image
        if image is not None and not _DIGEST.fullmatch(image):
            yield Diagnostic.of(
                CHECK,
                f"`{image}` can become another image",
                block.settings.get("image", block.span),
                help="add its digest, `NAME@sha256:…`: `mlpipe.lock` has it after a run",
            )
