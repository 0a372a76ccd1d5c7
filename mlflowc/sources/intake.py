"""From a source into the cache: fetched aside, hashed, checked against its type, and only then taken in."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import stat
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.ir.model import Data
from mlflowc.runtime import checked, keys, locks, pins, tree
from mlflowc.runtime.checked import Item
from mlflowc.runtime.feedport import Pin
from mlflowc.runtime.hashing import hash_bytes, hash_file
from mlflowc.runtime.workspace import Workspace
from mlflowc.sources.port import Progress, Source, Version

# Kinds of types that are folders, and those that may be either.
_EITHER = frozenset({"path", "model", "parquet", "image"})
# Kinds of which a web page may be one.
_MAY_BE_A_PAGE = frozenset({"path", "file", "text", "html", "markdown"})


def take(
    ws: Workspace,
    data: Data,
    source: Source,
    version: Version,
    progress: Progress,
    note: Callable[[str], None],
    wanted: Pin | None = None,
) -> Pin:
    """Fetches a version of the data into the cache; the pin that it would have.

    What is fetched must have the content of `wanted`, where that is given, else be of the declared type.
    Another process that fetches the same is waited for. Raises `Failure`, and leaves what may be resumed.
    """
    folder = pins.staging(ws, data) / hash_bytes(keys.canonical(dict(version)).encode())[:16]
    ws.prepare()
    held = locks.acquire(
        ws.state / "locks",
        [f"fetch {folder.parent.name}"],
        [],
        ws.clock,
        threading.Event(),
        lambda holder: note(f"waiting: {holder} fetches data `{data.name}`"),
    )
    assert held is not None  # nothing cancels it
    try:
        if wanted is not None and ws.store.has_output(wanted.output):
            return wanted
        return _take(ws, data, source, version, progress, folder, wanted)
    except OSError as e:
        raise Failure(
            f"data `{data.name}` cannot be kept: {e.strerror or e}",
            help="the project's `.mlpipe` must be writable and have space",
        ) from e
    finally:
        held.release()


def _take(
    ws: Workspace,
    data: Data,
    source: Source,
    version: Version,
    progress: Progress,
    folder: Path,
    wanted: Pin | None,
) -> Pin:
    into = folder / Path(feeds.standing(data)).name
    _tidy(folder)
    _remove(into)
    folder.mkdir(parents=True, exist_ok=True)
    known = source.fetch(version, into, progress)
    pin = _measured(data, into, known)
    if wanted is not None:
        if (pin.kind, pin.hash) != (wanted.kind, wanted.hash):
            _remove(folder)
            raise Failure(
                f"data `{data.name}`: {source.shown} gives other content than `mlpipe.lock` pins, "
                "under the same version",
                help=f"`mlpipec update {data.name}` takes what is there now",
            )
        # A pin is found by its content: what the lock says of its exec bit goes.
        pin = wanted
    else:
        try:
            _of_kind(data, source, into)
            _whole(data, source, into, known=pin.type != "")
        except Failure:
            _remove(folder)
            raise
        if pin.type:
            item = Item(f"data `{data.name}`", pin.path, pin.hash, data.type, data.place)
            try:
                checked.demand(ws, [item], into)
            except Failure:
                _remove(folder)
                raise
    _keep(ws, into, pin)
    _remove(folder.parent)
    return pin


def _tidy(folder: Path) -> None:
    """Of fetches of other versions nothing is of use any more."""
    with contextlib.suppress(FileNotFoundError):
        for other in folder.parent.iterdir():
            if other.name != folder.name:
                _remove(other)


def _measured(data: Data, path: Path, version: Version) -> Pin:
    stands = feeds.standing(data)
    checked_as = pins.type_of(data)
    st = path.lstat()
    if stat.S_ISREG(st.st_mode):
        executable = bool(st.st_mode & 0o100)
        return Pin(
            data.name, stands, "file", hash_file(path), st.st_size, executable, dict(version), checked_as
        )
    entries = tree.scan(os.fspath(path))
    digest = hash_bytes(tree.encode(entries))
    return Pin(data.name, stands, "dir", digest, tree.total_size(entries), False, dict(version), checked_as)


def _of_kind(data: Data, source: Source, path: Path) -> None:
    """Raises `Failure` where a folder came for a file, or the other way round."""
    kind = data.type.kind
    folder = path.is_dir()
    if kind not in _EITHER and folder != (kind == "dir"):
        found = "a folder" if folder else "a file"
        raise Failure(
            f"data `{data.name}`: {source.shown} is {found}, and `{kind}` was declared",
            help=f"declare its type: `data {data.name}: {'dir' if folder else 'file'} = …`",
        )


def _whole(data: Data, source: Source, path: Path, *, known: bool) -> None:
    """Raises `Failure` for what servers give with every sign of success: a page that asks for a login in
    place of a table, and half an archive. `known`: its type will be checked, which reads all of it."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(1024)
    page = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if page and data.type.kind not in _MAY_BE_A_PAGE:
        raise Failure(
            f"data `{data.name}`: {source.shown} is a web page, and `{data.type.kind}` was declared",
            help="some servers ask for a login so, or say that something is gone: look at it in a browser",
        )
    if start.startswith(b"\x1f\x8b") and path.name.endswith((".gz", ".tgz")) and not known:
        try:
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as e:
            raise Failure(
                f"data `{data.name}`: {source.shown} is compressed, and damaged: {e}",
                help="it may still be on its way to that place: try again later",
            ) from None


def _keep(ws: Workspace, path: Path, pin: Pin) -> None:
    if pin.kind == "file":
        _put(ws, path, pin.hash)
        return
    entries = tree.scan(os.fspath(path))
    for entry in entries:
        if entry.kind in "fx":
            _put(ws, path / entry.path, entry.hash)
    ws.store.put_listing(entries)


def _put(ws: Workspace, path: Path, digest: str) -> None:
    try:
        ws.store.put_file(path, digest, move=True)
    except OSError as e:
        # The cache may lie on another disk than the project.
        if e.errno != errno.EXDEV:
            raise
        ws.store.put_file(path, digest)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
