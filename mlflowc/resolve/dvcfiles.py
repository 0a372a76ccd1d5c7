"""The files that DVC writes: `.dvc` files, `dvc.lock`, listings of folders, configuration, its MD5s.

Read as DVC 2 and 3 document and write them; DVC itself is not needed. Paths of what is tracked are relative
to the folder that the reader was told of.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass

ENDING = ".dvc"
LOCK = "dvc.lock"
_CHUNK = 1 << 20
_HEX = frozenset("0123456789abcdef")
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where `dvc import` or `dvc import-url` had it from: `path` of the repository `url` at `commit`, or the
    address `path` itself (`url` None)."""

    path: str
    url: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Tracked:
    """An output that DVC tracks. `md5` ends with `.dir` for a folder; None: DVC has none of it. `legacy`: it
    is the MD5 of DVC 2, of text with its line ends made alike. `file` says so, `remote` is the remote of its
    own. `stored`: its content is kept by DVC, and not by git.
    """

    file: str
    path: str
    md5: str | None
    legacy: bool = False
    executable: bool = False
    size: int | None = None
    remote: str | None = None
    stored: bool = True
    origin: Origin | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is one, as far as its MD5 says."""
        return self.md5 is not None and self.md5.endswith(".dir")


class Member(NamedTuple):
    """A file in a folder: its path there, and its MD5."""

    path: str
    md5: str


def read_pointer(text: str, file: str) -> tuple[Tracked, ...]:
    """The outputs of a `.dvc` file. Raises `Failure` for a damaged one."""
    tree = _load(text, file)
    base = posixpath.join(posixpath.dirname(file), _text(tree.get("wdir")) or ".")
    deps = [d for d in _list(tree.get("deps")) if isinstance(d, dict)]
    origin = _origin(deps[0], base) if len(deps) == 1 else None
    found = [_out(o, file, base, origin) for o in _list(tree.get("outs"))]
    if not found:
        raise Failure(f"`{file}` names no output", help="`dvc add` writes one that does")
    return tuple(found)


def read_stages(
    text: str, file: str, folders: Mapping[str, str] | None = None
) -> list[tuple[str, tuple[Tracked, ...]]]:
    """The outputs in a `dvc.lock` by the stage that makes them. Raises `Failure` for a damaged one.

    `folders` are the stages' `wdir`, which only `dvc.yaml` has: paths are relative to them.
    """
    tree = _load(text, file)
    stages = tree.get("stages", tree)
    if not isinstance(stages, dict):
        raise _damaged(file)
    found = []
    for name, stage in stages.items():
        if isinstance(stage, dict):
            base = posixpath.join(posixpath.dirname(file), (folders or {}).get(name.partition("@")[0], "."))
            found.append((name, tuple(_out(o, file, base, None) for o in _list(stage.get("outs")))))
    return found


def read_folders(text: str, file: str) -> dict[str, str]:
    """The `wdir` of the stages of a `dvc.yaml` that have a plain one."""
    stages = _load(text, file).get("stages")
    found = {}
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        inner = stage.get("do", stage) if isinstance(stage, dict) else {}
        wdir = _text(inner.get("wdir")) if isinstance(inner, dict) else None
        if wdir and "${" not in wdir:
            found[name] = wdir
    return found


def read_listing(data: bytes) -> tuple[Member, ...] | None:
    """The files of a folder, from its `.dir` object; None where it is damaged, or a path in it leads out."""
    try:
        members = tuple(Member(str(e["relpath"]), str(e["md5"])) for e in json.loads(data))
    except (ValueError, KeyError, TypeError):
        return None
    return None if any(_unsafe(m.path) or not is_md5(m.md5) for m in members) else members


def _unsafe(relative: str) -> bool:
    parts = relative.split("/")
    return not relative or relative.startswith("/") or ".." in parts or "" in parts or "\0" in relative


def is_md5(text: str) -> bool:
    """Whether it is an MD5, of a file or of a folder (`….dir`)."""
    bare = text.removesuffix(".dir")
    return len(bare) == 32 and _HEX.issuperset(bare)


def names_of(md5: str, legacy: bool) -> tuple[str, str]:
    """Where a cache or a remote has the content, relative to its folder: as this version of DVC, and as the
    other one."""
    old = f"{md5[:2]}/{md5[2:]}"
    new = f"files/md5/{old}"
    return (old, new) if legacy else (new, old)


# --- MD5 ---------------------------------------------------------------------------------------


def md5_of(path: Path, *, legacy: bool = False) -> str:
    """A file's MD5, as hex; with `legacy` as DVC 2 took it, with the line ends of text made alike."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk.replace(b"\r\n", b"\n") if legacy and _is_text(chunk[:512]) else chunk)
    return digest.hexdigest()


