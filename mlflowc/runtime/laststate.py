"""The quick answer to "is there anything to do?": everything that the last good run looked at, by stat.

After a run that left every stage of the pipeline up to date, `.mlpipe/state` holds what all of it was decided
from: each file's size, mtime, ctime and inode, a hash of each folder's walk, the names in each folder in
which code was searched, the host's variables and interpreters that count. While all of that is the same there
is nothing to do, and no key needs to be computed: no lock file, index, record or pipeline is read. Whatever
is different, or cannot be watched this way, gives no answer, and the planner decides as always.

This module imports little, for what it saves is time.
"""

from __future__ import annotations

import contextlib
import glob
import marshal
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from mlflowc import __version__

if TYPE_CHECKING:
    from mlflowc.runtime.plan import Planner
    from mlflowc.runtime.workspace import Workspace

_TICK = 20_000_000
_MAGIC = f"1 {__version__} {sys.version_info.major}.{sys.version_info.minor}"

_Signature = tuple[int, int, int, int]


class Fresh(NamedTuple):
    """All `stages` of the pipeline are up to date; `gates` says whether it has gates to decide."""

    stages: int
    gates: bool


def nothing_to_do(stages: int) -> str:
    """The line that says so."""
    return f"nothing to do: {stages} stage{'' if stages == 1 else 's'} up to date"


def is_fresh(root: Path, token: str) -> Fresh | None:
    """How many stages are up to date, when all are; None when that is not certain.

    `token` stands for the pipeline as compiled now: its sources, parameters and settings.
    """
    state = _read(root)
    if state is None or state["token"] != token:
        return None
    prefix = os.fspath(root) + "/"
    return Fresh(state["stages"], state["gates"]) if _same(prefix, state) else None


def save(ws: Workspace, planner: Planner, token: str) -> None:
    """Keeps the state after a run that left every stage up to date; does nothing where it cannot be
    watched.
    """
    state = _describe(ws, planner, token)
    path = ws.state / "state"
    with contextlib.suppress(OSError):
        if state is None:
            path.unlink(missing_ok=True)
            return
        data = marshal.dumps(state)
        ws.fs.write(path, blake3(data).digest() + data)


def _read(root: Path) -> dict[str, Any] | None:
    try:
        content = (root / ".mlpipe" / "state").read_bytes()
        if blake3(content[32:]).digest() == content[:32]:
            state = marshal.loads(content[32:])
            if state["magic"] == _MAGIC:
                return state  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        pass
    return None


def _same(prefix: str, state: dict[str, Any]) -> bool:
    stat = os.stat
    try:
        for path, size, mtime, ctime, inode in state["files"]:
            st = stat(prefix + path)
            if st.st_mtime_ns != mtime or st.st_size != size or st.st_ctime_ns != ctime or st.st_ino != inode:
                return False
    except OSError:
        return False
    if any(os.path.lexists(prefix + path) for path in state["missing"]):
        return False
    if any(_folder(prefix + path) != looks for path, looks in state["folders"]):
        return False
    if any(_globbed(prefix, pattern) != tuple(found) for pattern, found in state["globs"]):
        return False
    if any(os.environ.get(name) != value for name, value in state["variables"]):
        return False
    if any(_interpreter(name) != looks for name, looks in state["interpreters"]):
        return False
    return not state["trees"] or _same_trees(prefix, state["trees"])


def _same_trees(prefix: str, trees: list[tuple[str, bool, str]]) -> bool:
    from mlflowc.runtime.checkout import walk_hash
    from mlflowc.runtime.tree import DROPPINGS, walk

    try:
        return all(
            walk_hash(walk(prefix + p, DROPPINGS if source else frozenset())) == h for p, source, h in trees
        )
    except OSError:
        return False


def _folder(path: str) -> _Signature | None:
    try:
        return _signature(os.stat(path))  # noqa: PTH116
    except OSError:
        return None


def _signature(st: os.stat_result) -> _Signature:
    return (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)


