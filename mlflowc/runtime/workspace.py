"""One project's runtime: the pipeline, its folder, and everything kept for it. Opening it changes nothing."""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, field
from mlflowc.ir import feeds
from mlflowc.ir.model import Data, Env, Pipeline, Runner, Stage, Sweep, Value
from mlflowc.runtime.checkout import Checkout
from mlflowc.runtime.feedport import Feeds
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.ports import Clock, CommandRunner, FileSystem, LocalFileSystem, SystemClock
from mlflowc.runtime.remotes.port import Remote
from mlflowc.runtime.sharedcache import SharedCache
from mlflowc.runtime.store import Store

if TYPE_CHECKING:
    from mlflowc.runtime.identity.held import Held

STATE = ".mlpipe"


@dataclass(slots=False)
class Workspace:
    """`lock` is what the lock file says or will say, `lock_read` what it was read or written as.

    Only a run (or the resolution of an environment) sets them; everything else stays. `remote` is where
    results of others are, None without one; `feeds` fetches data, None where nothing is fetched.
    `shared` is a cache that other checkouts use, too; None where the project has its own. `identity` has the
    tokens of a CI service's job; None where steps with `auth` use a person's own credentials.
    """

    root: Path
    pipeline: Pipeline
    fs: FileSystem
    clock: Clock
    runner: CommandRunner
    index: StatIndex
    store: Store
    checkout: Checkout
    lock: LockFile
    lock_read: LockFile
    remote: Remote | None = None
    feeds: Feeds | None = None
    shared: SharedCache | None = None
    identity: Held | None = None
    _stages: dict[str, Stage] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._stages = {s.id: s for s in self.pipeline.stages}

    @property
    def state(self) -> Path:
        """The project's `.mlpipe` folder."""
        return self.root / STATE

    @property
    def cache_state(self) -> Path:
        """Where those meet who use the same cache: the folder of its locks."""
        return self.state if self.shared is None else self.shared.folder

    def stage(self, stage: str) -> Stage:
        """The stage with that id. Raises `KeyError`."""
        return self._stages[stage]

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """All stages by id, in the pipeline's order."""
        return dict(self._stages)

    @cached_property
    def params(self) -> dict[str, Value]:
        """The values of all parameters by dotted name."""
        return {p.name: p.value for p in self.pipeline.params}

    def values(self, stage: Stage) -> dict[str, Value]:
        """The values of the stage's parameters by dotted name."""
        bound = dict(stage.bound)
        return {p: bound[p] if p in bound else self.params[p] for p in stage.params}

    @cached_property
    def sweeps(self) -> dict[str, Sweep]:
        """All sweeps by name."""
        return {s.name: s for s in self.pipeline.sweeps}

    @cached_property
    def envs(self) -> dict[str, Env]:
        """All environments by name."""
        return {e.name: e for e in self.pipeline.envs}

    @cached_property
    def runners(self) -> dict[str, Runner]:
        """All runners by name."""
        return {r.name: r for r in self.pipeline.runners}

    @cached_property
    def sources(self) -> dict[str, Data]:
        """All data sources by name."""
        return {d.name: d for d in self.pipeline.data}

    @cached_property
    def data(self) -> dict[str, str]:
        """The path at which each data source stands, by name."""
        return {d.name: feeds.standing(d) for d in self.pipeline.data}

    @cached_property
    def pinned(self) -> frozenset[str]:
        """The names of the data sources that are pinned in the lock."""
        return frozenset(d.name for d in self.pipeline.data if feeds.is_pinned(d))

    def prepare(self) -> None:
        """Makes `.mlpipe`, ignored by git through a file of its own. Raises `Failure` when it cannot."""
        try:
            self.fs.make_folder(self.state)
            ignore = self.state / ".gitignore"
            if not ignore.exists():
                self.fs.write(ignore, b"*\n")
        except OSError as e:
            raise Failure(
                f"cannot write in `{STATE}`: {e.strerror}",
                help="a run keeps its results there; check permissions and free space",
            ) from e
        if self.shared is not None:
            self.shared.enter(self.root, self.fs)

    def close(self) -> None:
        """Writes what the index learned."""
        with contextlib.suppress(OSError):
            self.index.close()
        if self.shared is not None:
            with contextlib.suppress(OSError):
                self.shared.index.close()


def open_workspace(
    root: Path,
    pipeline: Pipeline,
    *,
    fs: FileSystem | None = None,
    clock: Clock | None = None,
    runner: CommandRunner | None = None,
) -> Workspace:
    """The workspace of the project at `root`. Raises `Failure` when `mlpipe.lock` is damaged."""
    # Only a run starts processes: status, verify and a run with nothing to do never import this.
    if runner is None:
        from mlflowc.runtime.process import BashRunner

        runner = BashRunner()
    fs = fs or LocalFileSystem()
    root = root.resolve()
    index = StatIndex(root / STATE / "index.db")
    shared = SharedCache.of(root, pipeline)
    folder, known = (shared.folder, shared.index) if shared else (root / STATE / "cache", index)
    store = Store(folder, fs, known, pipeline.cache.link)
    checkout = Checkout(root, index)
    lock = LockFile.read(root)
    time = clock or SystemClock()
    return Workspace(root, pipeline, fs, time, runner, index, store, checkout, lock, lock, shared=shared)
