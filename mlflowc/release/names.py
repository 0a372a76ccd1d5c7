"""Versions and the tags that say them, as GTO has it: `model@v1.2.0`, `model#prod#3`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from mlflowc.errors import Failure
from mlflowc.sources import gto

_ARTIFACT = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-/_]*[a-zA-Z0-9])?")
_VERSION = re.compile(
    r"v?((?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)"
)
BUMPS = ("major", "minor", "patch")


class Known(NamedTuple):
    """What the tags of a repository say: `tags` are names to commits."""

    tags: Mapping[str, str]

    @property
    def said(self) -> list[gto.Event]:
        """The tags that are of artifacts, in their order."""
        return gto.events(self.tags)

    def versions(self, artifact: str) -> list[gto.Deployed]:
        """The registered versions, the greatest last."""
        return gto.versions(self.said, artifact)


def artifact(name: str) -> str:
    """`name`, if it can name an artifact. Raises `Failure`."""
    if not _ARTIFACT.fullmatch(name):
        raise Failure(
            f"`{name}` cannot name an artifact",
            help="letters, digits, `-`, `_` and `/`, as in --name churn",
            code=2,
        )
    return name


def version(text: str) -> str:
    """`text` as a version with its `v`. Raises `Failure`."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise Failure(f"`{text}` is no version", help="as in --version v1.2.0", code=2)
    return f"v{found[1]}"


def bumped(last: str | None, part: str) -> str:
    """The version after `last` (None: there is none): its `part` is one more, and what follows it is 0."""
    numbers = [int(n) for n in re.findall(r"\d+", (last or "v0.0.0").partition("-")[0].partition("+")[0])]
    if last and "-" in last.partition("+")[0] and part == "patch":
        return "v" + ".".join(map(str, numbers))  # v1.2.0-rc.1 is before v1.2.0
    at = BUMPS.index(part)
    after = [*numbers[:at], numbers[at] + 1, *[0] * (2 - at)]
    return "v" + ".".join(map(str, after))


def version_tag(artifact: str, version: str) -> str:
    """The tag that registers a version."""
    return f"{artifact}@{version}"


def stage_tag(known: Known, artifact: str, stage: str) -> str:
    """The next tag that puts something into a stage: the counter goes on over all stages of the artifact."""
    if not _ARTIFACT.fullmatch(stage):
        raise Failure(f"`{stage}` cannot name a stage", help="as in --stage prod", code=2)
    last = max((e.counter for e in known.said if e.artifact == artifact), default=0)
    return f"{artifact}#{stage}#{last + 1}"
