"""A repository with DVC in it: what it tracks, and how its contents are had.

The files of the repository are a `Files`: a folder of this machine, or one commit. A content is looked for
in the working tree, in DVC's cache, in its remote, and where `dvc import` had it from; all of it is checked
against its MD5.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mlflowc.errors import Failure
from mlflowc.sources import dvcfiles
from mlflowc.sources.dvcfiles import ENDING, LOCK, Config, Tracked

_SKIPPED = {".git", ".dvc", ".mlpipe", ".venv", "node_modules", "__pycache__"}


class Files(Protocol):
    """The files of a repository; paths are relative to its top folder. `label` names it in messages."""

    @property
    def label(self) -> str: ...

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is none."""
        ...

    def names(self) -> list[str]:
        """The paths of all files."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine."""

    root: Path
    label: str = "this repository"

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as e:
            raise Failure(f"cannot read `{path}`: {e.strerror}") from None

    def names(self) -> list[str]:
        """See `Files`. Without what belongs to tools."""
        found: list[str] = []
        stack = [self.root]
        while stack:
            folder = stack.pop()
            try:
                entries = sorted(folder.iterdir())
            except OSError:
                continue
            for entry in entries:
                if entry.is_dir() and not entry.is_symlink():
                    if entry.name not in _SKIPPED:
                        stack.append(entry)
                else:
                    found.append(entry.relative_to(self.root).as_posix())
        return found


@dataclass(frozen=True, slots=True)
class Hit:
    """What a path is: an output that DVC tracks, or `inner` in a folder that it tracks."""

    tracked: Tracked
    inner: str = ""


def text_of(files: Files, path: str) -> str | None:
    """A file's text, None where there is none. Raises `Failure` where it is no text."""
    data = files.read(path)
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        raise Failure(f"`{path}` is not UTF-8", help=f"git checkout -- {path}") from None


def in_file(files: Files, file: str, out: str | None) -> Hit:
    """The output that a `.dvc` file or a `dvc.lock` names: its only one, or `out`. Raises `Failure`."""
    outs = outputs(files, file)
    if outs is None:
        raise Failure(
            f"there is no `{file}` in {files.label}", help="run `dvc add`, and commit what it writes"
        )
    if out is None:
        if len(outs) == 1:
            return Hit(outs[0])
        names = ", ".join(f'"{o.path}"' for o in outs[:8])
        raise Failure(
            f"`{file}` has {len(outs)} outputs, and it is not said which",
            help=f"add `out = …`, one of {names}",
        )
    hit = _among(outs, posixpath.normpath(out))
    if hit is not None:
        return hit
    from mlflowc.spell import nearest  # for this message only

    guess = nearest(out, [o.path for o in outs])
    names = ", ".join(f"`{o.path}`" for o in outs[:8])
    raise Failure(
        f"`{file}` tracks no `{out}`",
        help=f"did you mean `{guess}`?" if guess else f"it has {names or 'nothing'}",
    )


def find(files: Files, path: str, *, everywhere: bool) -> Hit | None:
    """What tracks `path`, or a folder around it: a `.dvc` file or a `dvc.lock`, in its folder or further up;
    with `everywhere`, any of the repository."""
    at = posixpath.normpath(path)
    folders = [posixpath.dirname(at)]
    while folders[-1]:
        folders.append(posixpath.dirname(folders[-1]))
    near = [f"{p}{ENDING}" for p in (at, *folders) if p]
    near += [posixpath.join(folder, LOCK) for folder in folders]
    for file in near:
        hit = _among(outputs(files, file) or (), at)
        if hit is not None:
            return hit
    if everywhere:
        return _among(tracked(files), at)
    return None


def tracked(files: Files) -> list[Tracked]:
    """All that is tracked anywhere in the repository."""
    found: list[Tracked] = []
    for name in files.names():
        if name.endswith(ENDING) or posixpath.basename(name) == LOCK:
            found += outputs(files, name) or ()
    return found


def outputs(files: Files, file: str) -> tuple[Tracked, ...] | None:
    """The outputs in a `.dvc` file or a `dvc.lock`; None where there is no such file."""
    text = text_of(files, file)
    if text is None:
        return None
    if file.endswith(ENDING):
        return dvcfiles.read_pointer(text, file)
    beside = posixpath.join(posixpath.dirname(file), "dvc.yaml")
    pipeline = text_of(files, beside)
    folders = dvcfiles.read_folders(pipeline, beside) if pipeline is not None else {}
    return tuple(out for _, outs in dvcfiles.read_stages(text, file, folders) for out in outs)


def _among(outs: Sequence[Tracked], path: str) -> Hit | None:
    for out in outs:
        if out.path == path:
            return Hit(out)
        if out.is_folder and path.startswith(out.path + "/"):
            return Hit(out, path.removeprefix(out.path + "/"))
    return None


# --- configuration -----------------------------------------------------------------------------


def configuration(
    files: Files, path: str, env: Mapping[str, str], top: Path | None, local: Path | None
) -> tuple[Config, str]:
    """DVC's configuration for `path`, and the folder in the repository that has it.

    `top` is where the repository's top folder is on this machine (None: nowhere), `local` where its
    `config.local` and its cache are looked for.
    """
    base = _base(files, path, top)
    levels: list[tuple[Path | None, str, str]] = []
    for folder in _wide(env):
        file = folder / "config"
        if file.is_file():
            levels.append((folder, file.read_text("utf-8", "replace"), str(file)))
    home = top / base / ".dvc" if top is not None else None
    here = text_of(files, posixpath.join(base, ".dvc/config"))
    if here is not None:
        levels.append((home, here, posixpath.join(base, ".dvc/config")))
    private = local / base / ".dvc" if local is not None else None
    if private is not None and (private / "config.local").is_file():
        file = private / "config.local"
        levels.append((private, file.read_text("utf-8", "replace"), ".dvc/config.local"))
    config = dvcfiles.read_config(levels)
    if config.cache is None and private is not None:
        config = replace(config, cache=private / "cache")
    return config, base


def _base(files: Files, path: str, top: Path | None) -> str:
    at = posixpath.dirname(posixpath.normpath(path))
    while True:
        here = posixpath.join(at, ".dvc")
        if files.read(f"{here}/config") is not None or (top is not None and (top / here).is_dir()):
            return at
        if not at:
            return ""
        at = posixpath.dirname(at)


def _wide(env: Mapping[str, str]) -> list[Path]:
    """The folders of the configuration of the system and of the user."""
    home = Path(env["HOME"]) if "HOME" in env else Path.home()
    if sys.platform == "darwin":
        system, user = Path("/Library/Application Support/dvc"), home / "Library/Application Support/dvc"
    else:
        system = Path(env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")[0]) / "dvc"
        user = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "dvc"
    named = (env.get("DVC_SYSTEM_CONFIG_DIR"), env.get("DVC_GLOBAL_CONFIG_DIR"))
    return [Path(n) if n else d for n, d in zip(named, (system, user), strict=True)]
