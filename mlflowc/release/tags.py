"""Tags of the repository: reading them, and making those of a release.

The message of a version's tag carries its statement, so that whoever has the tag has the statement, too.
"""

from __future__ import annotations

import base64
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflowc.addresses import without_login
from mlflowc.errors import Failure
from mlflowc.release.statement import BadStatementError, Envelope, decode
from mlflowc.runtime import gitcalls
from mlflowc.runtime.gitcalls import Said

_BEGIN, _END = "-----BEGIN MLPIPE PROVENANCE-----", "-----END MLPIPE PROVENANCE-----"
_DIGEST = re.compile(r"^provenance sha256:([0-9a-f]{64})$", re.MULTILINE)
# A longer statement (of a folder with thousands of files) is only named by its hash.
LARGEST = 256 * 1024


class NoStatementError(Exception):
    """A tag has no statement in its message. `digest` is that of the one that it names, or empty."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class Tags:
    """The tags of the repository around a folder. All methods raise `Failure` where git does."""

    def __init__(self, folder: Path, more: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._more = dict(more or {})
        self._somebody: dict[str, str] = {}

    def all(self) -> dict[str, str]:
        """Names to the commits that they lead to."""
        form = "%(refname:strip=2)%00%(objectname)%00%(*objectname)"
        rows = self.git("for-each-ref", f"--format={form}", "refs/tags").splitlines()
        return {n: peeled or plain for n, plain, peeled in (row.split("\0") for row in rows)}

    def remote(self) -> dict[str, str]:
        """Those of the remote `origin`."""
        found: dict[str, str] = {}
        for row in self.git("ls-remote", "--tags", "origin").splitlines():
            commit, _, ref = row.partition("\t")
            name = ref.removeprefix("refs/tags/")
            if name.endswith("^{}") or name not in found:
                found[name.removesuffix("^{}")] = commit
        return found

    def commit(self, name: str) -> str | None:
        """The commit that a tag, or another name, leads to; None where there is none."""
        done = self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return done.out.strip() if done.code == 0 else None

    def statement(self, name: str) -> Envelope:
        """The statement in a tag's message. Raises `NoStatementError`, `BadStatementError`."""
        text = self.git("cat-file", "-p", f"refs/tags/{name}")
        named = _DIGEST.search(text)
        _, there, rest = text.partition(f"\n{_BEGIN}\n")
        if not there:
            raise NoStatementError(named[1] if named else "")
        body, ended, _ = rest.partition(f"\n{_END}")
        try:
            data = base64.b64decode("".join(body.split()), validate=True) if ended else None
        except ValueError:
            data = None
        if data is None:
            raise BadStatementError("it is damaged")
        found = decode(data)
        if named and found.digest != named[1]:
            raise BadStatementError("it is not the one whose hash the tag names")
        return found

    def make(self, name: str, commit: str, message: str) -> None:
        """An annotated tag, by whoever git says, or by us."""
        if self._run("config", "user.email").code != 0 and "GIT_COMMITTER_EMAIL" not in os.environ:
            self._somebody = {
                "GIT_COMMITTER_NAME": "mlpipec",
                "GIT_COMMITTER_EMAIL": "mlpipec@users.noreply.invalid",
            }
        self.git("tag", "--annotate", "--cleanup=verbatim", "--file=-", name, commit, given=message)

    def delete(self, names: Sequence[str]) -> None:
        """Takes back tags that were just made."""
        for name in names:
            self._run("update-ref", "-d", f"refs/tags/{name}")

    def push(self, names: Sequence[str], url: str) -> None:
        """Pushes tags, all or none."""
        self.git("push", "--quiet", "--atomic", url, *(f"refs/tags/{n}:refs/tags/{n}" for n in names))

    def content(self, commit: str, path: str) -> bytes | None:
        """A file of a commit, by its path in the repository; None where it has none."""
        try:
            return gitcalls.printed(self.folder, "cat-file", "blob", f"{commit}:{path}")
        except gitcalls.GitError as e:
            raise Failure(str(e)) from None

    def git(self, *args: str, given: str | None = None) -> str:
        """What git prints. Raises `Failure`."""
        done = self._run(*args, given=given)
        if done.code != 0:
            said = [line for line in done.err.strip().splitlines() if line][-1:] or ["git failed"]
            words = without_login(said[0])
            raise Failure(f"git {args[0]}: {words.removeprefix('fatal: ').removeprefix('error: ')}")
        return done.out

    def _run(self, *args: str, given: str | None = None) -> Said:
        variables = {**os.environ, **self._somebody, **self._more}
        try:
            return gitcalls.attempt(self.folder, *args, env=variables, given=given)
        except gitcalls.GitError as e:
            raise Failure(str(e)) from None


def message(headline: str, lines: Sequence[str], envelope: Envelope) -> str:
    """The message of a version's tag."""
    parts = [headline, "", *lines, f"provenance sha256:{envelope.digest}", ""]
    if len(envelope.data) <= LARGEST:
        parts += [_BEGIN, *textwrap.wrap(base64.b64encode(envelope.data).decode(), 76), _END, ""]
    return "\n".join(parts)
