"""Results in one file, to be carried from one machine to the next and from one run to the next.

A bundle is an uncompressed tar. Its first member, `mlpipe-bundle`, is a line with the hash of the rest and
then JSON that names everything else, in order:

    objects/HASH    contents of the outputs of the job's own stages, and of their logs
    trees/HASH      listings of the folders among them
    records/KEY     the records of these stages and of all stages before them

The records of earlier stages come without their contents: they say what was there, so that keys can be
worked out without fetching it. Equal results give equal bundles, byte for byte.

Nothing in a bundle is believed. Names must be of the form above, contents must have the hash that names
them, metrics must have the numbers of their contents, and records are added last and only if the whole file
was good: a bundle that is cut off, changed or made up is reported and left out, and its results are not there
(a miss).
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from blake3 import blake3

from mlflowc import plainfile
from mlflowc.frozen import dataclass
from mlflowc.runtime import measured, packstore, records, tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.lockfile import sound_pin
from mlflowc.runtime.packstore import Piece
from mlflowc.runtime.ports import FileSystem
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes import packs
from mlflowc.runtime.store import Store
from mlflowc.runtime.unlike import Kept, Unlike, compare, origin

_MANIFEST = "mlpipe-bundle"
_VERSION = 1
_MEMBER = re.compile(r"(objects|trees|records)/([0-9a-f]{64})")
_CHUNK = 1024 * 1024
# No bundle takes so long to be written, in seconds.
_LONG = 24 * 3600.0
# Listings and records are held in memory: a folder of a million files has a listing of about 100 MB.
_LARGEST_TEXT = 256 * 1024 * 1024


class BundleError(Exception):
    """A bundle that is not good; the text says why."""


class Imported(NamedTuple):
    """What came out of a bundle: its job, the deep keys and the keys of all its stages, these stages in
    order, how many records were new, and which have another result here, which stays; and what a plan that
    refreshed data says (see `Bundle`)."""

    job: str
    deep: Mapping[str, str]
    keys: Mapping[str, str]
    stages: tuple[str, ...]
    new: int
    unlike: tuple[Unlike, ...] = ()
    pins: Mapping[str, Any] = {}
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """What goes into one: `own` are the records whose contents go along, `upstream` those without.

    `deep` gives the deep keys of all their stages. The bundle of a plan that refreshed data has `pins`, the
    new lines of the lock by the data's name, and `fresh`, the names of those whose content is another now.
    """

    job: str
    own: tuple[Record, ...]
    upstream: tuple[Record, ...] = ()
    deep: Mapping[str, str] | None = None
    pins: Mapping[str, Any] | None = None
    fresh: tuple[str, ...] = ()


def write(bundle: Bundle, path: Path, store: Store) -> int:
    """Writes the bundle at `path`, all or nothing; returns its size in bytes.

    Raises `BundleError` when the store lacks content of a record, `OSError` when it cannot be written.
    """
    members = list(_members(bundle, store))
    names = [name for name, _ in members]
    refreshed = {} if bundle.pins is None else {"pins": dict(bundle.pins), "fresh": bundle.fresh}
    body = json.dumps(
        {
            "version": _VERSION,
            "job": bundle.job,
            "deep": dict(bundle.deep or {}),
            "keys": {record.stage: record.key for record in (*bundle.upstream, *bundle.own)},
            "members": names,
            **refreshed,
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    manifest = hash_bytes(body).encode() + b"\n" + body
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, _MANIFEST, manifest)
            for name, content in members:
                _add(tar, name, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def read(path: Path, store: Store, fs: FileSystem) -> Imported:
    """Adds what is in the bundle at `path` to the store.

    Raises `BundleError` when it is not good, and then nothing of it counts.
    """
    texts: dict[str, bytes] = {}
    small = Small(store)
    try:
        with os.fdopen(plainfile.opened(path), "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            manifest = _read_manifest(tar)
            for expected in manifest.members:
                member = tar.next()
                if member is None:
                    raise BundleError("is cut off")
                kind, digest = _check(member, expected)
                content = tar.extractfile(member)
                if content is None:
                    raise BundleError(f"`{member.name}` is not a file")
                if kind == "objects" and member.size <= packstore.LARGEST:
                    small.take(digest, content.read())
                elif kind == "objects":
                    _take_object(content, digest, store, fs)
                else:
                    texts[member.name] = content.read()
            if tar.next() is not None:
                raise BundleError("holds something that it does not list")
        small.put()
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError) as e:
        raise BundleError(f"cannot be read: {e}") from e
    listings, found = _texts(texts)
    try:
        for entries in listings:
            store.put_listing(entries)
        for record in found:
            wrong = measured.lie(record, store)
            if wrong is not None:
                raise BundleError(f"has a result of `{record.stage}` that is not believed: {wrong}")
        taken = [take_record(record, store) for record in found]
    except OSError as e:
        raise BundleError(f"cannot be taken into the cache: {e.strerror}") from e
    others = tuple(t for t in taken if isinstance(t, Unlike))
    stages = tuple(r.stage for r in found)
    return Imported(
        manifest.job,
        manifest.deep,
        manifest.keys,
        stages,
        taken.count(True),
        others,
        manifest.pins,
        manifest.fresh,
    )


# --- writing


def _sweep(path: Path) -> None:
    """What killed processes left beside `path`, long ago enough that nobody writes it."""
    with contextlib.suppress(OSError):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            if left.stat().st_mtime < time.time() - _LONG:
                left.unlink()


def _members(bundle: Bundle, store: Store) -> Iterator[tuple[str, bytes | Path]]:
    """Everything behind the manifest, each once, sorted: objects, then trees, then records."""
    objects: set[str] = set()
    trees: dict[str, bytes] = {}
    for record in bundle.own:
        for output in record.outputs:
            objects |= _contents(output, trees, store, record.stage)
        if record.log and store.has(record.log):
            objects.add(record.log)
    for digest in sorted(objects):
        path = store.object_path(digest)
        packed = None if path.exists() else store.packs.read(digest)
        yield f"objects/{digest}", path if packed is None else packed
    for digest in sorted(trees):
        yield f"trees/{digest}", trees[digest]
    for key, record in sorted({r.key: r for r in (*bundle.upstream, *bundle.own)}.items()):
        yield f"records/{key}", records.encode(record)


def _contents(output: OutputRecord, trees: dict[str, bytes], store: Store, stage: str) -> set[str]:
    if output.kind == "file":
        wanted = {output.hash}
    else:
        entries = store.listing(output.hash)
        if entries is None:
            raise BundleError(f"the cache has lost `{output.path}` of `{stage}`")
        trees[output.hash] = tree.encode(entries)
        wanted = {e.hash for e in entries if e.kind in "fx"}
    if store.missing(wanted):
        raise BundleError(f"the cache has lost content of `{output.path}` of `{stage}`")
    return wanted


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    # Only what decides the content goes in: no times, owners or modes of this machine.
    info = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    with content.open("rb") as file:
        info.size = os.fstat(file.fileno()).st_size
        tar.addfile(info, file)


# --- reading


class _Manifest(NamedTuple):
    job: str
    deep: dict[str, str]
    keys: dict[str, str]
    members: list[str]
    pins: dict[str, Any]
    fresh: tuple[str, ...]


def _read_manifest(tar: tarfile.TarFile) -> _Manifest:
    first = tar.next()
    if first is None or first.name != _MANIFEST or not first.isreg() or first.size > _LARGEST_TEXT:
        raise BundleError("is not a bundle")
    content = tar.extractfile(first)
    head, _, body = (content.read() if content else b"").partition(b"\n")
    if head.decode("ascii", "replace") != hash_bytes(body):
        raise BundleError("is damaged")
    raw = json.loads(body)
    if raw["version"] != _VERSION:
        raise BundleError(f"is of version {raw['version']}, which this version of mlpipec does not read")
    pins = dict(raw.get("pins", {}))
    if not all(sound_pin(p) for p in pins.values()):
        raise BundleError("pins data as no version of mlpipec does")
    fresh = tuple(map(str, raw.get("fresh", ())))
    texts = [raw["job"], *raw["members"]]
    for table in (raw["deep"], raw["keys"]):
        if not isinstance(table, dict):
            raise BundleError("is not a bundle")
        texts += table.values()
    if not all(isinstance(t, str) for t in texts):
        raise BundleError("is not a bundle")
    return _Manifest(raw["job"], raw["deep"], raw["keys"], raw["members"], pins, fresh)


def _check(member: tarfile.TarInfo, expected: str) -> tuple[str, str]:
    """The kind and the hash that a member's name says."""
    match = _MEMBER.fullmatch(member.name)
    if member.name != expected or match is None or not member.isreg():
        raise BundleError("holds something that it does not list")
    if match[1] != "objects" and member.size > _LARGEST_TEXT:
        raise BundleError(f"`{member.name}` is too large")
    return match[1], match[2]


