"""`deployed(…)`: what production runs now, to compare with.

Either a file at an address that the deployment keeps up to date, or an artifact by its GTO tags: what is in
the stage `prod` is a commit, and of that a file (`path`), or what a stage of the pipeline made (`output`).
"""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.lockfile import NAME, LockFile
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.store import Store
from mlflowc.sources import gto, url
from mlflowc.sources.dvctracked import Repository, registry
from mlflowc.sources.gitcli import CommitTree, GitError, failure, run
from mlflowc.sources.mirror import Mirror
from mlflowc.sources.port import Found, GoneError, Progress, Source, Version
from mlflowc.spell import nearest

_OWN = "this repository"


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
    """See `mlflowc.sources.port.Opener`."""
    name = str(args["name"])
    if "://" in name:
        return url.open({**{k: v for k, v in args.items() if k != "name"}, "url": name}, root, env)
    text = {k: str(v) for k, v in args.items() if k in ("stage", "path", "output", "repo")}
    return Artifact(name, text, root, env)


class Artifact:
    """See `Source`. The version is the commit, the tag that says so, and the artifact's version."""

    def __init__(self, name: str, said: Mapping[str, str], root: Path, env: Mapping[str, str]) -> None:
        self._name, self._stage = name, said.get("stage")
        self._path, self._output = said.get("path"), said.get("output")
        self._root, self._env = root, env
        self._mirror = Mirror(said["repo"], root, env) if "repo" in said else None
        self._where = self._mirror.shown if self._mirror else _OWN
        self.shown = f"{name}{f' in stage {self._stage}' if self._stage else ''} of {self._where}"

    def look(self, pinned: Version | None) -> Found:
        """See `Source`. Reads the tags."""
        said = gto.events(self._tags())
        if not any(e.artifact == self._name for e in said):
            guess = nearest(self._name, {e.artifact for e in said})
            fetch = "`git fetch --tags` brings them" if self._mirror is None else "see `gto show`"
            raise Failure(
                f"{self._where} has no tags of an artifact `{self._name}`",
                help=f"did you mean `{guess}`?"
                if guess
                else f"a tag `{self._name}@v1.0.0` registers it; {fetch}",
            )
        if self._stage is not None:
            found = gto.in_stage(said, self._name, self._stage)
            if found is None:
                stages = sorted({e.stage for e in said if e.artifact == self._name and e.stage})
                raise Failure(
                    f"no version of `{self._name}` is in stage `{self._stage}`",
                    help=f"tags name {', '.join(f'`{s}`' for s in stages)}"
                    if stages
                    else f"a tag `{self._name}#{self._stage}#1` puts one there",
                )
        else:
            known = gto.versions(said, self._name)
            if not known:
                raise Failure(
                    f"`{self._name}` has no registered version",
                    help=f"a tag `{self._name}@v1.0.0` registers one",
                )
            found = known[-1]
        version = {"version": found.version} if found.version else {}
        return Found({"commit": found.commit, "tag": found.tag, **version})

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        repository, prefix = self._at(version["commit"])
        if self._path is not None:
            repository.write_path(posixpath.normpath(posixpath.join(prefix, self._path)), into, progress)
        else:
            self._made(repository, prefix, version, into, progress)
        return dict(version)

    # --- tags and commits

    def _tags(self) -> dict[str, str]:
        """The names of all tags to their commits."""
        if self._mirror is not None:
            refs = self._mirror.refs("*")
        else:
            try:
                out = run(self._root, self._env, ["show-ref", "--tags", "-d"])
            except GitError as e:
                if str(e) and "ended with 1" not in str(e):
                    raise failure(_OWN, str(e)) from None
                return {}
            rows = (row.split(" ", 1) for row in out.decode("utf-8", "replace").splitlines())
            refs = {name: commit for commit, name in rows}
        head = "refs/tags/"
        plain = {
            n.removeprefix(head): c for n, c in refs.items() if n.startswith(head) and not n.endswith("^{}")
        }
        peeled = {n.removeprefix(head).removesuffix("^{}"): c for n, c in refs.items() if n.endswith("^{}")}
        return {**plain, **peeled}

    def _at(self, commit: str) -> tuple[Repository, str]:
        """The repository at a commit, and where the project lies in it."""
        if self._mirror is not None:
            return registry(self._mirror, commit, self._root, self._env), ""
        try:
            run(self._root, self._env, ["cat-file", "-e", f"{commit}^{{commit}}"])
            top = Path(run(self._root, self._env, ["rev-parse", "--show-toplevel"]).decode().strip())
        except GitError:
            raise GoneError(
                f"commit {commit[:9]} is not in {_OWN}",
                help="in a shallow clone, `git fetch --unshallow --tags`",
            ) from None
        prefix = self._root.resolve().relative_to(top.resolve()).as_posix()
        tree = CommitTree(top, commit, self._env, _OWN)
        return Repository(tree, self._root, self._env, top, top), "" if prefix == "." else prefix

    # --- what a stage made

    def _made(
        self, repository: Repository, prefix: str, version: Version, into: Path, progress: Progress
    ) -> None:
        """An output, by what `mlpipe.lock` of the commit says: from this project's cache, or the commit."""
        assert self._output is not None
        output = self._locked(repository, prefix, version)
        if self._from_store(output, into, progress):
            return
        inside = posixpath.normpath(posixpath.join(prefix, output.path))
        try:
            repository.write_path(inside, into, progress)
        except Failure as e:
            raise GoneError(
                f"`{self._output}` of {version['tag']} is not in the cache of this project, and its commit "
                f"does not have `{output.path}`: {e.message}",
                help="run that commit once here, or share results through a `cache` remote; or put the file "
                'at an address, and name that: `deployed("https://…")`',
            ) from None

    def _locked(self, repository: Repository, prefix: str, version: Version) -> OutputRecord:
        assert self._output is not None
        place = posixpath.join(prefix, NAME)
        data = repository.files.read(place)
        if data is None:
            raise GoneError(
                f"the commit of {version['tag']} has no `{place}`", help='name a file of it: `path = "…"`'
            )
        lock = LockFile.parse(data.decode("utf-8", "replace"), f"{NAME} at {version['tag']}")
        stage, _, name = self._output.rpartition(".")
        entry = lock.stage(stage)
        output = entry.output(name) if entry else None
        if output is None:
            known = [f"{s}.{o.name}" for s, e in lock.stages().items() for o in e.outputs]
            guess = nearest(self._output, known)
            raise GoneError(
                f"{version['tag']} has no output `{self._output}`",
                help=f"did you mean `{guess}`?" if guess else f"it has {', '.join(known[:6]) or 'none'}",
            )
        return output

    def _from_store(self, output: OutputRecord, into: Path, progress: Progress) -> bool:
        state = self._root / ".mlpipe"
        if not (state / "cache").is_dir():
            return False
        index = StatIndex(state / "index.db")
        store = Store(state / "cache", LocalFileSystem(), index)
        aside = into.with_name(into.name + ".restored")
        try:
            if not store.restore(replace(output, path=aside.name), aside):
                return False
        finally:
            index.close()
        # A copy: what was restored may be the cache's own file.
        if aside.is_dir():
            shutil.copytree(aside, into, symlinks=True)
            shutil.rmtree(aside)
        else:
            shutil.copyfile(aside, into)
            into.chmod(0o755 if output.executable else 0o644)
            aside.unlink()
        progress(output.size, output.size)
        return True
