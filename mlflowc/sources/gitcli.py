"""The `git` command: run without questions, its complaints as failures, and the files of one commit."""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from mlflowc.errors import Failure
from mlflowc.sources.inner import is_inner
from mlflowc.sources.port import GoneError, Progress

# A server that says nothing for so long is taken for gone, in seconds.
_PATIENCE = 1800
_CHUNK = 1 << 20
_MOST_LINKS = 20
# Set by hooks and by `git` itself for its children: they would point at another repository.
_FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
)
_REFUSALS = (
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "Permission denied",
    "terminal prompts disabled",
    "Host key verification failed",
    "error: 401",
    "error: 403",
    "HTTP 401",
    "HTTP 403",
)
_ABSENT = (
    "epository not found",
    "does not appear to be a git repository",
    "does not exist",
    "not found",
    "error: 404",
    "No such file or directory",
)
_UNREACHED = (
    "Could not resolve",
    "Failed to connect",
    "Connection refused",
    "Connection timed out",
    "Operation timed out",
    "Connection reset",
    "unreachable",
    "early EOF",
    "unexpected disconnect",
    "hung up unexpectedly",
)
_LINK, _MODULE = "120000", "160000"
# For commands that look at what is here: git would ask the server for each object that is not, one by one.
HERE_ONLY = ("-c", "protocol.allow=never")


class GitError(Exception):
    """Git ended with an error; the text is what it said."""


class Entry(NamedTuple):
    """A file of a commit: its path, its mode as git writes it (`100755`), and the hash of its content."""

    path: str
    mode: str
    blob: str


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables for `git`: it never asks for anything, and knows of no other repository."""
    kept = {k: v for k, v in env.items() if k not in _FOREIGN}
    kept.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20")
    path = {"PATH": os.environ.get("PATH", os.defpath)} if "PATH" not in kept else {}
    kept.setdefault("GIT_ASKPASS", "true")
    return {**kept, **path, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def run(
    folder: Path, env: Mapping[str, str], arguments: Sequence[str], *, given: bytes | None = None
) -> bytes:
    """What `git ARGUMENTS` prints in `folder`. Raises `GitError`, and `Failure` where there is no git."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment(env),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            timeout=_PATIENCE,
        )
    except FileNotFoundError:
        raise Failure("git is not installed here", help="install git: data comes from a repository") from None
    except subprocess.TimeoutExpired:
        raise GitError("Connection timed out") from None
    if done.returncode != 0:
        raise GitError(done.stderr.decode("utf-8", "replace").strip() or f"git ended with {done.returncode}")
    return done.stdout


def failure(shown: str, said: str) -> Failure:
    """What git said of the repository `shown`, as a failure with the likely cause."""
    line = _reason(said)
    if any(w in said for w in _REFUSALS):
        return Failure(
            f"the repository {shown} refuses access: {line}",
            help=f"see that `git ls-remote {shown}` works here, without a question: a key in the SSH agent, "
            "or a credential helper; in CI, a token that may read it",
        )
    if "dubious ownership" in said:
        return Failure(
            f"git does not trust the repository {shown}: it belongs to another user",
            help="see `git help config` for `safe.directory`",
        )
    if any(w in said for w in _UNREACHED):
        return Failure(
            f"the repository {shown} cannot be reached: {line}",
            help="check the network, and try again: the last good copy is kept",
        )
    if any(w in said for w in _ABSENT):
        return Failure(
            f"there is no repository {shown}, or none that may be seen from here: {line}",
            help="check the address; a private repository answers so when no credentials are given",
        )
    return Failure(f"the repository {shown} cannot be read: {line}", help=f"try `git ls-remote {shown}`")


def _reason(said: str) -> str:
    """The line that names the cause: git's last word is often `and the repository exists`."""
    lines = [x.strip() for x in said.splitlines() if x.strip()]
    fatal = [x for x in lines if x.startswith(("fatal: ", "remote: ", "error: ", "ssh: "))]
    # With `remote:` the server explains; then `fatal:` says little more than that it did.
    for start in ("remote: ", "fatal: ", "ssh: ", "error: "):
        for line in fatal:
            if line.startswith(start) and len(line) > len(start) + 3:
                return line.removeprefix(start)[:300]
    return lines[0][:300] if lines else "git gave no reason"