def _globbed(prefix: str, pattern: str) -> tuple[str, ...]:
    return tuple(sorted(glob.glob(pattern, root_dir=prefix, recursive=True)))  # noqa: PTH207


def _interpreter(name: str) -> tuple[object, ...] | None:
    """What an interpreter on PATH looks like; None when its version may depend on more than its file."""
    path = shutil.which(name)
    if path is None:
        return ("none",)
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            # A version manager's script: what it starts is decided elsewhere.
            if file.read(2) == b"#!":
                return None
        settings = _folder(f"{os.path.dirname(os.path.dirname(path))}/pyvenv.cfg")  # noqa: PTH120
        return (path, real, _signature(os.stat(real)), settings)  # noqa: PTH116
    except OSError:
        return None


# --- describing


def _describe(ws: Workspace, planner: Planner, token: str) -> dict[str, Any] | None:
    watched = planner.watched()
    files: dict[str, _Signature] = {}
    trees: list[tuple[str, bool, str]] = []
    missing: list[str] = []
    for path, source, seen in ws.checkout.all_seen():
        if seen is None:
            missing.append(path)
        elif isinstance(seen.looks, str):
            trees.append((path, source, seen.looks))
        elif ws.index.file(path, seen.looks) is None:
            # Racy: not even the index would believe it.
            return None
        else:
            size, mtime, ctime, inode = seen.looks
            files[path] = (size, mtime, ctime, inode)
    more = [e for e in watched.env_files if e not in files]
    folders = _folders(ws, watched.folders, ["mlpipe.lock", *more])
    interpreters = [(name, _interpreter(name)) for name in watched.interpreters]
    if folders is None or not watched.simple or any(looks is None for _, looks in interpreters):
        return None
    for path in ["mlpipe.lock", *more]:
        signature = _folder(os.fspath(ws.root / path))
        if signature is None:
            return None
        files[path] = signature
    prefix = os.fspath(ws.root) + "/"
    return {
        "magic": _MAGIC,
        "token": token,
        "stages": len(ws.stages),
        "gates": bool(ws.pipeline.gates),
        "files": [(path, *signature) for path, signature in files.items()],
        "missing": missing,
        "folders": folders,
        "globs": [(pattern, _globbed(prefix, pattern)) for pattern in watched.globs],
        "variables": [(name, os.environ.get(name)) for name in watched.variables],
        "interpreters": interpreters,
        "trees": trees,
    }


def _folders(
    ws: Workspace, listed: Iterable[tuple[str, frozenset[str]]], also: list[str]
) -> list[tuple[str, _Signature | None]] | None:
    """The folders in which code was searched, as they look now; None when something came or went
    meanwhile.
    """
    wanted = list(listed)
    signatures = _settled([os.fspath(ws.root / f) for f, _ in wanted], [os.fspath(ws.root / p) for p in also])
    ours = {".mlpipe", "mlpipe.lock"}
    for stage in ws.pipeline.stages:
        for path in (*(o.path for o in stage.outputs), *(k.path for k in stage.keeps)):
            parts = path.rstrip("/").split("/")
            ours.update("/".join(parts[: n + 1]) for n in range(len(parts)))
    for folder, names in wanted:
        try:
            now = frozenset(os.listdir(ws.root / folder))  # noqa: PTH208
        except OSError:
            now = frozenset()
        if any((f"{folder}/{n}" if folder else n) not in ours for n in names ^ now):
            return None
    return [(folder, signatures[n]) for n, (folder, _) in enumerate(wanted)]


def _settled(paths: list[str], also: list[str]) -> list[_Signature | None]:
    """How paths look, once every later change to them must show in that."""
    for _ in range(5):
        found = [_folder(p) for p in [*paths, *also]]
        latest = max((s[2] for s in found if s), default=0)
        wait = latest + _TICK - time.time_ns()
        if not 0 < wait <= _TICK:
            break
        time.sleep(wait / 1e9)
    return found[: len(paths)]
