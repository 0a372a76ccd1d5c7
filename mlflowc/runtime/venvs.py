"""Virtual environments kept by content, once for all projects of a user.

`<cache>/envs/<digest>/` is complete if and only if it holds the marker. It is made beside, under a temporary
name, and renamed when it is whole (or where it stays, and marked then), so a killed build leaves nothing that
could be taken for an environment.
Two processes that want the same one wait for each other (`flock`); different ones are made side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from blake3 import blake3

from mlflowc.errors import Failure
from mlflowc.runtime import uvtool

Log: TypeAlias = Callable[[str], None]

# The version of what a folder's name means.
_FORMAT = 1
_MARKER = ".mlpipec-complete"
# Commands run without writing bytecode (see `childenv`), so it has to be there from the start.
_COMPILE = "--compile-bytecode"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one environment: `lines` of a requirements file, or arguments of `uv sync`, in `folder`.

    `check` asks afterwards whether every package has what it needs.
    """

    name: str
    digest: str
    folder: Path
    python: str
    lines: tuple[str, ...]
    sync: tuple[str, ...] = ()
    check: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        folder: Path,
        python: str,
        lines: list[str],
        *,
        decides: object = None,
        sync: tuple[str, ...] = (),
        check: bool = False,
    ) -> Recipe:
        """A recipe, named by all that decides its result; `decides` is JSON, what `lines` do not say."""
        machine = [sys.platform, platform.machine(), *platform.libc_ver()[:1]]
        content = json.dumps([_FORMAT, machine, python, lines, decides, sync])
        return cls(name, blake3(content.encode()).hexdigest()[:40], folder, python, tuple(lines), sync, check)


def cache_folder() -> Path:
    """Where what belongs to the user and not to a project is kept: `MLPIPEC_CACHE_DIR`, else as XDG says."""
    own = os.environ.get("MLPIPEC_CACHE_DIR")
    if own:
        return Path(own).absolute()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if xdg.startswith("/") else Path.home() / ".cache") / "mlpipec"


@dataclass(frozen=True, slots=True)
class Making:
    """How a folder of an environment comes to be: `fill` makes it and says what goes into the marker.

    `what` is for people. `whole` are paths that must exist in it. With `in_place` it is filled where it will
    stay, because what is in it knows the path; the marker, written last, says that it is whole.
    """

    name: str
    digest: str
    what: str
    fill: Callable[[Path], dict[str, object]]
    whole: tuple[str, ...] = ("bin/python",)
    in_place: bool = False


def ensure(recipe: Recipe, log: Log) -> Path:
    """The folder of the environment, made now if it is not there. Raises `Failure`."""

    def fill(new: Path) -> dict[str, object]:
        _fill(recipe, new)
        return {"name": recipe.name, "python": recipe.python, "packages": list(recipe.lines)}

    return provide(Making(recipe.name, recipe.digest, f"Python {recipe.python}", fill), log)


def provide(making: Making, log: Log) -> Path:
    """The same for an environment of any kind. Raises `Failure`."""
    envs = cache_folder() / "envs"
    place = envs / making.digest
    if _is_complete(place, making):
        return place
    try:
        envs.mkdir(parents=True, exist_ok=True)
        with _locked(
            envs / f"{making.digest}.lock", lambda: log(f"waiting: environment `{making.name}` is being made")
        ):
            if not _is_complete(place, making):
                _make(making, envs, place, log)
    except OSError as e:
        raise Failure(
            f"cannot make environment `{making.name}` in `{envs}`: {e.strerror}",
            help="check permissions and free space, or set MLPIPEC_CACHE_DIR to another folder",
        ) from e
    return place


def _is_complete(place: Path, making: Making) -> bool:
    # `bin/python` leads to the Python it was made from, which may have been removed since.
    return (place / _MARKER).is_file() and all((place / path).exists() for path in making.whole)


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(making: Making, envs: Path, place: Path, log: Log) -> None:
    # The lock is held: what lies here under this name was left by a process that is gone.
    for leftover in [place, *envs.glob(f"{making.digest}.tmp-*")]:
        if leftover.is_dir():
            # First what says that it is whole: whoever is killed here leaves no environment with holes.
            (leftover / _MARKER).unlink(missing_ok=True)
            shutil.rmtree(leftover)
    began = time.monotonic()
    log(f"making environment `{making.name}` ({making.what})")
    new = place if making.in_place else Path(tempfile.mkdtemp(prefix=f"{making.digest}.tmp-", dir=envs))
    try:
        marker = making.fill(new)
        temporary = new / f"{_MARKER}.tmp"
        temporary.write_text(json.dumps(marker, indent=1) + "\n")
        temporary.rename(new / _MARKER)
        if not making.in_place:
            new.rename(place)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    log(f"environment `{making.name}` is ready ({time.monotonic() - began:.1f} s)")


def _fill(recipe: Recipe, new: Path) -> None:
    doing = f"make environment `{recipe.name}`"
    uvtool.run(
        # Its scripts find their Python by a relative path, so that it may be renamed.
        [
            "venv",
            "--quiet",
            "--relocatable",
            "--allow-existing",
            "--no-project",
            "--python",
            recipe.python,
            str(new),
        ],
        folder=recipe.folder,
        doing=doing,
        help=f"`uv python install {recipe.python}` installs it; or ask for one that is here",
    )
    if recipe.sync:
        uvtool.run(
            [*recipe.sync, _COMPILE],
            folder=recipe.folder,
            doing=doing,
            variables={"UV_PROJECT_ENVIRONMENT": str(new)},
            help="`uv sync` in the project shows the same",
        )
    if recipe.lines:
        python = str(new / "bin" / "python")
        with tempfile.NamedTemporaryFile("w", prefix="mlpipec-", suffix=".txt") as file:
            file.write("\n".join(recipe.lines) + "\n")
            file.flush()
            uvtool.run(
                ["pip", "install", "--quiet", _COMPILE, "--python", python, "--no-deps", "-r", file.name],
                folder=recipe.folder,
                doing=doing,
                help="a package may have no build for this platform or this Python",
            )
        if recipe.check:
            uvtool.run(
                ["pip", "check", "--python", python],
                folder=recipe.folder,
                doing=f"{doing} without asking the package index",
                help="with the network, the packages that are not in the file are found too",
            )
