"""The quick answer to "is there anything to do?": everything that the last good run looked at, by stat.

After a run that left every stage of the pipeline up to date, `.mlpipe/state` holds what that run said and
what all of it was decided from: each file's size, mtime, ctime and inode, a hash of each folder's walk, the
names in each folder in which code was searched, the host's variables and interpreters that count. While all
of that is the same there is nothing to do, and no key needs to be computed: no lock file, index, record or
pipeline is read. Whatever is different, or cannot be watched this way, gives no answer, and the planner
decides as always. `.mlpipe/states/` has the same for single jobs.

This module imports little, for what it saves is time.
"""

from __future__ import annotations

import contextlib
import glob
import marshal
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from mlflowc import __version__, plainfile
from mlflowc.runtime import interpreters
from mlflowc.runtime.kinds import kind

if TYPE_CHECKING:
    from mlflowc.runtime.plan import Planner
    from mlflowc.runtime.workspace import Workspace

_TICK = 20_000_000
# Variables of git that change no name's meaning: they say who commits, and how to ask and print.
_HARMLESS = frozenset(
    f"GIT_{name}"
    for name in (
        *(f"{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL", "DATE")),
        *("EDITOR", "SEQUENCE_EDITOR", "PAGER", "ASKPASS", "TERMINAL_PROMPT", "OPTIONAL_LOCKS"),
    )
)
_MAGIC = f"4 {__version__} {sys.version_info.major}.{sys.version_info.minor}"

_Signature = tuple[int, int, int, int]


RUN = "run"


class Said(NamedTuple):
    """What a command that found nothing to do wrote: on stdout, `plain` or `coloured`, and `error` as an
    error. `width` is that of the terminal, where lines were broken for it; else 0. `code` is the exit code.
    """

    plain: str
    coloured: str
    error: str = ""
    width: int = 0
    code: int = 0


class Also(NamedTuple):
    """What it depended on beside stages: `folders` by all that is in them, `variables`, and `git`, if the
    names of commits count: what `git_looks` gave before they were asked for.
    """

    folders: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    git: tuple[object, ...] | None = None


NOTHING_ELSE = Also()


def nothing_to_do(stages: int) -> str:
    """The line that says so."""
    return f"nothing to do: {stages} stage{'' if stages == 1 else 's'} up to date"


def is_fresh(root: Path, token: str, name: str = RUN, *, keep: bool = False) -> Said | None:
    """What was said when there was nothing to do, if that is so still; None when it is not certain.
    With `keep`, walks through folders are kept for the planner, which must be next.

    `token` stands for the pipeline as compiled now: its sources, parameters and settings; `name` for what was
    asked.
    """
    state = _read(_place(root, name))
    if state is None or (state["token"], state["name"]) != (token, name):
        return None
    prefix = os.fspath(root) + "/"
    if state["git"] is not None and git_looks(root) != state["git"]:
        return None
    return Said(*state["said"]) if _same(prefix, state, keep) else None


def save(
    ws: Workspace, planner: Planner, token: str, said: Said, *, name: str = RUN, also: Also = NOTHING_ELSE
) -> None:
    """Keeps what was said together with all that it depended on; nothing where that cannot be watched.

    All that `planner` decided about must be up to date.
    """
    state = _describe(ws, planner, also)
    path = _place(ws.root, name)
    with contextlib.suppress(OSError):
        if state is None:
            path.unlink(missing_ok=True)
            return
        data = marshal.dumps({**state, "magic": _MAGIC, "token": token, "name": name, "said": tuple(said)})
        ws.fs.make_folder(path.parent)
        ws.fs.write(path, blake3(data).digest() + data)


