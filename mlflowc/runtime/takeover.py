"""Results of one cache into another: those that a project made before it used a shared one.

As with a bundle, nothing is believed: every content is hashed on its way, what a record says of metrics must
be in them, contents come first and the record last. What is not whole stays where it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.runtime import inuse, measured, pins, tree
from mlflowc.runtime.bundle import BundleError, Small, take_record
from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.packstore import LARGEST
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.store import Store
from mlflowc.runtime.unlike import Unlike
from mlflowc.runtime.workspace import STATE, Workspace

OWN = f"{STATE}/cache"


@dataclass(slots=True)
class Taken:
    """`stages` whose results were taken over, `new` of them; `lost` are stages of results that are not whole,
    `unlike` what has another result here, which stays."""

    stages: list[str] = field(default_factory=list)
    new: int = 0
    lost: list[str] = field(default_factory=list)
    unlike: list[Unlike] = field(default_factory=list)


def left_behind(ws: Workspace) -> int:
    """How many results are in the project's own cache and not in the shared one that it uses."""
    if ws.shared is None or ws.shared.folder == ws.root / OWN:
        return 0
    found = 0
    for path in (ws.root / OWN / "records").glob("??/*"):
        place = ws.store.root / "records" / path.parent.name / path.name
        found += len(path.name) == 62 and not place.exists()
    return found


def take_over(ws: Workspace, folder: Path) -> Taken:
    """Adds what is in the cache at `folder` to that of `ws`. The caller holds the latter by `inuse.using`.

    Raises `Failure` where `folder` is no cache, or the one in use, `OSError` where one cannot be read or
    written.
    """
    source = folder.resolve()
    if not (source / "records").is_dir():
        raise Failure(f"`{folder}` is not a cache", help=f"as in `mlpipec cache import {OWN}`")
    if source == ws.store.root.resolve():
        raise Failure(f"`{folder}` is the cache that is in use here", help="there is nothing to take over")
    # A cache of one project has its locks beside it, a shared one in it.
    state = source.parent if source.parent.name == STATE else source
    done = Taken()
    with inuse.using(state):
        old = Store(source, ws.fs, ws.index)
        for record in old.records():
            if _bring(ws, old, record):
                told = take_record(record, ws.store)
                done.stages.append(record.stage)
                if isinstance(told, Unlike):
                    done.unlike.append(told)
                else:
                    done.new += told
            else:
                done.lost.append(record.stage)
        for data in pins.contents(ws.lock):
            # Fetched data has no record. What is not here is fetched again.
            if not ws.store.has_output(data):
                _output(ws, old, data)
        ws.store.sync()
    return done


def _bring(ws: Workspace, old: Store, record: Record) -> bool:
    """Adds the contents of a result; False where they are not all there, or it says other numbers."""
    if not all(_output(ws, old, o) for o in record.outputs):
        return False
    if record.log and not ws.store.has(record.log):
        # A result is one without its log, too.
        _contents(ws, old, [record.log])
    return measured.lie(record, ws.store) is None


def _output(ws: Workspace, old: Store, output: OutputRecord) -> bool:
    """Adds all content of an output, its listing last; False where it is not all there."""
    entries = _entries(old, output)
    if entries is None:
        return False
    if not _contents(ws, old, ws.store.missing(e.hash for e in entries if e.kind in "fx")):
        return False
    if output.kind != "file":
        ws.store.put_listing(entries)
    return True


def _entries(old: Store, output: OutputRecord) -> list[tree.Entry] | None:
    """The files of an output; None when its listing is lost, or names places outside of it."""
    if output.kind == "file":
        return [tree.Entry("", "f", output.hash)]
    found = old.listing(output.hash)
    try:
        return None if found is None else tree.harmless(found)
    except ValueError:
        return None


def _contents(ws: Workspace, old: Store, digests: Iterable[str]) -> bool:
    """Brings objects over, each hashed; False where one is not there, or not good."""
    sizes = {digest: old.size(digest) for digest in digests}
    if None in sizes.values():
        return False
    few = [d for d, size in sizes.items() if size is not None and size <= LARGEST]
    small = Small(ws.store)
    try:
        for digest, data in old.contents(few):
            small.take(digest, bytes(data))
        small.put()
    except BundleError:
        return False
    large = (d for d, size in sizes.items() if size is not None and size > LARGEST)
    return all(_large(ws, old, d) for d in large) and not ws.store.missing(sizes)


def _large(ws: Workspace, old: Store, digest: str) -> bool:
    """Never the file itself: a link into two caches would be spoilt in both."""
    source = old.file(digest)
    if source is None:
        return False
    with _temporary(ws, digest) as copy:
        if not ws.fs.clone(source, copy):
            ws.fs.copy(source, copy)
        if hash_file(copy) != digest:
            return False
        ws.store.put_file(copy, digest, move=True)
    return True


@contextlib.contextmanager
def _temporary(ws: Workspace, digest: str) -> Iterator[Path]:
    folder = ws.store.root / "tmp"
    ws.fs.make_folder(folder)
    path = folder / f"{os.urandom(8).hex()}-{digest}"
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
