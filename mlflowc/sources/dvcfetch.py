"""Contents that DVC keeps: from the working tree, DVC's caches and remotes, each checked against its MD5."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.resolve import dvcfiles
from mlflowc.resolve.dvcfiles import Config, Member, Tracked
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.transport import AbsentError, RemoteError
from mlflowc.sources.dvcremote import open_remote
from mlflowc.sources.port import GoneError, Progress

_OPTIONS = "its options are in `.dvc/config` and `.dvc/config.local`: see `dvc remote modify`"
# A listing of a million files; more is no listing.
_LARGEST_LISTING = 512 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """A content to fetch: its MD5, and how it may have been taken."""

    md5: str
    legacy: bool


class Meter:
    """Adds up what several threads have fetched."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress, self._total = progress, total
        self._done = 0
        self._guard = threading.Lock()

    def add(self, size: int) -> None:
        """So many bytes more are here."""
        with self._guard:
            self._done += size
            self._progress(self._done, self._total)


class Contents:
    """Where contents are had: `caches` are folders of DVC on this machine, then comes the remote `named`, or
    the default one. `label` is whose they are, for messages.
    """

    def __init__(
        self, config: Config, caches: Sequence[Path], named: str | None, env: Mapping[str, str], label: str
    ) -> None:
        self._config, self._env, self.label = config, env, label
        self._caches = [c for c in caches if c.is_dir()]
        self._name = named or config.default
        self._engine: Engine | None = None
        self._damaged: list[str] = []

    def fetch(
        self, tracked: Tracked, inner: str, into: Path, progress: Progress, standing: Path | None
    ) -> None:
        """Writes what `tracked.md5` is, or what lies at `inner` in it, as `into`.

        `standing` is where it may lie already. Parts of an earlier try, beside `into`, are used. Raises
        `GoneError` when neither cache nor remote has it, and `Failure` when the remote cannot be read.
        """
        assert tracked.md5 is not None
        parts = into.with_name(into.name + ".parts")
        parts.mkdir(parents=True, exist_ok=True)
        if not tracked.is_folder:
            meter = Meter(progress, tracked.size)
            item = Item(tracked.md5, tracked.legacy)
            made = self._object(item, parts, tracked.path, meter, standing)
            if tracked.executable:
                made.chmod(0o755)
            made.rename(into)
        else:
            self._folder(tracked, inner, into, parts, progress, standing)
        shutil.rmtree(parts, ignore_errors=True)

    def listing(self, tracked: Tracked, parts: Path) -> tuple[Member, ...]:
        """The files of a folder. Raises `Failure` where its listing is not to be had."""
        assert tracked.md5 is not None
        nobody = Meter(lambda done, total: None, None)
        path = self._object(Item(tracked.md5, False), parts, tracked.path, nobody, None)
        found = dvcfiles.read_listing(path.read_bytes()) if path.stat().st_size <= _LARGEST_LISTING else None
        if found is None:
            raise Failure(f"DVC's listing of the folder `{tracked.path}` ({tracked.md5}) makes no sense")
        return found

    def _folder(
        self, tracked: Tracked, inner: str, into: Path, parts: Path, progress: Progress, standing: Path | None
    ) -> None:
        members = self.listing(tracked, parts)
        if inner:
            single = next((m for m in members if m.path == inner), None)
            if single is not None:
                item = Item(single.md5, tracked.legacy)
                near = standing / inner if standing else None
                self._object(item, parts, f"{tracked.path}/{inner}", Meter(progress, None), near).rename(into)
                return
            cut = inner.rstrip("/") + "/"
            members = tuple(
                Member(m.path.removeprefix(cut), m.md5) for m in members if m.path.startswith(cut)
            )
            standing = standing / inner if standing else None
            if not members:
                raise Failure(
                    f"`{tracked.path}`, a folder that DVC tracks, has no `{inner}`", help="check the path"
                )
        meter = Meter(progress, None if inner else tracked.size)
        # Equal files of a folder are one content: fetched once, by one thread.
        firsts = {m.md5: m for m in reversed(members)}

        def fetch(member: Member) -> None:
            near = standing / member.path if standing else None
            self._object(
                Item(member.md5, tracked.legacy), parts, f"{tracked.path}/{member.path}", meter, near
            )

        self._each(fetch, list(firsts.values()))
        tree = parts / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        left = (
            {md5: sum(1 for m in members if m.md5 == md5) for md5 in firsts}
            if len(firsts) < len(members)
            else {}
        )
        for member in members:
            target = tree / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            left[member.md5] = left.get(member.md5, 1) - 1
            if left[member.md5] > 0:
                shutil.copyfile(parts / member.md5, target)
            else:
                (parts / member.md5).rename(target)
        tree.rename(into)

    def _each(self, fetch: object, members: list[Member]) -> None:
        assert callable(fetch)
        if self._name is None:
            for member in members:
                fetch(member)
        else:
            self._remote().each(fetch, members)

    def _object(self, item: Item, parts: Path, path: str, meter: Meter, standing: Path | None) -> Path:
        """The file `parts/<md5>` with that content, `path` in messages."""
        target = parts / item.md5
        if target.is_file():  # its name was given when it was known to be good
            meter.add(target.stat().st_size)
            return target
        for place in self._places(item, standing):
            draft = parts / f"{item.md5}.{threading.get_ident()}"
            try:
                shutil.copyfile(place, draft)
            except OSError:
                continue
            if dvcfiles.holds(draft, item.md5, legacy=item.legacy):
                meter.add(draft.stat().st_size)
                return draft.rename(target)
            draft.unlink()
            if place != standing:
                self._damaged.append(path)
        self._download(item, target, path, meter)
        return target

    def _places(self, item: Item, standing: Path | None) -> list[Path]:
        names = dvcfiles.names_of(item.md5, item.legacy)
        found = [cache / name for cache in self._caches for name in names]
        return [p for p in (*([standing] if standing else []), *found) if p.is_file()]

    # --- the remote ---

    def _remote(self) -> Engine:
        if self._engine is None:
            if self._name is None:
                raise AbsentError("no remote")
            self._engine = Engine(open_remote(self._name, self._config.remotes, self._env))
        return self._engine

    def _download(self, item: Item, target: Path, path: str, meter: Meter) -> None:
        part = target.with_name(target.name + ".part")
        try:
            engine = self._remote()
            for name in dvcfiles.names_of(item.md5, item.legacy):
                try:
                    if self._stream(engine, name, item, part, meter):
                        part.rename(target)
                        return
                    part.unlink()
                    # A rest of an earlier try may have been of something else.
                    if self._stream(engine, name, item, part, meter):
                        part.rename(target)
                        return
                except AbsentError:
                    continue
                size = part.stat().st_size
                part.unlink()
                raise Failure(
                    f"`{path}` came damaged from {self._told()}: {size:,} bytes whose MD5 is not {item.md5}",
                    help="it was cut short or changed there: `dvc push` it again from where it is good",
                )
        except AbsentError:
            pass
        except RemoteError as e:
            raise Failure(
                f"`{path}` of {self.label} cannot be fetched: {e.message}", help=e.help or _OPTIONS
            ) from None
        raise self._gone(item, path)

    def _stream(self, engine: Engine, name: str, item: Item, part: Path, meter: Meter) -> bool:
        """Fetches what is missing of `part`; whether it is then what it should be."""
        start = part.stat().st_size if part.exists() else 0
        if start and start == engine.size(name):
            return dvcfiles.holds(part, item.md5, legacy=item.legacy)
        with part.open("ab") as file:
            if start:
                meter.add(start)
            for chunk in engine.read(name, start):
                file.write(chunk)
                meter.add(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        return dvcfiles.holds(part, item.md5, legacy=item.legacy)

    def _told(self) -> str:
        assert self._engine is not None
        return f"the DVC remote `{self._name}` ({self._engine.transport.shown})"

    def _gone(self, item: Item, path: str) -> GoneError:
        where = (
            "in DVC's cache" if path not in self._damaged else "whole in DVC's cache (it is damaged there)"
        )
        if self._name is None:
            return GoneError(
                f"`{path}` ({item.md5}) is not {where}, and {self.label} has no default DVC remote",
                help="set one with `dvc remote add -d NAME URL`, and `dvc push` from where the data is",
            )
        told = self._told() if self._engine else f"the DVC remote `{self._name}`"
        return GoneError(
            f"`{path}` ({item.md5}) is neither {where} nor in {told}",
            help="`dvc push` it from a machine that has it",
        )
