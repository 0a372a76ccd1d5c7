"""Another git repository, of which this project keeps what it read: commits without history, and only the
contents that were asked for, where the server can do that."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlflowc.addresses import without_login
from mlflowc.errors import Failure
from mlflowc.sources.gitcli import HERE_ONLY, CommitTree, GitError, failure, run
from mlflowc.sources.port import GoneError

FOLDER = ".mlpipe/sources/git"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{7,64}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
# `host:path` as SSH has it; what is neither that nor a URL is a folder.
_SCP = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)")
_ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class Mirror:
    """The repository at `url`; a relative folder is one seen from the project folder `root`."""

    def __init__(self, url: str, root: Path, env: Mapping[str, str]) -> None:
        if not url.strip() or url.startswith("-"):
            raise Failure(
                f"`{url}` is no address of a repository", help='as in "https://host/owner/name.git"'
            )
        local = "://" not in url and not _SCP.match(url)
        self.url = str((root / Path(url).expanduser()).resolve()) if local else url
        self.shown = without_login(url)
        self.local = Path(self.url) if local else None
        if url.startswith("file://"):
            self.local = Path(url.removeprefix("file://"))
        self._env = env
        self._root = root
        name = hashlib.sha256(self.url.encode()).hexdigest()[:24]
        self._folder = root / FOLDER / f"{name}.git"

    def resolve(self, rev: str | None) -> str:
        """The commit that a branch, a tag or a hash means now; None is the default branch.

        Asks the server for its refs, and for nothing where `rev` is a whole hash. Raises `Failure`.
        """
        if rev is not None and _COMMIT.fullmatch(rev):
            return rev
        if rev is not None and (not rev or rev.startswith("-") or any(c in rev for c in " *?[\\^~:")):
            raise Failure(f"`{rev}` is no name of a branch, a tag or a commit")
        refs = self.refs(rev)
        if rev is None:
            wanted: tuple[str, ...] = ("HEAD",)
        else:
            tag = f"refs/tags/{rev}"
            wanted = (f"{tag}^{{}}", tag, f"refs/heads/{rev}", rev)
        found = next((refs[w] for w in wanted if w in refs), None)
        if found is None and rev is not None and _SHORT.fullmatch(rev):
            found = self._abbreviated(rev)
        if found is None:
            what = "no commit yet" if rev is None else f"no branch, tag or commit `{rev}`"
            raise Failure(f"the repository {self.shown} has {what}", help=self._refs_like(rev))
        return found

    def refs(self, rev: str | None = None) -> dict[str, str]:
        """What the server's refs point at, by full name: those that `rev` could mean, or all (`*`)."""
        patterns = ["HEAD"] if rev is None else [] if rev == "*" else [rev, f"refs/tags/{rev}^{{}}"]
        try:
            # `--` before the address: one that begins with a dash would be an option.
            out = run(self._root, self._env, ["ls-remote", "-q", "--", self.url, *patterns])
        except GitError as e:
            raise failure(self.shown, str(e)) from None
        rows = (row.split("\t") for row in out.decode("utf-8", "replace").splitlines())
        return {row[1]: row[0] for row in rows if len(row) == 2}

    def tree(self, commit: str) -> CommitTree:
        """The files of a commit, fetched where they are not here. Raises `GoneError` where it is gone."""
        # It may come from another repository's files: as an option, git could be told to start a program.
        if not _HASH.fullmatch(commit):
            raise Failure(f"`{commit}` is no commit", help="it takes the whole hash of one")
        with self._locked():
            if not self._has(commit):
                self._fetch(commit)
        return CommitTree(self._folder, commit, self._env, self.shown)

    def _abbreviated(self, rev: str) -> str | None:
        with self._locked():
            if not self._has(rev):
                self._fetch_all("", parts=False)
            try:
                found = run(
                    self._folder,
                    self._env,
                    [*HERE_ONLY, "rev-parse", "--verify", "-q", "--end-of-options", rev + "^{commit}"],
                )
            except GitError:
                return None
        return found.decode().strip()

    def _refs_like(self, rev: str | None) -> str:
        from mlflowc.spell import nearest  # for this message only

        if rev is None:
            return "commit something there first"
        names = {n.removeprefix("refs/heads/").removeprefix("refs/tags/") for n in self.refs("*")}
        guess = nearest(rev, names)
        return f"did you mean `{guess}`?" if guess else f"see `git ls-remote {self.shown}`"

    def _has(self, commit: str) -> bool:
        try:
            run(self._folder, self._env, [*HERE_ONLY, "cat-file", "-e", f"{commit}^{{tree}}"])
        except GitError:
            return False
        return True

    def _fetch(self, commit: str) -> None:
        try:
            run(
                self._folder,
                self._env,
                ["fetch", "-q", "--no-tags", "--depth=1", "--filter=blob:none", "origin", commit],
            )
        except GitError as e:
            # Some servers give nothing but what a ref points at, and a plain web server gives no parts.
            self._fetch_all(str(e), parts="dumb http" not in str(e))
        if not self._has(commit):
            raise GoneError(
                f"commit {commit[:9]} is no longer in {self.shown}: its branch was rewritten or deleted",
                help="take another one with `mlpipec update`; the last good copy is kept",
            )

    def _fetch_all(self, said: str, *, parts: bool) -> None:
        """Fetches all branches and tags. Without `parts` whole: a plain web server has only whole packs, and
        asking it for single objects would never end."""
        if not parts:
            self._forget_parts()
        for options in (["--filter=blob:none"], []) if parts else ([],):
            try:
                run(self._folder, self._env, ["fetch", "-q", "--force", *options, "origin", *_ALL])
                return
            except GitError as e:
                said = str(e)
        if "not our ref" not in said:
            raise failure(self.shown, said)

    def _forget_parts(self) -> None:
        """Git notes that a repository is partial before it knows whether the server can do that."""
        for name in ("promisor", "partialclonefilter"):
            with contextlib.suppress(GitError):
                run(self._folder, self._env, ["config", "--unset-all", f"remote.origin.{name}"])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time: git's own locks fail instead of waiting."""
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with self._folder.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self._folder / "ready").exists():
                    self._prepare()
                yield
        except OSError as e:
            raise Failure(
                f"cannot write in `{FOLDER}`: {e.strerror}", help="check permissions and space"
            ) from e

    def _prepare(self) -> None:
        settings = {
            "remote.origin.url": self.url,
            "gc.auto": "0",
        }
        try:
            run(self._root, self._env, ["init", "-q", "--bare", str(self._folder)])
            for name, value in settings.items():
                run(self._folder, self._env, ["config", name, value])
        except GitError as e:
            raise Failure(f"git cannot make a repository in `{FOLDER}`: {e}") from None
        (self._folder / "ready").touch()
