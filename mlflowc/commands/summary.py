"""The summary of a run, which GitHub shows on its page. Not a command of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mlflowc.errors import Failure

# GitHub takes 1 MiB for all that a step adds.
LIMIT = 900_000


def wanted() -> bool:
    """Whether the service has one."""
    return bool(os.environ.get("GITHUB_STEP_SUMMARY"))


def add(texts: Sequence[str]) -> bool:
    """Adds Markdown to it; whether the service has one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not any(texts):
        return False
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n".join(t for t in texts if t))
    except OSError as e:
        raise Failure(f"cannot write the summary `{path}`: {e.strerror}") from e
    return True