def holds(path: Path, md5: str, *, legacy: bool = False) -> bool:
    """Whether a file's content has that MD5; with `legacy`, taken either way."""
    bare = md5.removesuffix(".dir")
    return md5_of(path) == bare or (legacy and md5_of(path, legacy=True) == bare)


def folder_md5(members: Iterable[Member]) -> str:
    """The MD5 that DVC gives a folder with these files."""
    rows = [{"md5": m.md5, "relpath": m.path} for m in sorted(members)]
    return hashlib.md5(json.dumps(rows, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _is_text(block: bytes) -> bool:
    if b"\0" in block:
        return False
    return not block or len(block.translate(None, _TEXT)) / len(block) <= 0.30


# --- configuration -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Config:
    """DVC's configuration: `cache` is the folder of its cache, `remotes` have their options by name, with
    folders made absolute. `default` is the remote that is asked when none is named."""

    cache: Path | None
    default: str | None
    remotes: Mapping[str, Mapping[str, str]]


def read_config(levels: Iterable[tuple[Path | None, str, str]]) -> Config:
    """The configuration from its levels, the strongest last: the folder of each (None: not on this machine),
    its text, and its name for messages. Raises `Failure` for one that cannot be read."""
    cache: Path | None = None
    default: str | None = None
    remotes: dict[str, dict[str, str]] = {}
    for folder, text, name in levels:
        config = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
        try:
            config.read_string(text)
        except configparser.Error as e:
            raise Failure(f"`{name}` cannot be read: {str(e).splitlines()[0]}") from None
        default = config.get("core", "remote", fallback=default)
        where = config.get("cache", "dir", fallback="")
        if where and folder is not None:
            cache = folder / Path(where).expanduser()
        for section in config.sections():
            kind, _, title = section.strip("'\"").partition(" ")
            if kind == "remote":
                options = dict(config.items(section))
                if "url" in options and "://" not in options["url"]:
                    options["url"] = _folder(options["url"], folder)
                remotes.setdefault(title.strip("'\" ").lower(), {}).update(options)
    return Config(cache, default.lower() if default else None, remotes)


def _folder(written: str, config: Path | None) -> str:
    path = Path(written).expanduser()
    if path.is_absolute() or config is None:
        return str(path)
    return os.path.normpath(config / path)


# --- the rest ----------------------------------------------------------------------------------


def _load(text: str, file: str) -> dict[str, Any]:
    import yaml  # only where there are files of DVC: start-up time

    # All scalars as text: an MD5 of digits alone is no number.
    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        tree = yaml.load(text, loader)
    except yaml.MarkedYAMLError as e:
        line = f":{e.problem_mark.line + 1}" if e.problem_mark else ""
        why = "a merge conflict that was not settled" if "<<<<<<<" in text else e.problem
        raise Failure(
            f"`{file}{line}` is not YAML: {why}",
            help=f"settle it, or take the committed file back: git checkout -- {file}",
        ) from None
    except (yaml.YAMLError, RecursionError):
        raise _damaged(file) from None
    if tree is None or tree == "":
        return {}
    if not isinstance(tree, dict):
        raise _damaged(file)
    return tree


def _damaged(file: str) -> Failure:
    return Failure(f"`{file}` is not a file that DVC wrote", help=f"git checkout -- {file}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _out(raw: Any, file: str, base: str, origin: Origin | None) -> Tracked:
    path = _text(raw.get("path")) if isinstance(raw, dict) else None
    if path is None:
        raise Failure(f"`{file}` has an output without a path", help=f"git checkout -- {file}")
    md5 = _text(raw.get("md5"))
    if md5 is not None and not is_md5(md5):
        raise Failure(f"`{file}`: the MD5 of `{path}` is none: {md5}", help=f"git checkout -- {file}")
    size = _text(raw.get("size"))
    return Tracked(
        file,
        path if "://" in path else posixpath.normpath(posixpath.join(base, path)),
        md5,
        legacy=raw.get("hash") != "md5",
        executable=raw.get("isexec") == "true",
        size=int(size) if size is not None and size.isdigit() else None,
        remote=_text(raw.get("remote")),
        stored=raw.get("cache") != "false",
        origin=origin,
    )


def _origin(raw: dict[str, Any], base: str) -> Origin | None:
    path = _text(raw.get("path"))
    repo = raw.get("repo")
    if path is None:
        return None
    if isinstance(repo, dict):
        return Origin(path, _text(repo.get("url")), _text(repo.get("rev_lock")))
    return Origin(path if "://" in path else posixpath.normpath(posixpath.join(base, path)))
