"""A place for one trial that looks like the project folder, and in which nothing but that trial writes.

Everything of the project is there by links; folders in which the stage writes are folders of their own. So
programs find all they read at the usual paths, also those with paths written into them, and trials that run
at the same time write the same paths without meeting. What is kept between tries is the trial's own, too, and
outlives the place.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from mlflowc.frozen import replace
from mlflowc.ir.model import Stage
from mlflowc.runtime.checkout import Checkout
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.workspace import STATE, Workspace

FOLDER = "trials"
# What belongs to runs in the project folder.
_OTHERS = frozenset({f"{STATE}/{name}" for name in (FOLDER, "aside", "failed", "tmp", "index.db")})


def place(ws: Workspace, key: str) -> Path:
    """Where the trial with that key has its files."""
    return ws.state / FOLDER / key[:32]


@contextlib.contextmanager
def laid(ws: Workspace, stage: Stage, key: str) -> Iterator[Workspace]:
    """The workspace of a trial, for as long as it runs. The caller holds the lock of `key`. Raises
    `OSError`."""
    home = place(ws, key)
    root = home / "desk"
    ws.fs.remove(root)
    kept = {k.path.rstrip("/"): home / "keep" / k.name for k in stage.keeps}
    own = {o.path.rstrip("/") for o in stage.outputs}
    inner = {p for path in (*own, *kept) for p in _above(path)} | {STATE}
    if stage.dir is not None and posixpath.normpath(stage.dir) != ".":
        folder = posixpath.normpath(stage.dir)
        inner |= {folder, *_above(folder)}
    _fill(ws.root, root, "", own | set(kept), inner)
    for keep in stage.keeps:
        target = kept[keep.path.rstrip("/")]
        os.makedirs(target if keep.path.endswith("/") else target.parent, exist_ok=True)  # noqa: PTH103
        (root / keep.path.rstrip("/")).symlink_to(target)
    desk = replace(ws, root=root, checkout=Checkout(root, StatIndex(None)))
    try:
        yield desk
    finally:
        with contextlib.suppress(OSError):
            ws.fs.remove(root)


def forget(ws: Workspace, key: str) -> None:
    """Removes what a trial kept for its next try. Never raises."""
    with contextlib.suppress(OSError):
        ws.fs.remove(place(ws, key))


def _fill(project: Path, root: Path, folder: str, own: set[str], inner: set[str]) -> None:
    """Makes `folder` of the place: links to what is in that of the project, but for what is the trial's
    own."""
    here = root / folder
    here.mkdir(parents=True, exist_ok=True)
    there = project / folder
    missing = {path for path in inner if posixpath.dirname(path) == folder}
    if there.is_dir():
        with os.scandir(there) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if path in inner or path in own or path in _OTHERS:
                    continue
                (here / entry.name).symlink_to(there / entry.name)
    for path in sorted(missing):
        _fill(project, root, path, own, inner)


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