@dataclass(frozen=True)
class CommitTree:
    """The files of one commit, in a repository of this machine (bare or not). `label` names it in messages,
    `prefix` is the folder that paths are relative to.
    """

    folder: Path
    commit: str
    env: Mapping[str, str]
    label: str
    prefix: str = ""

    def entries(self, path: str = "") -> list[Entry]:
        """The files at `path`, or below it, in order; none where there is nothing."""
        full = self._full(path)
        where = ["--", full] if full else []
        try:
            out = run(
                self.folder, self.env, [*HERE_ONLY, "ls-tree", "-r", "-z", "--full-tree", self.commit, *where]
            )
        except GitError as e:
            raise failure(self.label, str(e)) from None
        found = []
        for row in out.decode("utf-8", "surrogateescape").split("\0"):
            if row:
                about, _, name = row.partition("\t")
                mode, _, blob = about.split(" ")
                # Git makes no such commits, and what serves them may not be git.
                if not is_inner(name) or ".git" in name.lower().split("/"):
                    raise Failure(
                        f"commit {self.commit[:9]} of {self.label} has `{name}`, which leads out of it",
                        help="git itself checks out no such commit: somebody made it by hand",
                    )
                found.append(Entry(self._inner(name), mode, blob))
        return found

    def names(self) -> list[str]:
        """The paths of all files."""
        return [e.path for e in self.entries()]

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is no such file. Links are followed within the commit."""
        entry = self.find(path)
        if entry is None:
            return None
        self.bring([path])
        try:
            return run(self.folder, self.env, [*HERE_ONLY, "cat-file", "blob", entry.blob])
        except GitError as e:
            raise failure(self.label, str(e)) from None

    def find(self, path: str) -> Entry | None:
        """The file at `path`, links followed; None where there is none, or a folder."""
        at = posixpath.normpath(path)
        for _ in range(_MOST_LINKS):
            entry = next((e for e in self.entries(at) if e.path == at), None)
            if entry is None or entry.mode != _LINK:
                return entry if entry is None or entry.mode != _MODULE else None
            self.bring([at])
            target = run(self.folder, self.env, [*HERE_ONLY, "cat-file", "blob", entry.blob]).decode(
                "utf-8", "replace"
            )
            at = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
        return None

    def bring(self, paths: Iterable[str]) -> None:
        """Fetches the contents that a partial clone lacks, all in one request."""
        wanted = [self._full(p) for p in paths]
        if not self._partial():
            return
        try:
            where = ["--", *(p for p in wanted if p)] if all(wanted) else []
            out = run(
                self.folder,
                self.env,
                ["rev-list", "--objects", "--no-object-names", "--missing=print", "-1", self.commit, *where],
            )
            missing = [x[1:] for x in out.decode().split() if x.startswith("?")]
            if missing:
                quiet = [
                    "--no-tags",
                    "--no-write-fetch-head",
                    "--recurse-submodules=no",
                    "--filter=blob:none",
                ]
                run(
                    self.folder,
                    self.env,
                    ["-c", "fetch.negotiationAlgorithm=noop", "fetch", "-q", "origin", *quiet, "--stdin"],
                    given="".join(f"{m}\n" for m in missing).encode(),
                )
        except GitError as e:
            if "not our ref" in str(e):
                raise GoneError(
                    f"commit {self.commit[:9]} is no longer in {self.label}: its branch was rewritten",
                    help="take another one with `mlpipec update`; the last good copy is kept",
                ) from None
            raise failure(self.label, str(e)) from None

    def export(self, path: str, into: Path, progress: Progress) -> None:
        """Writes the file or folder at `path` as `into`: contents, exec bits and links as committed.

        Raises `Failure` where the commit has nothing there, for a submodule, and for a link that leads out.
        """
        single = self.find(path) if path not in ("", ".") else None
        entries = [single] if single is not None else self.entries(path)
        if not entries:
            raise self.absent(path)
        self.bring([e.path for e in entries] if single else [path])
        base = entries[0].path if single else posixpath.normpath(path) if path else "."
        draft = into.with_name(into.name + ".draft")
        if draft.is_dir():
            shutil.rmtree(draft)
        draft.unlink(missing_ok=True)
        try:
            _Writer(self, draft, "" if base == "." else base, progress).write(entries, single is not None)
        except Failure:
            shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)
            raise
        draft.rename(into)

    def absent(self, path: str, others: Iterable[str] = ()) -> Failure:
        """That the commit has no such path; `others` are paths that could have been meant, too."""
        names = [*self.names(), *others]
        beside = {posixpath.join(*n.split("/")[: path.count("/") + 1]) for n in names}
        from mlflowc.spell import nearest  # for this message only

        guess = nearest(path, beside)
        return Failure(
            f"there is no `{path}` in {self.label} at {self.commit[:9]}",
            help=f"did you mean `{guess}`?" if guess else "check the path and the revision",
        )

    def _partial(self) -> bool:
        try:
            run(self.folder, self.env, ["config", "--get", "remote.origin.promisor"])
        except GitError:
            return False
        return True

    def _full(self, path: str) -> str:
        joined = posixpath.normpath(posixpath.join(self.prefix, path))
        return "" if joined == "." else joined

    def _inner(self, name: str) -> str:
        return posixpath.relpath(name, self.prefix) if self.prefix else name


class _Writer:
    """Writes files of a commit, their contents streamed from one `git cat-file`."""

    def __init__(self, tree: CommitTree, into: Path, base: str, progress: Progress) -> None:
        self._tree, self._into, self._base, self._progress = tree, into, base, progress
        self._done = 0

    def write(self, entries: list[Entry], single: bool) -> None:
        if not single:
            self._into.mkdir()
        blobs = [e for e in entries if e.mode != _MODULE]
        if len(blobs) < len(entries):
            module = next(e.path for e in entries if e.mode == _MODULE)
            raise Failure(
                f"`{module}` in {self._tree.label} is a submodule, whose files it does not hold",
                help="name the submodule's own repository: `git(url, path, rev)`",
            )
        links: list[tuple[Entry, Path, str]] = []
        for entry, size, stream in self._contents(blobs):
            target = self._into if single else self._into / posixpath.relpath(entry.path, self._base or ".")
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.mode == _LINK:
                links.append((entry, target, stream.read(size).decode("utf-8", "surrogateescape")))
            else:
                self._file(entry.path, target, size, stream, entry.mode == "100755")
        # Last: nothing is written through a link.
        for link in links:
            self._link(*link)
        for entry, target, to in links:
            # A link may lead through others, which `normpath` cannot see.
            if not Path(os.path.realpath(target)).is_relative_to(os.path.realpath(self._into)):
                raise self._leads_out(entry, to)

    def _contents(self, entries: list[Entry]) -> Iterator[tuple[Entry, int, IO[bytes]]]:
        command = ["git", *HERE_ONLY, "cat-file", "--batch"]
        with subprocess.Popen(
            command,
            cwd=self._tree.folder,
            env=environment(self._tree.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdin and process.stdout
            try:
                # One at a time: all names at once could fill the pipe while git waits for us to read.
                for entry in entries:
                    process.stdin.write(entry.blob.encode() + b"\n")
                    if entry is entries[-1]:
                        process.stdin.close()
                    else:
                        process.stdin.flush()
                    header = process.stdout.readline().split()
                    if len(header) != 3:
                        raise Failure(
                            f"`{entry.path}` of {self._tree.label} could not be fetched",
                            help="try again: what came so far is kept",
                        )
                    yield entry, int(header[2]), process.stdout
                    process.stdout.read(1)
            finally:
                process.kill()

    def _file(self, path: str, target: Path, size: int, stream: IO[bytes], executable: bool) -> None:
        left = size
        if target.exists():
            raise Failure(
                f"`{path}` in {self._tree.label} has the name of another file here, where capital letters do "
                "not count",
                help="name a folder or a file that holds only one of them",
            )
        with target.open("wb") as file:
            while left:
                chunk = stream.read(min(left, _CHUNK))
                if not chunk:
                    raise Failure(
                        f"git ended in the middle of a file of {self._tree.label}", help="try again"
                    )
                left -= len(chunk)
                file.write(chunk)
                self._done += len(chunk)
                self._progress(self._done, None)
        if executable:
            target.chmod(0o755)
        _refuse_pointer(self._tree, path, target, size)

    def _link(self, entry: Entry, target: Path, to: str) -> None:
        inner = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), to))
        base = self._base or "."
        inside = base == "." or inner == base or inner.startswith(base + "/")
        if posixpath.isabs(to) or not inside or inner.startswith(".."):
            raise self._leads_out(entry, to)
        try:
            target.symlink_to(to)
        except FileExistsError:
            raise Failure(
                f"commit {self._tree.commit[:9]} of {self._tree.label} has `{entry.path}` twice",
                help="git itself checks out no such commit: somebody made it by hand",
            ) from None

    def _leads_out(self, entry: Entry, to: str) -> Failure:
        return Failure(
            f"`{entry.path}` in {self._tree.label} is a link to `{to}`, outside of what is fetched",
            help="name a folder that holds both",
        )


def _refuse_pointer(tree: CommitTree, path: str, target: Path, size: int) -> None:
    """A pointer of Git LFS is not the data that it stands for."""
    if size > 1024:
        return
    if target.read_bytes().startswith(b"version https://git-lfs.github.com/spec/"):
        raise Failure(
            f"`{path}` in {tree.label} is kept in Git LFS: the repository itself has only a pointer",
            help='fetch the file by its address: `url("https://…")`',
        )
