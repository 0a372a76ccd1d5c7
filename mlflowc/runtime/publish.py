"""A stage's outputs before and after its command: moved aside, checked, stored; put back when it failed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass
from mlflowc.ir.model import Output, Stage
from mlflowc.runtime import checked, locks, metrics, tree
from mlflowc.runtime.hashing import hash_bytes, hash_file
from mlflowc.runtime.records import Metrics, OutputRecord
from mlflowc.runtime.workspace import Workspace

# Kinds that may be a folder as well as a file: many frameworks save a model as a folder.
_EITHER = frozenset({"path", "model", "parquet", "image"})


@dataclass(frozen=True, slots=True)
class Published:
    """What a run made."""

    outputs: tuple[OutputRecord, ...]
    metrics: Metrics


def failed_folder(ws: Workspace, stage: Stage) -> Path:
    """Where the partial outputs of a failed run are kept: `.mlpipe/failed/<stage>`."""
    return ws.state / "failed" / stage.id.replace("/", "_")


def move_aside(ws: Workspace, stage: Stage) -> None:
    """Moves the stage's outputs out of the way, and makes the folders that it will write in.

    What a killed run left (its own outputs in place, the earlier ones aside) is first undone. Raises
    `OSError`, and `Failure` where a file stands in the way of a folder; then nothing was moved.
    """
    moved = []
    try:
        for output in stage.outputs:
            path, aside = _place(ws, output), _aside(ws, output)
            if os.path.lexists(aside):
                ws.fs.remove(path)
                _move(ws, aside, path)
            if os.path.lexists(path):
                ws.fs.make_folder(aside.parent)
                _move(ws, path, aside)
                moved.append((aside, path))
            _make_room(ws, output)
            ws.checkout.forget(output.path)
    except (OSError, Failure):
        for aside, path in moved:
            with contextlib.suppress(OSError):
                _move(ws, aside, path)
        raise
    for keep in stage.keeps:
        path = ws.root / keep.path
        ws.fs.make_folder(path if keep.path.endswith("/") else path.parent)


def _make_room(ws: Workspace, output: Output) -> None:
    folder = _place(ws, output).parent
    try:
        ws.fs.make_folder(folder)
    except (FileExistsError, NotADirectoryError):
        above = [p for p in (folder, *folder.parents) if p.is_relative_to(ws.root) and os.path.lexists(p)]
        where = next((p.relative_to(ws.root) for p in above if not p.is_dir()), folder)
        raise Failure(
            f"output `{output.name}` (`{output.path}`) needs a folder where `{where}` is a file",
            help="an earlier form of the pipeline may have written it: delete it, or move it away",
        ) from None


def forget_aside(ws: Workspace, stage: Stage) -> None:
    """The earlier outputs are not needed any more."""
    for output in stage.outputs:
        with contextlib.suppress(OSError):
            ws.fs.remove(_aside(ws, output))


def sweep(ws: Workspace, stages: Iterable[Stage]) -> None:
    """Earlier outputs that a killed run left aside, of stages whose outputs are as they should be. Never
    raises.
    """
    try:
        names = {e.name for e in os.scandir(ws.state / "aside")}
    except OSError:
        return
    at_once = threading.Event()
    at_once.set()
    for output in (o for s in stages for o in s.outputs) if names else ():
        aside = _aside(ws, output)
        if aside.name not in names:
            continue
        path = f"path {output.path.rstrip('/')}"
        with contextlib.suppress(OSError, Failure):
            # Whoever holds the lock is at work on it.
            held = locks.acquire(ws.state / "locks", [path], [], ws.clock, at_once, lambda holder: None)
            if held is not None:
                try:
                    ws.fs.remove(aside)
                finally:
                    held.release()


def discard(ws: Workspace, stage: Stage) -> None:
    """Removes what a try left behind, before the next. Raises `OSError`."""
    for output in stage.outputs:
        ws.fs.remove(_place(ws, output))
        ws.checkout.forget(output.path)


def put_back(ws: Workspace, stage: Stage, log: Path | None = None) -> Path | None:
    """After a failure: partial outputs and the log go to the stage's failed folder, earlier outputs come
    back.

    Returns that folder, or None when there was nothing to keep. Never raises: it does what it can.
    """
    folder = failed_folder(ws, stage)
    kept = False
    with contextlib.suppress(OSError):
        ws.fs.remove(folder)
    for output in stage.outputs:
        path, aside = _place(ws, output), _aside(ws, output)
        if os.path.lexists(path):
            try:
                ws.fs.make_folder((folder / output.path).parent)
                _move(ws, path, folder / output.path.rstrip("/"))
                kept = True
            except OSError:
                with contextlib.suppress(OSError):
                    ws.fs.remove(path)
        if os.path.lexists(aside):
            with contextlib.suppress(OSError):
                _move(ws, aside, path)
        ws.checkout.forget(output.path)
    if log is not None:
        with contextlib.suppress(OSError):
            ws.fs.make_folder(folder)
            _move(ws, log, folder / "log.txt")
            kept = True
    return folder if kept else None


def restore(ws: Workspace, outputs: tuple[OutputRecord, ...]) -> bool:
    """Puts results in place from the cache, where they are not there already. False when content is missing.

    Then what was there before is there again. Raises `OSError`.
    """
    for output in outputs:
        seen = ws.checkout.look(output.path, source=False)
        if seen and (seen.kind, seen.hash, seen.executable) == (output.kind, output.hash, output.executable):
            continue
        target = ws.root / output.path
        aside = _aside_of(ws, output.path)
        had = os.path.lexists(target)
        if os.path.lexists(aside):
            # A killed run left it there: what stands at the place is a part of what was to be restored.
            ws.fs.remove(target)
            had = True
        elif had:
            ws.fs.make_folder(aside.parent)
            _move(ws, target, aside)
        done = False
        try:
            ws.fs.make_folder(target.parent)
            done = ws.store.restore(output, target)
        finally:
            if had:
                if not done:
                    _move(ws, aside, target)
                with contextlib.suppress(OSError):
                    ws.fs.remove(aside)
            ws.checkout.forget(output.path)
        if not done:
            return False
        _learn(ws, output)
    return True


def publish(ws: Workspace, stage: Stage) -> Published:
    """Checks the outputs that the command wrote, and stores their content.

    Raises `Failure` when one is missing or not what was declared, `OSError` when it cannot be stored.
    """
    missing = [o for o in stage.outputs if not os.path.lexists(_place(ws, o))]
    if missing:
        names = ", ".join(f"`{o.name}` (`{o.path}`)" for o in missing)
        raise Failure(
            f"the command ended well and did not write {'outputs' if len(missing) > 1 else 'output'} {names}",
            help="write it at that path, relative to the project folder, or correct the path in the pipeline",
        )
    numbers: Metrics = {}
    for output in stage.outputs:
        _check_kind(ws, output)
        if output.type.kind == "metrics":
            numbers[output.name] = _metrics(ws, output)
    made = tuple(_readable(ws, o) for o in stage.outputs)
    # Behind `_store`, which knows the hash that a verdict is kept under; a result is one by its record.
    checked.demand(ws, checked.outputs(stage, made))
    return Published(made, numbers)


def _check_kind(ws: Workspace, output: Output) -> None:
    mode = os.lstat(_place(ws, output)).st_mode
    kind = output.type.kind
    if stat.S_ISLNK(mode):
        raise Failure(
            f"output `{output.name}`: `{output.path}` is a symbolic link",
            help="an output must hold its content: write a file or a folder there",
        )
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        what = plainfile.kind(mode)
        raise Failure(
            f"output `{output.name}`: `{output.path}` is {what}, neither a file nor a folder",
            help="an output must hold its content: write a file or a folder there",
        )
    is_folder = stat.S_ISDIR(mode)
    if kind not in _EITHER and is_folder != (kind == "dir"):
        found = "a folder" if is_folder else "a file"
        raise Failure(f"output `{output.name}`: `{output.path}` is {found}, and `{kind}` was declared")


def _metrics(ws: Workspace, output: Output) -> dict[str, int | float]:
    try:
        numbers = metrics.read(_place(ws, output))
    except metrics.UnreadableError as e:
        raise Failure(f"output `{output.name}`: `{output.path}` holds no metrics: {e}") from None
    problem = metrics.problem(output, numbers)
    if problem is not None:
        raise Failure(
            f"output `{output.name}`: `{output.path}` {problem}",
            help="make the command write what the pipeline declares, or change the declaration",
        )
    return metrics.finite(numbers)


def _readable(ws: Workspace, output: Output) -> OutputRecord:
    try:
        return _store(ws, output)
    except PermissionError as e:
        if e.filename is None or not Path(os.fsdecode(e.filename)).is_relative_to(_place(ws, output)):
            raise
        where = os.path.relpath(os.fsdecode(e.filename), ws.root)
        raise Failure(
            f"output `{output.name}`: `{where}` cannot be read: its permissions do not allow it",
            help="the command must leave what it writes readable for who runs it",
        ) from None


def _store(ws: Workspace, output: Output) -> OutputRecord:
    path = output.path.rstrip("/")
    full = ws.root / path
    before = os.lstat(full)
    if not stat.S_ISDIR(before.st_mode):
        digest = hash_file(full)
        executable = bool(before.st_mode & 0o100)
        stored = ws.store.put_output_file(full, digest, executable, before.st_mtime_ns)
        if not stored or not ws.checkout.learn_file(path, digest, before):
            raise _still_written(output)
        return OutputRecord(output.name, path, "file", digest, before.st_size, executable)
    walk, row = ws.checkout.measure(path)
    entries = tree.entries(str(full), walk, bytes(row.digests), exact=True)
    _refuse_links(ws, output, full, entries)
    files = [(e, t) for e, t in zip(entries, walk.modified(), strict=True) if e.kind in "fx"]
    if not ws.store.put_output_files(str(full), files):
        raise _still_written(output)
    digest = ws.store.listings.put(row.listing)
    if not ws.checkout.learn_folder(path, row, walk):
        raise _still_written(output)
    return OutputRecord(output.name, path, "dir", digest, row.size)


def _refuse_links(ws: Workspace, output: Output, full: Path, entries: list[tree.Entry]) -> None:
    for entry in entries:
        if entry.kind == "l":
            target = os.path.realpath(full / entry.path)
            if target.startswith((os.fspath(ws.state) + "/", os.path.realpath(ws.store.root) + "/")):
                raise Failure(
                    f"output `{output.name}`: `{output.path}/{entry.path}` is a link into the cache",
                    help="whoever wrote through it would spoil the cache: copy the file instead",
                )


def _learn(ws: Workspace, output: OutputRecord) -> None:
    if output.kind == "file":
        ws.checkout.learn_file(output.path, output.hash)
    else:
        ws.checkout.learn_restored(output.path, output.hash, ws.store.listing(output.hash) or [])


def _still_written(output: Output) -> Failure:
    return Failure(
        f"output `{output.name}`: `{output.path}` was still being written after the command had ended",
        help="wait in the command for everything that it started",
    )


def _place(ws: Workspace, output: Output) -> Path:
    return ws.root / output.path.rstrip("/")


def _aside(ws: Workspace, output: Output) -> Path:
    return _aside_of(ws, output.path.rstrip("/"))


def _aside_of(ws: Workspace, path: str) -> Path:
    return ws.state / "aside" / hash_bytes(path.encode("utf-8", "surrogateescape"))[:32]


def _move(ws: Workspace, source: Path, target: Path) -> None:
    try:
        ws.fs.rename(source, target)
    except PermissionError:
        # A folder that may not be written cannot be moved to another one.
        if source.is_symlink() or not source.is_dir():
            raise
        ws.fs.chmod(source, 0o755)
        ws.fs.rename(source, target)
    except OSError as e:
        # Outputs may lie on another disk than the project (a link, a mount).
        if e.errno != errno.EXDEV:
            raise
        shutil.move(source, target)
