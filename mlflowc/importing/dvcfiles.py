"""What a DVC project keeps beside `dvc.yaml`: `.dvc` files, `dvc.lock`, and its cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.importing import yamltree
from mlflowc.importing.yamltree import Node
from mlflowc.project import kind_of, read_text

_CHUNK = 1 << 20


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
        if repository is None or len(md5) < 32 or not all(c in "0123456789abcdef" for c in md5[:32]):
            return None
        folder = _cache_folder(repository)
        # The second is where DVC 2 had it.
        places = (folder / "files" / "md5" / md5[:2] / md5[2:], folder / md5[:2] / md5[2:])
        return next((p for p in places if p.is_file()), None)

    def listing(self, md5: str) -> list[tuple[str, str]] | None:
        """The files of a folder as DVC's cache has it: (path in it, MD5). None where it is not there, or
        damaged.
        """
        path = self.cached(md5)
        if path is None or md5_of(path) != md5.removesuffix(".dir"):
            return None
        try:
            entries = json.loads(path.read_text("utf-8"))
            found = [(str(e["relpath"]), str(e["md5"])) for e in entries]
        except (ValueError, KeyError, TypeError, OSError):
            return None
        if any(_unsafe(relative) for relative, _ in found):
            return None
        return found


def _cache_folder(repository: Path) -> Path:
    """Where the repository's cache is: `.dvc/cache`, or what its configuration says."""
    import configparser

    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read([repository / ".dvc/config", repository / ".dvc/config.local"], "utf-8")
        named = config.get("cache", "dir", fallback="")
    except (configparser.Error, UnicodeDecodeError):
        named = ""
    return (repository / ".dvc" / named) if named else repository / ".dvc" / "cache"


def _unsafe(relative: str) -> bool:
    parts = relative.split("/")
    return not relative or relative.startswith("/") or ".." in parts or "\0" in relative


def md5_of(path: Path) -> str:
    """A file's MD5, as hex."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
