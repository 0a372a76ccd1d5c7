"""Of a result whose content the cache has lost: whether somebody wrote to an output in place.

A large output may be the cache's own file (`mlflowc.runtime.linking`). Who writes to it writes to the cache;
that is noticed, and the content dropped, but a person should be told what became of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.packstore import LARGEST

if TYPE_CHECKING:
    from mlflowc.runtime.records import Record
    from mlflowc.runtime.workspace import Workspace


def told(ws: Workspace, key: str) -> str:
    """What happened to an output of the result of `key`, in a line; "" when that does not show."""
    record = ws.store.record(key)
    for path, digest in _large(ws, record) if record is not None else ():
        try:
            st = os.lstat(ws.root / path)
            if ws.store.has(digest) or not stat.S_ISREG(st.st_mode) or hash_file(ws.root / path) == digest:
                continue
        except OSError:
            continue
        # Only links into the cache are read-only; that the cache's name for it went does not change that.
        if not st.st_mode & 0o222:
            return f"`{path}` was edited in place, and the cache's copy with it (they were one file)"
        return f"`{path}` was changed, and the cache has no good copy of what it was"
    return ""


def _large(ws: Workspace, record: Record) -> Iterator[tuple[str, str]]:
    """Path and hash of each file that may have been linked."""
    for output in record.outputs:
        if output.kind == "file":
            if output.size > LARGEST:
                yield output.path, output.hash
            continue
        for entry in ws.store.listing(output.hash) or ():
            if entry.kind in "fx" and entry.size > LARGEST:
                yield f"{output.path.rstrip('/')}/{entry.path}", entry.hash
