"""What a DVC project keeps beside `dvc.yaml`: `.dvc` files, `dvc.lock`, and its cache."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.importing import yamltree
from mlflowc.importing.yamltree import Node
from mlflowc.project import kind_of, read_text
from mlflowc.resolve.dvcfiles import is_md5, md5_of, names_of, read_config, read_listing


@dataclass(frozen=True, slots=True)
class Pin:
    """What `dvc.lock` says of a path (as the stage writes it): its MD5 (`….dir` for a folder), its exec
    bit.
    """

    path: str
    md5: str | None
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Locked:
    """A stage in `dvc.lock`: its command, and what it read and wrote. `params` maps files to values by
    name.
    """

    cmd: object
    deps: tuple[Pin, ...]
    outs: tuple[Pin, ...]
    params: dict[str, dict[str, object]]
    line: int


class DvcFiles:
    """The files of the project in `root`. `folder` is that of its `dvc.yaml`, relative to it."""

    def __init__(self, root: Path, folder: str) -> None:
        self.root = root
        self.folder = folder
        self._values: dict[str, Node | None] = {}

    def kind(self, path: str) -> str:
        """`file`, `dir` or `missing`."""
        return kind_of(str(self.root / path))

    def text(self, path: str) -> str:
        """A file's text. Raises Failure where it cannot be read."""
        text = read_text(self.root / path)
        if not isinstance(text, str):
            raise Failure(f"`{path}` cannot be read: {text.reason}")
        return text

    def tree(self, path: str) -> Node | None:
        """A YAML (or JSON) file. Raises Failure for one that is damaged."""
        return yamltree.load(path, self.text(path))

    def listed(self, path: str) -> list[str]:
        """The files in a folder, at any depth, sorted; at most a thousand."""
        found = (p for p in (self.root / path).rglob("*") if p.is_file())
        return sorted(p.relative_to(self.root).as_posix() for p in itertools.islice(found, 1000))

    # --- data that DVC tracks ---

    def tracked_by(self, path: str) -> str | None:
        """The `.dvc` file that tracks `path`, or a folder around it."""
        at = path
        while at and at != "." and not at.startswith(".."):
            if self.kind(f"{at}.dvc") == "file":
                return f"{at}.dvc"
            at = posixpath.dirname(at)
        return None

    # --- dvc.lock ---

    @property
    def lock_name(self) -> str:
        """The lock's path in the project."""
        return posixpath.join(self.folder, "dvc.lock")

    def lock(self) -> dict[str, Locked]:
        """The stages of `dvc.lock` by DVC's name; empty where there is none. Raises Failure for a
        damaged one.
        """
        if self.kind(self.lock_name) != "file":
            return {}
        root = self.tree(self.lock_name)
        stages = root.get("stages") if root is not None else None
        if root is None or stages is None:
            return {}
        return {name: self._locked(node) for name, node in stages.mapping.items()}

    def _locked(self, node: Node) -> Locked:
        cmd, params = node.get("cmd"), node.get("params")
        return Locked(
            cmd.plain() if cmd else None,
            tuple(self._pins(node.get("deps"))),
            tuple(self._pins(node.get("outs"))),
            {f: v.plain() for f, v in params.mapping.items() if v.mapping} if params else {},
            node.line,
        )

    def _pins(self, node: Node | None) -> Iterator[Pin]:
        for item in node.items if node is not None else []:
            path, md5 = item.get("path"), item.get("md5")
            if path is not None and path.text is not None:
                executable = item.get("isexec")
                yield Pin(
                    path.text,
                    md5.text if md5 is not None else None,
                    executable is not None and executable.value is True,
                )

    # --- the cache ---

    @property
    def repository(self) -> Path | None:
        """The folder that holds `.dvc`: the project's, or one around it."""
        return next((p for p in (self.root, *self.root.parents) if (p / ".dvc").is_dir()), None)

    def cached(self, md5: str) -> Path | None:
        """The file in DVC's cache with that MD5; None where it is not there."""
        repository = self.repository
        if repository is None or not is_md5(md5):
            return None
        folder = _cache_folder(repository)
        return next((p for p in (folder / n for n in names_of(md5, False)) if p.is_file()), None)

    def listing(self, md5: str) -> list[tuple[str, str]] | None:
        """The files of a folder as DVC's cache has it: (path in it, MD5). None where it is not there, or
        damaged.
        """
        path = self.cached(md5)
        if path is None or md5_of(path) != md5.removesuffix(".dir"):
            return None
        members = read_listing(path.read_bytes())
        return None if members is None else [(m.path, m.md5) for m in members]


def _cache_folder(repository: Path) -> Path:
    """Where the repository's cache is: `.dvc/cache`, or what its configuration says."""
    home = repository / ".dvc"
    levels = []
    for name in ("config", "config.local"):
        text = read_text(home / name)
        if isinstance(text, str):
            levels.append((home, text, f".dvc/{name}"))
    return read_config(levels).cache or home / "cache"
