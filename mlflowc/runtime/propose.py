"""A branch with new results on it: one commit on top of the one that they were made from.

Safe to do again and again. The branch is made anew each time, and compared by content: after its pull request
was merged, squashed or not, there is nothing left to propose. Only commits of our own (their message has the
trailer) are ever replaced.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlflowc.addresses import without_login
from mlflowc.errors import Failure
from mlflowc.runtime import gitcalls
from mlflowc.runtime.gitcalls import Said

TRAILER = "Mlpipe-Pipeline"
# Who commits where git knows nobody.
_US = {
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "mlpipec"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "mlpipec@users.noreply.invalid"),
}


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a token for pushing by HTTP to `host`, and to nobody else."""

    host: str
    name: str
    token: str

    def environment(self, url: str) -> dict[str, str]:
        """Variables that make git say it. Not as an argument: everybody on the machine can read those."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname != self.host or not self.token:
            return {}
        word = base64.b64encode(f"{self.name}:{self.token}".encode()).decode()
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {word}",
        }


@dataclass(frozen=True, slots=True)
class Proposal:
    """`commit` is what the branch has now; `pushed` whether it had something else before. `before` is the
    commit that the results were made from."""

    commit: str
    before: str
    pushed: bool


def propose(
    root: Path, paths: Sequence[str], *, base: str, branch: str, message: str, name: str, login: Login
) -> Proposal | None:
    """Puts `paths` (of the folder `root`) as they are now on `branch` of the remote `origin`.

    `name` is the pipeline's, for the trailer. None where `base` has the same already. Raises `Failure`: no
    repository, no remote, a HEAD that `base` does not have, commits of others on the branch.
    """
    git = _Git(root, login)
    head = git("rev-parse", "--verify", "HEAD^{commit}", why="this is no git repository with a commit")
    there = git.branches(base, branch)
    if base not in there:
        raise Failure(f"the remote has no branch `{base}`", help="say which with --base")
    git.fetch(base, why=f"cannot fetch `{base}`")
    if head != there[base] and not git.ok("merge-base", "--is-ancestor", head, there[base]):
        raise Failure(
            f"HEAD is not on `{base}`: new results are proposed from there alone",
            help="so that what is proposed cannot start another proposal",
        )
    tree = git.tree(head, paths)
    tip = there[base]
    if tree == git.tree_of(head) or git.tree(tip, paths) == git.tree_of(tip):
        return None
    old = there.get(branch, "")
    if old:
        git.fetch(branch, why=f"cannot fetch `{branch}`")
        git.refuse_others(old, there[base], branch, name)
        if git.tree_of(old) == tree and git("rev-parse", f"{old}^") == head:
            return Proposal(old, head, False)
    commit = git("commit-tree", tree, "-p", head, "-m", f"{message}\n\n{TRAILER}: {name}\n")
    lease = f"--force-with-lease=refs/heads/{branch}:{old}"
    target = f"{commit}:refs/heads/{branch}"
    git("push", "--quiet", lease, git.url, target, why=f"cannot push `{branch}`")
    return Proposal(commit, head, True)


class _Git:
    """Git in one repository."""

    def __init__(self, root: Path, login: Login) -> None:
        self.root = root
        self.more: dict[str, str] = {}
        self._somebody: Mapping[str, str] | None = None
        url = self("remote", "get-url", "origin", why="there is no remote `origin`")
        # A job's own token in it may read, but not push.
        bare = without_login(url)
        self.url = bare if login.environment(bare) else url
        self.more = login.environment(self.url)

    def __call__(self, *args: str, why: str = "", env: Mapping[str, str] | None = None) -> str:
        done = self._run(args, env)
        if done.code != 0:
            words = done.err.strip().splitlines()[-1:] or ["git failed"]
            raise Failure(why or f"git {args[0]} failed", help=without_login(words[0]))
        return done.out.strip()

    def ok(self, *args: str) -> bool:
        """Whether it ends with 0."""
        return self._run(args, None).code == 0

    def _run(self, args: Sequence[str], env: Mapping[str, str] | None) -> Said:
        try:
            if self._somebody is None:
                known = gitcalls.attempt(self.root, "config", "user.email", env=os.environ).code == 0
                self._somebody = {} if known else _US
            variables = {**self._somebody, **os.environ, **self.more, **(env or {})}
            return gitcalls.attempt(self.root, *args, env=variables)
        except gitcalls.GitError as e:
            raise Failure(str(e)) from e

    def branches(self, *names: str) -> dict[str, str]:
        """The commits of those branches that the remote has."""
        refs = [f"refs/heads/{n}" for n in names]
        listed = self("ls-remote", self.url, *refs, why="cannot ask the remote `origin`")
        rows = (line.split("\t") for line in listed.splitlines())
        return {ref.removeprefix("refs/heads/"): commit for commit, ref in rows if ref in refs}

    def fetch(self, branch: str, *, why: str) -> None:
        """Brings the branch's commits here, and moves nothing."""
        self("fetch", "--quiet", "--no-tags", self.url, f"refs/heads/{branch}", why=why)

    def tree_of(self, commit: str) -> str:
        """A commit's files."""
        return self("rev-parse", f"{commit}^{{tree}}")

    def tree(self, commit: str, paths: Sequence[str]) -> str:
        """The commit's files with `paths` as they are in the work tree."""
        with tempfile.TemporaryDirectory() as folder:
            env = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            self("read-tree", commit, env=env)
            self("add", "--all", "--force", "--", *paths, env=env, why="cannot take the files in")
            return self("write-tree", env=env)

    def refuse_others(self, tip: str, base: str, branch: str, name: str) -> None:
        """Raises `Failure` where the branch has commits that are not of `propose`."""
        form = f"%H %(trailers:key={TRAILER},valueonly,separator=%x2C)"
        for line in self("log", f"--format={form}", tip, "--not", base, "HEAD").splitlines():
            commit, _, found = line.partition(" ")
            if found.strip() != name:
                raise Failure(
                    f"`{branch}` has a commit that is not mlpipec's: {commit[:9]}",
                    help="merge it or remove the branch; or say another with --branch",
                )
