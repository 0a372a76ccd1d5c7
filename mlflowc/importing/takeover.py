"""DVC's results as records of our store, so that the first run after an import has nothing to do.

A result is taken where `dvc.lock` shows that the stage's command, dependencies and parameters are what
they are
now, and the content of each output has the MD5 that the lock says. Outputs that are missing in the
checkout are
put there from DVC's cache. Nothing is believed unseen: each file is read and hashed.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from mlflowc import project as projects
from mlflowc.errors import Failure
from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.dvcbuild import Built
from mlflowc.importing.dvcfiles import DvcFiles, Locked, Pin
from mlflowc.importing.dvcread import Item, RawProject, RawStage
from mlflowc.importing.dvcvalues import Values
from mlflowc.importing.fold import fold
from mlflowc.importing.yamltree import Node
from mlflowc.ir.model import Stage
from mlflowc.resolve.dvcfiles import md5_of
from mlflowc.runtime import inuse, publish, targets
from mlflowc.runtime.plan import Action, Outputs, Planner, pin_environments
from mlflowc.runtime.records import Record
from mlflowc.runtime.workspace import Workspace, open_workspace


class RefusedError(Exception):
    """A stage's result is not taken; the text says why."""


def take(target: Path, raw: RawProject, built: Built, coverage: Coverage) -> int:
    """Takes over what can be taken, and says so; how many stages. Raises Failure where the pipeline does not
    compile, or the store cannot be written."""
    files = DvcFiles(target.parent.resolve(), raw.folder)
    lock = files.lock()
    loaded = projects.load(str(target))
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        ws.prepare()
        pin_environments(ws)
        _pin_data(ws, coverage)
        with inuse.using(ws.cache_state):
            return _Taker(ws, raw, built, files, lock, coverage).take()
    except OSError as e:
        raise Failure(
            f"results could not be taken over: {e.strerror or e}", help="check permissions and free space"
        ) from e
    finally:
        ws.close()


def _pin_data(ws: Workspace, coverage: Coverage) -> None:
    """Pins what DVC tracks: without, no stage that reads it has a key."""
    names = [d.name for d in ws.pipeline.data if d.name in ws.pinned]
    if not names:
        return
    from mlflowc.sources.fetcher import Fetcher  # clients of remotes: only for such data

    try:
        Fetcher(ws, lambda line: None).pin(names)
    except Failure as e:
        coverage.left("results", Place(ws.pipeline.file, 1), e.message, e.help)


