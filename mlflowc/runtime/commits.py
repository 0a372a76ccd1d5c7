"""Which commit is checked out: by git's own files where those say it, by git where they do not."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Each makes git look elsewhere than in the `.git` above.
_POINTING = frozenset(
    f"GIT_{n}" for n in ("DIR", "WORK_TREE", "COMMON_DIR", "NAMESPACE", "CEILING_DIRECTORIES", "REF_STORAGE")
)
_HASH = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def checked_out(root: Path) -> str | None:
    """The hash of the commit; None outside of git, and before the first."""
    found = _by_files(root) if _POINTING.isdisjoint(os.environ) else None
    return _by_git(root) if found is None else found or None


def _by_files(root: Path) -> str | None:
    """The same from `HEAD` and the branch's own file; "" where there is no repository, None where more has to
    be known: references in a table or packed, worktrees, submodules.
    """
    folder = next((f for p in (root, *root.parents) if os.path.lexists(f := p / ".git")), None)
    if folder is None:
        return ""
    try:
        content = (folder / "HEAD").read_bytes().strip()
        if content.startswith(b"ref: refs/heads/"):
            content = (folder / os.fsdecode(content[5:])).read_bytes().strip()
    except OSError:
        return None
    return content.decode() if _HASH.fullmatch(content) else None


def _by_git(root: Path) -> str | None:
    from mlflowc.runtime import gitcalls  # processes are slow to import, and seldom needed

    try:
        return (gitcalls.said(root, "rev-parse", "--verify", "--quiet", "HEAD") or "").strip() or None
    except gitcalls.GitError:
        return None
