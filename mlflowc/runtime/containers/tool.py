"""Calls podman or docker: which there is, what an image's digest is, fetching it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from typing import Any, NamedTuple

from mlflowc.errors import Failure

VARIABLE = "MLPIPEC_CONTAINER"
_NAMES = ("podman", "docker")
_INSTALL = "install podman or docker; on Debian and Ubuntu: `sudo apt-get install podman`"
_DIGEST = re.compile(r"(?P<name>.+)@(?P<digest>sha256:[0-9a-f]{64})")


class Tool(NamedTuple):
    """A program, and whether it is podman (which may be called docker)."""

    path: str
    podman: bool

    @property
    def name(self) -> str:
        """As people say it."""
        return os.path.basename(self.path)  # noqa: PTH119


def find() -> Tool:
    """What `MLPIPEC_CONTAINER` names, else podman, else docker. Raises `Failure`."""
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise Failure(f"`{VARIABLE}` names `{named}`, which is not there", help=_INSTALL)
        return Tool(found, _is_podman(found))
    for name in _NAMES:
        if found := shutil.which(name):
            return Tool(found, _is_podman(found))
    raise Failure(
        "podman or docker is needed to run a stage in an image, and neither is there", help=_INSTALL
    )


@cache
def _is_podman(path: str) -> bool:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as e:
        raise Failure(f"`{path}` does not start: {e.strerror}") from None
    return "podman" in done.stdout.lower()


@cache
def is_rootless(tool: Tool) -> bool:
    """Whether docker's daemon runs as an ordinary user: then root in a container is that user."""
    done = _call(tool, "info", "--format", "{{json .SecurityOptions}}")
    return done.returncode == 0 and "rootless" in done.stdout


def digest_of(reference: str) -> str | None:
    """The digest in a reference that has one."""
    match = _DIGEST.fullmatch(reference)
    return match["digest"] if match else None


def resolve(reference: str) -> str:
    """What `reference`, a name with a tag, is now: the digest in a registry, or of the image here where it is
    in none. Fetches it where it is not here. Raises `Failure`.
    """
    tool = find()
    told = _inspect(tool, reference)
    if told is None:
        pull(reference)
        told = _inspect(tool, reference)
    if told is None:
        raise Failure(f"{tool.name} fetched the image `{reference}` and does not find it")
    digests = [m["digest"] for d in told.get("RepoDigests") or () if (m := _DIGEST.fullmatch(d))]
    # Of several the one that is not of this platform alone.
    shared = [d for d in digests if d != told.get("Digest")] or digests
    found = shared[0] if shared else str(told.get("Id", ""))
    found = found if found.startswith("sha256:") else f"sha256:{found}"
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise Failure(f"{tool.name} does not say which digest the image `{reference}` has")
    return found


def exact(reference: str, digest: str) -> str:
    """The name of the image `reference` by its digest: without a tag."""
    match = _DIGEST.fullmatch(reference)
    name = match["name"] if match else reference
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{digest}"


def here(reference: str, digest: str) -> str | None:
    """How the image is called here: by digest, or by its own number where it never was in a registry."""
    tool = find()
    for name in (exact(reference, digest), digest):
        if _inspect(tool, name) is not None:
            return name
    return None


def pull(reference: str) -> None:
    """Fetches an image. Raises `Failure` with the tool's words."""
    tool = find()
    done = _call(tool, "pull", "--quiet", reference)
    if done.returncode != 0:
        raise Failure(
            f"cannot fetch the image `{reference}`: {tool.name} says\n{_words(done.stderr)}",
            help=f"a private registry wants `{tool.name} login`",
        )


def _inspect(tool: Tool, name: str) -> dict[str, Any] | None:
    done = _call(tool, "image", "inspect", name)
    if done.returncode != 0:
        said = done.stderr.lower()
        if "no such image" in said or "not known" in said or "no such object" in said or "not found" in said:
            return None
        raise Failure(
            f"{tool.name} cannot look at images:\n{_words(done.stderr)}",
            help=f"does it run? `{VARIABLE}=docker` or `=podman` chooses the other",
        )
    try:
        (told,) = json.loads(done.stdout)
    except ValueError:
        raise Failure(f"the answer of `{tool.name} image inspect {name}` is not understood") from None
    return dict(told)


def _call(tool: Tool, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [tool.path, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except OSError as e:
        raise Failure(f"`{tool.path}` does not start: {e.strerror}") from None


def _words(said: str) -> str:
    return "\n".join("  " + line for line in said.strip().splitlines()[-12:])
