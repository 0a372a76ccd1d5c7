"""Clearing up the cache: results that were not used for long, and content that no result names.

Records go first, then listings, then objects: whenever this is killed, what is left of a result is content
without a name, and never a name without content. What nobody named yet may be about to be named: it is left
alone for an hour, even though `inuse.collecting` keeps other processes of this version away.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.runtime import gitcalls, pins
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.lockfile import NAME, LockFile
from mlflowc.runtime.ports import FileSystem
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes import packs
from mlflowc.runtime.store import Store

GRACE = 3600.0
# A pack of which less than this part is used is written anew.
_WORTH = 0.75
_TEMPORARY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`keep`: seconds since a result was last used. `most`: bytes of all results. None: no limit."""

    keep: float | None = None
    most: int | None = None


@dataclass(slots=True)
class Collected:
    """What went, or would go: results, files and bytes; the bytes that stay, and how many of them stay
    whatever the limits, for lock files name them."""

    records: int = 0
    files: int = 0
    bytes: int = 0
    left: int = 0
    named: int = 0


@dataclass(slots=True)
class _Result:
    record: Record
    used: float
    pinned: bool
    size: int  # of the record itself, in bytes
    contents: dict[str, int] = field(default_factory=dict)  # path relative to the cache -> bytes


class Collector:
    """Clears up the cache of `store`. `locks` are lock files whose results stay, whatever the limits.

    The caller holds `inuse.collecting`. Raises `OSError`.
    """

    def __init__(
        self,
        store: Store,
        index: StatIndex,
        fs: FileSystem,
        locks: Iterable[LockFile],
        now: float,
        root: Path | None = None,
    ) -> None:
        """`root` is the project's folder: what killed processes left there goes, too."""
        self._root = root
        self._store = store
        self._index = index
        self._fs = fs
        self._now = now
        locks = list(locks)
        entries = [e for lock in locks for e in lock.stages().values()]
        self._pinned_keys = {e.key for e in entries}
        self._packed = _packed(store)
        self._pinned: dict[str, int] = {}
        for entry in entries:
            self._pinned |= self._contents(entry.outputs)
        for lock in locks:
            # Whether a pin counts for the pipeline as it is now or not: it is some commit's data.
            self._pinned |= self._contents(pins.contents(lock))

    def collect(self, limits: Limits, *, dry: bool = False) -> Collected:
        """Removes what the limits let go (with `dry`, only counts)."""
        results = self._results()
        kept = self._kept(results, limits)
        live = dict(self._pinned)
        for result in kept:
            live |= result.contents
        gone = [r for r in results if r not in kept]
        named = {path for r in results for path in r.contents}
        done = Collected(left=sum(r.size for r in kept))
        done.named = sum(self._pinned.values()) + sum(r.size for r in kept if r.pinned)
        for result in gone:
            self._take(_path("records", result.record.key), done, dry)
            done.records += 1
        for kind in ("trees", "objects"):
            for path, size, changed in self._files(kind):
                # What no result names may be of one that is being made.
                old = path in named or changed < self._now - GRACE
                if path not in live and old:
                    self._take(path, done, dry)
                else:
                    done.left += size
        # What is dead in a pack counts where there is a limit.
        self._packs(live, named, done, dry, _WORTH if limits.most is None else 1.0)
        self._temporary(done, dry)
        return done

    def _packs(
        self, live: Collection[str], named: Collection[str], done: Collected, dry: bool, worth: float
    ) -> None:
        """Packs stay for what is in them; one of which less than `worth` is used is written anew."""
        store = self._store.packs
        for held in store.all():
            young = held.changed >= self._now - GRACE
            stay = {
                digest
                for digest in held.lengths
                if (path := _path("objects", digest)) in live or (young and path not in named)
            }
            left, all_of = sum(held.lengths[d] for d in stay), sum(held.lengths.values())
            if stay and left >= worth * all_of:
                done.left += held.size
                continue
            done.files += not stay
            size = left + packs.LINE * len(stay) + packs.HEAD * bool(stay)
            done.bytes += held.size - size
            done.left += size
            if not dry:
                store.leave(held.name, stay)
        for stray in store.strays():
            with contextlib.suppress(FileNotFoundError):
                st = stray.lstat()
                if max(st.st_mtime, st.st_ctime) < self._now - GRACE:
                    done.bytes += st.st_size
                    done.files += 1
                    if not dry:
                        self._fs.remove(stray)

    def _results(self) -> list[_Result]:
        uses = {run.key: run.finished for run in self._index.keys("")}
        found = []
        for record in self._store.records():
            key = record.key
            with contextlib.suppress(OSError):
                st = (self._store.root / _path("records", key)).stat()
                used = max(st.st_mtime, record.started + record.seconds, uses.get(key, 0.0))
                contents = self._contents(record.outputs)
                if record.log:
                    contents |= self._sized(_path("objects", record.log))
                pinned = key in self._pinned_keys
                found.append(_Result(record, min(used, self._now), pinned, st.st_size, contents))
        return found

    def _kept(self, results: list[_Result], limits: Limits) -> list[_Result]:
        kept = [r for r in results if r.pinned or limits.keep is None or r.used >= self._now - limits.keep]
        if limits.most is None:
            return kept
        kept.sort(key=lambda r: (r.pinned, r.used), reverse=True)
        total = sum(self._pinned.values()) + sum(r.size for r in kept if r.pinned)
        total += packs.HEAD * len(self._store.packs.all())
        seen = set(self._pinned)
        fitting = []
        for result in kept:
            new = {p: n for p, n in result.contents.items() if p not in seen}
            size = sum(new.values()) + (0 if result.pinned else result.size)
            if result.pinned or total + size <= limits.most:
                total += size
                seen.update(new)
                fitting.append(result)
        return fitting

    def _contents(self, outputs: Iterable[OutputRecord]) -> dict[str, int]:
        """Files of the cache that outputs need, with their sizes in bytes."""
        found: dict[str, int] = {}
        for output in outputs:
            if output.kind == "file":
                found |= self._sized(_path("objects", output.hash))
                continue
            found |= self._sized(_path("trees", output.hash))
            for entry in self._store.listing(output.hash) or []:
                if entry.kind in "fx":
                    found[_path("objects", entry.hash)] = self._packed.get(entry.hash, entry.size)
        return found

    def _sized(self, path: str) -> dict[str, int]:
        try:
            return {path: (self._store.root / path).stat().st_size}
        except OSError:
            kind, _, rest = path.partition("/")
            packed = self._packed.get(rest.replace("/", "")) if kind == "objects" else None
            return {} if packed is None else {path: packed}

    def _files(self, kind: str) -> Iterator[tuple[str, int, float]]:
        """All files of a kind: their path, size and the time of their last change."""
        for folder in sorted((self._store.root / kind).glob("??")):
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        st = entry.stat(follow_symlinks=False)
                        yield f"{kind}/{folder.name}/{entry.name}", st.st_size, max(st.st_mtime, st.st_ctime)

    def _temporary(self, done: Collected, dry: bool) -> None:
        """What killed processes left behind."""
        for path in self._leftovers():
            with contextlib.suppress(FileNotFoundError):
                st = path.lstat()
                if st.st_mtime < self._now - _TEMPORARY:
                    done.bytes += st.st_size
                    done.files += 1
                    if not dry:
                        self._fs.remove(path)

    def _leftovers(self) -> Iterator[Path]:
        """Temporary files of all kinds, whoever uses them."""
        yield from self._store.root.glob("tmp/*")
        yield from self._store.root.glob("records/??/*.tmp")
        yield from self._store.root.glob("checkouts/*.tmp")
        if self._root is not None:
            yield from self._root.glob(".mlpipe/tmp/*")
            yield from self._root.glob(".mlpipe/trials/*")
            yield from self._root.glob(".mlpipe/*.tmp")
            yield from self._root.glob(".mlpipe/*/*.tmp")
            yield from self._root.glob(f"{NAME}.*.tmp")
            yield from self._root.glob(".mlpipec-*.tmp")
            yield from self._root.glob("mlpipe-bundles/.*.tmp")

    def _take(self, path: str, done: Collected, dry: bool) -> None:
        full = self._store.root / path
        with contextlib.suppress(FileNotFoundError):
            done.bytes += full.stat().st_size
            done.files += 1
            if not dry:
                self._fs.remove(full)
                kind, _, rest = path.partition("/")
                if kind == "objects":
                    self._store.forget(rest.replace("/", ""))


def _packed(store: Store) -> dict[str, int]:
    """The bytes that contents take up in packs: their own, and their lines in the index."""
    return {d: length + packs.LINE for held in store.packs.all() for d, length in held.lengths.items()}


def _path(kind: str, digest: str) -> str:
    return f"{kind}/{digest[:2]}/{digest[2:]}"


def locks_of_refs(root: Path) -> list[LockFile]:
    """The lock files at the tips of all branches and tags. Raises `Failure` where git cannot tell."""
    try:
        refs = gitcalls.said(root, "for-each-ref", "--format=%(objectname)")
        if refs is None:
            raise GitError("this is no git repository")
        found = []
        for commit in dict.fromkeys(refs.split()):
            text = gitcalls.lock_at(root, commit)
            if text is not None:
                with contextlib.suppress(Failure):
                    found.append(LockFile.parse(text, NAME))
        return found
    except GitError as e:
        raise Failure(
            f"git cannot list the branches: {e}", help="leave `--refs` out, or call it in a repository"
        ) from e