def _place(root: Path, name: str) -> Path:
    if name == RUN:
        return root / ".mlpipe" / "state"
    return root / ".mlpipe" / "states" / blake3(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = plainfile.read(path)
        if blake3(content[32:]).digest() == content[:32]:
            state = marshal.loads(content[32:])
            if state["magic"] == _MAGIC:
                return state  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        pass
    return None


def _same(prefix: str, state: dict[str, Any], keep: bool) -> bool:
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
    if any(kind(prefix + path) != was for path, was in state["kinds"]):
        return False
    if any(_folder(prefix + path) != looks for path, looks in state["folders"]):
        return False
    if any(_globbed(prefix, pattern) != tuple(found) for pattern, found in state["globs"]):
        return False
    if any(os.environ.get(name) != value for name, value in state["variables"]):
        return False
    if any(interpreters.looks(name) != looks for name, looks in state["interpreters"]):
        return False
    return not state["trees"] or _same_trees(prefix, state["trees"], keep)


def _same_trees(prefix: str, trees: list[tuple[str, bool, str]], keep: bool) -> bool:
    from mlflowc.runtime.walking import DROPPINGS

    ignored = {True: DROPPINGS, False: frozenset[str]()}
    try:
        return all(_walked(prefix + p, ignored[source], keep) == h for p, source, h in trees)
    except OSError:
        return False


def _walked(path: str, ignore: frozenset[str], keep: bool = False) -> str:
    # Pipelines without folders never need them.
    from mlflowc.runtime import walking

    started = time.time_ns()
    walk = walking.look_through(path, ignore)
    if keep:
        walking.kept[path, ignore] = (started, walk)
    return walk.hash


def git_looks(root: Path) -> tuple[object, ...] | None:
    """What the names of commits mean, by the looks of the files that say it; None where that is uncertain."""
    if any(name.startswith("GIT_") and name not in _HARMLESS for name in os.environ):
        return None
    folder = next((f for p in (root, *root.parents) if os.path.lexists(f := os.path.join(p, ".git"))), None)  # noqa: PTH118
    if folder is None:
        return ("none",)
    # A worktree's or submodule's `.git` is a file; references may be kept in tables.
    if not os.path.isdir(folder) or os.path.lexists(f"{folder}/reftable"):  # noqa: PTH112
        return None
    files = tuple(_folder(f"{folder}/{name}") for name in ("HEAD", "packed-refs", "shallow", "config"))
    try:
        return (folder, files, _walked(f"{folder}/refs", frozenset()))
    except OSError:
        return None


def _folder(path: str) -> _Signature | None:
    try:
        return _signature(os.stat(path))  # noqa: PTH116
    except OSError:
        return None


def _signature(st: os.stat_result) -> _Signature:
    return (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)


def _globbed(prefix: str, pattern: str) -> tuple[str, ...]:
    return tuple(sorted(glob.glob(pattern, root_dir=prefix, recursive=True)))  # noqa: PTH207


# --- describing


def _describe(ws: Workspace, planner: Planner, also: Also) -> dict[str, Any] | None:
    watched = planner.watched()
    files: dict[str, _Signature] = {}
    trees: list[tuple[str, bool, str]] = []
    missing: list[str] = []
    for path, source, seen in ws.checkout.all_seen():
        if seen is None:
            missing.append(path)
        elif not ws.checkout.watchable(path, seen, source=source):
            return None
        elif isinstance(seen.looks, str):
            trees.append((path, source, seen.looks))
        else:
            size, mtime, ctime, inode = seen.looks
            files[path] = (size, mtime, ctime, inode)
    more = [e for e in watched.env_files if e not in files]
    whole = [*also.folders, *watched.env_folders]
    within = [os.path.relpath(p, ws.root) for f in whole for p in sorted((ws.root / f).rglob("*"))]
    folders = _folders(ws, watched.folders, ["mlpipe.lock", *more, *within])
    if also.git is not None and git_looks(ws.root) != also.git:
        return None
    found = [(name, interpreters.looks(name)) for name in watched.interpreters]
    if folders is None or not watched.simple or any(looks is None for _, looks in found):
        return None
    for path in ["mlpipe.lock", *more]:
        signature = _folder(os.fspath(ws.root / path))
        if signature is None:
            return None
        files[path] = signature
    prefix = os.fspath(ws.root) + "/"
    trees += [(path, False, _walked(prefix + path, frozenset())) for path in whole]
    missing += watched.env_absent
    # What was just looked at must be what was decided on, and not what became of it meanwhile.
    if not planner.environments_same():
        return None
    variables = (*watched.variables, *also.variables)
    return {
        "git": also.git,
        "files": [(path, *signature) for path, signature in files.items()],
        "missing": missing,
        "kinds": watched.kinds,
        "folders": folders,
        "globs": [(pattern, _globbed(prefix, pattern)) for pattern in watched.globs],
        "variables": [(name, os.environ.get(name)) for name in variables],
        "interpreters": found,
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