class _Taker:
    def __init__(
        self,
        ws: Workspace,
        raw: RawProject,
        built: Built,
        files: DvcFiles,
        lock: Mapping[str, Locked],
        coverage: Coverage,
    ) -> None:
        self._ws, self._files, self._lock, self._coverage = ws, files, lock, coverage
        self._planner = Planner(ws)
        self._values = Values(files.root)
        folding = fold(built.draft)
        self._raws = {folding.id(built.indices[s.name]): s for s in raw.stages if s.name in built.indices}

    def take(self) -> int:
        known: dict[str, Outputs | None] = {}
        taken = 0
        for stage in self._ws.pipeline.stages:
            raw = self._raws[stage.id]
            known[stage.id] = None
            place = Place(self._files.lock_name, 1)
            try:
                entry = self._lock.get(raw.name)
                if entry is None:
                    raise RefusedError("dvc.lock has no result of it")
                place = Place(self._files.lock_name, entry.line)
                known[stage.id] = self._stage(stage, raw, entry, known)
                taken += 1
                self._coverage.carried("results", place, f"of `{raw.name}`")
            except (RefusedError, Failure) as e:
                why = e.message if isinstance(e, Failure) else str(e)
                self._coverage.left("results", place, f"of `{raw.name}`: {why}", "`mlpipec run` makes it")
        self._ws.store.sync()
        return taken

    def _stage(
        self, stage: Stage, raw: RawStage, entry: Locked, known: Mapping[str, Outputs | None]
    ) -> Outputs:
        before = next((s for s in targets.upstream(stage) if known[s] is None), None)
        if before is not None:
            raise RefusedError(f"it needs what `{before}` makes")
        if "always_changed" in raw.flags:
            raise RefusedError("DVC runs it each time")
        if entry.cmd != raw.cmd:
            raise RefusedError("its command is another now")
        self._dependencies(raw, entry)
        self._parameters(raw, entry)
        pins = {posixpath.normpath(posixpath.join(raw.wdir, p.path)): p for p in entry.outs}
        for item in raw.outs:
            if not item.external:
                self._output(item, pins.get(item.path))
        for output in stage.outputs:
            self._ws.checkout.forget(output.path)
        step = self._planner.decide(stage, known)
        if not step.key or step.action is Action.BLOCKED:
            raise RefusedError(step.reason)
        published = publish.publish(self._ws, stage)
        self._ws.store.put_record(
            Record(
                key=step.key,
                stage=stage.id,
                components=dict(step.components),
                outputs=published.outputs,
                metrics=published.metrics,
                params={p: self._ws.params[p] for p in stage.params},
                started=self._ws.clock.now(),
                host="dvc",
            )
        )
        return published.outputs

    # --- what it was made of ---

    def _dependencies(self, raw: RawStage, entry: Locked) -> None:
        pins = {posixpath.normpath(posixpath.join(raw.wdir, p.path)): p for p in entry.deps}
        for item in raw.deps:
            if item.external:
                raise RefusedError(f"`{item.path}` is not in the project")
            pin = pins.get(item.path)
            if pin is None or pin.md5 is None:
                raise RefusedError(f"dvc.lock does not say what `{item.path}` was")
            if not self._holds(item.path, pin.md5):
                raise RefusedError(f"`{item.path}` is not what it was")

    def _parameters(self, raw: RawStage, entry: Locked) -> None:
        for use in raw.params:
            locked = next(
                (
                    v
                    for f, v in entry.params.items()
                    if posixpath.normpath(posixpath.join(raw.wdir, f)) == use.file
                ),
                None,
            )
            now = self._values.read(use.file)
            if locked is None or now is None:
                raise RefusedError(f"dvc.lock does not say what `{use.file}` held")
            if use.key is None:
                same = now.plain() == locked
            else:
                found = _at(now, use.key)
                same = found is not None and use.key in locked and found.plain() == locked[use.key]
            if not same:
                raise RefusedError(f"`{use.key or use.file}` is not what it was")

    def _holds(self, path: str, md5: str) -> bool:
        """Whether the file or folder at `path` has that content."""
        full = self._files.root / path
        if md5.endswith(".dir"):
            return self._folder_holds(full, md5)
        return full.is_file() and md5_of(full) == md5

    def _folder_holds(self, full: Path, md5: str) -> bool:
        listing = self._files.listing(md5)
        if listing is None or not full.is_dir():
            return False
        here = {p.relative_to(full).as_posix() for p in full.rglob("*") if not p.is_dir()}
        return here == {relative for relative, _ in listing} and all(
            md5_of(full / relative) == inner for relative, inner in listing
        )

    # --- what it made ---

    def _output(self, item: Item, pin: Pin | None) -> None:
        """Sees to it that the output is in place, with the content that the lock says."""
        if pin is None or pin.md5 is None:
            raise RefusedError(f"dvc.lock does not say what `{item.path}` is")
        full = self._files.root / item.path
        if not os.path.lexists(full) or (full.is_symlink() and not full.exists()):
            self._fetch(full, item.path, pin)
        elif not self._holds(item.path, pin.md5):
            raise RefusedError(f"`{item.path}` is not what dvc.lock says")
        else:
            # Links into DVC's cache: an output holds its content itself.
            links = [full] if full.is_symlink() else [p for p in full.rglob("*") if p.is_symlink()]
            for link in links:
                content = link.resolve()
                if content.is_dir():
                    link.unlink()
                _copy(content, link, pin.executable)

    def _fetch(self, full: Path, path: str, pin: Pin) -> None:
        assert pin.md5 is not None
        listing = [("", pin.md5)]
        if pin.md5.endswith(".dir"):
            found = self._files.listing(pin.md5)
            if found is None:
                raise RefusedError(f"`{path}` is neither here nor in DVC's cache")
            listing = found
        sources: list[tuple[str, Path]] = []
        for relative, md5 in listing:
            source = self._files.cached(md5)
            if source is None:
                raise RefusedError(f"`{path}` is neither here nor in DVC's cache")
            if md5_of(source) != md5:
                raise RefusedError(f"`{path}` is damaged in DVC's cache")
            sources.append((relative, source))
        if full.is_symlink():
            full.unlink()
        if pin.md5.endswith(".dir"):
            full.mkdir(parents=True, exist_ok=True)
        for relative, source in sources:
            _copy(source, full / relative if relative else full, pin.executable)


def _copy(source: Path, target: Path, executable: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
        return
    # All or nothing: a part of it would be in the way of the next try.
    temporary = target.with_name(f".mlpipec-{os.urandom(6).hex()}.tmp")
    try:
        shutil.copyfile(source, temporary)
        temporary.chmod(
            stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH | (0o111 if executable else 0)
        )
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _at(node: Node, key: str) -> Node | None:
    found: Node | None = node
    for part in key.split("."):
        if found is None:
            return None
        if isinstance(found.value, list):
            found = found.value[int(part)] if part.isdigit() and int(part) < len(found.value) else None
        else:
            found = found.mapping.get(part)
    return found