class Small:
    """Small contents on their way into the store, where many of them stand together."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pieces: dict[str, Piece] = {}
        self._size = 0

    def take(self, digest: str, content: bytes) -> None:
        """Adds one, if it has that hash."""
        if hash_bytes(content) != digest:
            raise BundleError(f"the content of `objects/{digest}` is not that")
        self._pieces[digest] = Piece(digest, content)
        self._size += len(content)
        if self._size >= packs.FULL:
            self.put()

    def put(self) -> None:
        """Puts those that the store lacks into it. Raises `OSError`."""
        missing = self._store.missing(self._pieces)
        self._store.put_pieces([self._pieces[d] for d in missing])
        self._pieces, self._size = {}, 0


def _take_object(content: IO[bytes], digest: str, store: Store, fs: FileSystem) -> None:
    if store.has(digest):
        return
    folder = store.root / "tmp"
    fs.make_folder(folder)
    temporary = folder / f"{os.urandom(8).hex()}-{digest}"
    try:
        hasher = blake3()
        with temporary.open("wb") as file:
            while chunk := content.read(_CHUNK):
                hasher.update(chunk)
                file.write(chunk)
        if hasher.hexdigest() != digest:
            raise BundleError(f"the content of `objects/{digest}` is not that")
        store.put_file(temporary, digest, move=True)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _texts(texts: Mapping[str, bytes]) -> tuple[list[list[tree.Entry]], list[Record]]:
    """Listings and records, each checked against its name."""
    listings: list[list[tree.Entry]] = []
    found: list[Record] = []
    for name, data in texts.items():
        kind, _, digest = name.partition("/")
        try:
            if kind == "trees":
                if hash_bytes(data) != digest:
                    raise ValueError("has another hash")
                listings.append(tree.harmless(tree.decode(data)))
            else:
                record = records.decode(data)
                if record.key != digest:
                    raise ValueError("is the record of another key")
                found.append(record)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise BundleError(f"`{name}` {e}") from e
    return listings, found


def take_record(record: Record, store: Store) -> bool | Unlike:
    """Adds a record, unless there is one whose contents are there: that one can be used, this one may not.

    Says whether it was new, or in what it is different from the one that stays.
    """
    there = store.record(record.key)
    sound = there is not None and measured.lie(there, store) is None
    if there is not None and (there == record or (sound and _whole(there.outputs, store))):
        changed = compare(there.outputs, there.metrics, record.outputs, record.metrics)
        return Unlike(record.stage, record.key, Kept.HERE, changed, origin(there)) if changed else False
    store.put_record(record)
    return True


def _whole(outputs: Iterable[OutputRecord], store: Store) -> bool:
    return all(store.has_output(o) for o in outputs)
