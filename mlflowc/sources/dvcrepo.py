"""A folder of this machine as the files of a repository, and DVC's configuration in a repository."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.resolve import dvcfiles
from mlflowc.resolve.dvcfiles import Config
from mlflowc.resolve.dvctracking import Files, text_of

_SKIPPED = {".git", ".dvc", ".mlpipe", ".venv", "node_modules", "__pycache__"}


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
