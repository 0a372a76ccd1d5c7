"""Why a key is not that of the lock, in a clone that has no record of the result: what the lock and git tell.

The lock has the values of a stage's parameters, and what the stages before it made, so whether these alone
make the key another can be worked out. Which files are others is told by git: since the commit that brought
the key into the lock.
"""

from __future__ import annotations

import functools
from pathlib import Path

from mlflowc.runtime import explain, gitcalls
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.lockfile import NAME
from mlflowc.runtime.plan import Step
from mlflowc.runtime.workspace import Workspace

_FILES = 5


class SinceLock:
    """Of one workspace. Asks git at most `questions` times, for it may have much to read."""

    def __init__(self, ws: Workspace, questions: int = 20) -> None:
        self._ws = ws
        self._left = questions
        self._changed = functools.cache(lambda commit: _changed(ws.root, commit))

    def reasons(self, step: Step) -> list[str]:
        """Words for all that is known to be other than when the key of the lock was made."""
        locked = self._ws.lock.stage(step.stage.id)
        if locked is None:
            return []
        said, all_told = explain.beside_lock(self._ws, step.stage, step.components)
        return said if said and all_told else said + self._files(step, locked.key)

    def _files(self, step: Step, key: str) -> list[str]:
        if self._left <= 0:
            return []
        self._left -= 1
        try:
            told = gitcalls.said(self._ws.root, "log", "-1", "--format=%H", f"-S{key}", "--", NAME)
            commit = (told or "").strip()
            changed = self._changed(commit) if commit else frozenset()
        except GitError:
            return []
        asked = {seen.path for seen, _ in step.seen}
        found = sorted(p for p in changed if not asked.isdisjoint((p, *map(str, Path(p).parents))))
        named = {p.rpartition(":")[2] for p in step.components if p.startswith("code:")}
        lines = [f"{'code ' if p in named else ''}`{p}` changed since {commit[:9]}" for p in found[:_FILES]]
        more = len(found) - len(lines)
        return [*lines, *([f"and {more} more files"] if more > 0 else [])]


def _changed(root: Path, commit: str) -> frozenset[str]:
    """Paths of files that are not as that commit had them."""
    told = gitcalls.said(root, "diff", "--name-only", "--relative", "-z", commit, "--", ".")
    return frozenset(n for n in (told or "").split("\0") if n and n != NAME)
