"""Which pack holds what: the indexes of packs, kept on this machine once they were read."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from mlflowc import plainfile
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.remotes import names, packs
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.packs import Index

Pack = tuple[str, str]  # its namespace and its hash

# Rows of 36 bytes: a pack of nothing but empty files has the most of them for its size.
_LARGEST_INDEX = 256 * 1024 * 1024
_NOTHING = Index(packs.encode_index([]))


class Library:
    """The indexes of one remote. `folder` is where they are kept (None: nowhere). Safe in several threads."""

    def __init__(self, engine: Engine, folder: Path | None) -> None:
        self._engine = engine
        self._folder = folder
        self._members: dict[Pack, Index | None] = {}
        self._guard = threading.Lock()

    def members(self, pack: Pack) -> Index:
        """What is where in the pack; nothing when it is not there or makes no sense. Raises `RemoteError`."""
        with self._guard:
            if pack in self._members:
                return self._members[pack] or _NOTHING
        found = self._kept(pack)
        if found is None:
            found, _ = self._engine.read_good(names.index(*pack), self._decoded, _LARGEST_INDEX)
            if found is not None:
                self._keep(pack, found.raw)
        with self._guard:
            self._members[pack] = found
        return found or _NOTHING

    def load(self, wanted: Iterable[Pack]) -> None:
        """Reads the indexes of many packs at once."""
        with self._guard:
            new = [p for p in dict.fromkeys(wanted) if p not in self._members]
        self._engine.each(self.members, new)

    def all_of(self, namespace: str) -> list[Pack]:
        """All packs of a namespace, their indexes read."""
        found = self._engine.names(names.folder(namespace, "index"))
        ids = (f.name.rpartition("/")[2] for f in found)
        listed = [(namespace, i) for i in ids if names.is_hash(i)]
        self.load(listed)
        return listed

    def add(self, pack: Pack, index: Index) -> None:
        """A pack that was just written."""
        with self._guard:
            self._members[pack] = index
        self._keep(pack, index.raw)

    def forget(self, pack: Pack) -> None:
        """What was kept of the pack led nowhere."""
        with self._guard:
            self._members.pop(pack, None)
        path = self._path(pack)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _kept(self, pack: Pack) -> Index | None:
        path = self._path(pack)
        if path is None:
            return None
        try:
            return self._decoded(plainfile.read(path))
        except OSError:
            return None

    def _keep(self, pack: Pack, index: bytes) -> None:
        path = self._path(pack)
        if path is None:
            return
        # It can be read again from the remote: no place to keep it is no reason to stop.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
            temporary.write_bytes(index)
            temporary.replace(path)

    def _path(self, pack: Pack) -> Path | None:
        namespace, pack_id = pack
        return self._folder / f"{hash_bytes(namespace.encode())[:8]}-{pack_id}" if self._folder else None

    @staticmethod
    def _decoded(data: bytes) -> Index | None:
        try:
            return Index(data)
        except ValueError:
            return None
