"""Environments that are images: what of them enters a key and the lock, and what a command needs.

The key holds the digest and never a tag. A reference with a tag alone is looked up once, and what it was then
is kept in `mlpipe.lock`: `env NAME {"digest": "sha256:…", "image": "python:3.11"}`. From then on that image
runs, wherever the tag goes, until the line is deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from mlflowc.errors import Failure
from mlflowc.ir.model import Env, Runner
from mlflowc.runtime.containers import tool
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.ports import Container
from mlflowc.runtime.requirements import Places
from mlflowc.runtime.resources import gpus

Log: TypeAlias = Callable[[str], None]

# The digest of the image that a generated job is in, with this tool installed there.
INSIDE = "MLPIPE_IMAGE"

# A user that the image does not know has no home there, and programs want to write in it.
_VARIABLES = {"HOME": "/tmp", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}

# Within one process a tag is looked up once.
_resolved: dict[str, str] = {}


def key_parts(root: Path, env: Env, lock: LockFile) -> dict[str, str]:
    """What the environment adds to the key of a stage. Looks up a tag that `lock` does not know."""
    return {"image": _digest(env, lock)}


def entries(root: Path, env: Env, lock: LockFile) -> dict[tuple[str, str], dict[str, Any]]:
    """What the lock has to keep; nothing for a reference with a digest."""
    reference = _reference(env)
    if tool.digest_of(reference):
        return {}
    return {("env", env.name): {"image": reference, "digest": _digest(env, lock)}}


def is_current(root: Path, env: Env, lock: LockFile) -> bool:
    """Whether the digest is known without asking anybody."""
    return tool.digest_of(_reference(env)) is not None or _locked(env, lock) is not None


def places(root: Path, env: Env) -> Places:
    """No file decides it."""
    return Places()


def import_paths(root: Path, env: Env) -> tuple[str, ...]:
    """Nothing of the project is installed in it."""
    return ()


def prepare(root: Path, env: Env, lock: LockFile, log: Log) -> dict[str, str]:
    """Sees to it that the image is here; the variables that a container needs beside those of the image, none
    where this process runs in the image already. Raises `Failure`.
    """
    reference, digest = _reference(env), _digest(env, lock)
    if _is_inside(digest):
        return {}
    if tool.here(reference, digest):
        return dict(_VARIABLES)
    name = tool.exact(reference, digest)
    log(f"fetching image `{name}`")
    tool.pull(name)
    return dict(_VARIABLES)


def container(env: Env, lock: LockFile, runner: Runner | None, folders: Iterable[Path]) -> Container | None:
    """What a command of this environment runs in; `folders` are all that it sees of the machine. None where
    this process runs in the image already. Raises `Failure`.
    """
    reference, digest = _reference(env), _digest(env, lock)
    if _is_inside(digest):
        return None
    found = tool.find()
    name = tool.here(reference, digest)
    if name is None:
        raise Failure(
            f"the image `{tool.exact(reference, digest)}` is not here any more", help="run it again"
        )
    mounts: list[str] = []
    for folder in sorted({os.path.realpath(f) for f in folders}, key=len):
        if ":" in folder:
            raise Failure(
                f"the folder `{folder}` cannot be seen from a container: {found.name} reads the `:` in it as "
                "something else",
                help="move the project to a folder without one",
            )
        if not any(folder == m or folder.startswith(m + "/") for m in mounts):
            mounts.append(folder)
    # Labels of SELinux would keep a container from folders that it was given.
    options = ["--security-opt", "label=disable", "--network", "host", "--ipc", "host"]
    options += _user(found)
    if runner is not None and runner.gpu is not None and gpus(None):
        options += ["--device", "nvidia.com/gpu=all"] if found.podman else ["--gpus", "all"]
    return Container(found.path, found.podman, name, tuple(mounts), tuple(options))


def _user(found: tool.Tool) -> list[str]:
    """Whatever user the image names: what a stage writes belongs to who runs it."""
    user = f"{os.getuid()}:{os.getgid()}"
    if found.podman:
        return ["--user", user] if os.getuid() == 0 else ["--userns", "keep-id", "--user", user]
    return ["--user", "0:0" if tool.is_rootless(found) else user]


def _reference(env: Env) -> str:
    assert env.image is not None
    return env.image


def _is_inside(digest: str) -> bool:
    return os.environ.get(INSIDE) == digest


def _digest(env: Env, lock: LockFile) -> str:
    reference = _reference(env)
    digest = tool.digest_of(reference) or _locked(env, lock) or _resolved.get(reference)
    if digest is None:
        digest = _resolved[reference] = tool.resolve(reference)
    return digest


def _locked(env: Env, lock: LockFile) -> str | None:
    entry = lock.get("env", env.name) or {}
    return str(entry["digest"]) if entry.get("image") == env.image and "digest" in entry else None
