"""Reads requirements files, as far as needed to know what decides a resolution; and what a resolver wrote."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.runtime.walking import DROPPINGS

_OPTIONS = re.compile(
    r"(?:-i|--index-url|--extra-index-url|-f|--find-links|--no-index|--no-binary|--only-binary|--pre"
    r"|--trusted-host|--prefer-binary|--index|--default-index)(?:[ =].*)?"
)
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)[ =]?\s*(.+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[ =]?\s*(.+)")
_LOCAL = re.compile(r"\.{1,2}(?:/.*)?|/.*|file:.*|[^@\s]+\.(?:whl|tar\.gz|zip)|[^@\s]+/[^@\s]*")
_DIRECT = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*@\s*(\S+)")
_NAMED = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(.*)", re.DOTALL)
_PINNED = re.compile(
    r"[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\])?\s*===?\s*[\w.!+-]+\s*(?:;.*|\s--hash=.*)?", re.DOTALL
)
_BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
# Stands for the project folder in what is kept, so that it is the same in every checkout.
PROJECT = "${PROJECT}"


@dataclass(slots=True)
class Requirements:
    """A requirements file with the files it includes.

    `lines` are its requirements without comments, in order; `limits` those of constraint files; `options`
    say where packages come from; `local` are the digests of files and folders of the project that it
    installs, by path; `editable` the folders installed as editable; `files` all files that were read.
    """

    path: str
    lines: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    local: dict[str, str] = field(default_factory=dict)
    editable: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def pinned(self) -> bool:
        """Whether each line names one exact version."""
        return all(_PINNED.fullmatch(line) for line in self.lines)

    @property
    def hashed(self) -> bool:
        """Whether the file demands hashes: then it must name every package, and is its own resolution."""
        return self.pinned and any("--hash=" in line for line in self.lines)

    def digest(self, python: str) -> str:
        """The hash of all that decides a resolution, for the Python version asked for ("" for any)."""
        parts = [
            python,
            self.lines,
            self.limits,
            _without_passwords(self.options),
            sorted(self.local.items()),
        ]
        return blake3(json.dumps(parts).encode()).hexdigest()


def read(root: Path, path: str) -> Requirements:
    """Reads the file at `path` below `root`. Raises `Failure` when it, or one it includes, is missing."""
    found = Requirements(path)
    if path.endswith(".toml"):
        found.files.append(path)
        found.lines = [_project_requirements(root, path)]
    else:
        _read(root, path, found, constraint=False, above=())
    return found


def read_lines(root: Path, path: str, lines: Sequence[str]) -> Requirements:
    """The same for lines that stand in the file at `path`, among other things; paths in them are relative to
    `root`.
    """
    found = Requirements(path)
    _take(root, path, "\n".join(lines), found, constraint=False, above=())
    return found


class Places(NamedTuple):
    """Where that lies which decides a resolution: files, folders with all in them, and files that are not
    there and would count.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def places(root: Path, path: str) -> Places | None:
    """What has to be looked at to see whether `read` gives the same; None where paths lead out of `root`, or
    there are links. Raises `Failure` as `read`.
    """
    return places_of(root, read(root, path))


def places_of(root: Path, found: Requirements) -> Places | None:
    """The same for what was read already."""
    files, folders = list(found.files), []
    for target in found.local:
        place = posixpath.normpath(target)
        if not (root / place).is_dir():
            files.append(place)
        elif place in found.editable:
            files += [posixpath.join(place, name) for name in _BUILD_FILES]
        else:
            folders.append(place)
            if any(p.is_symlink() for p in (root / place).rglob("*")):
                return None
    if any(p.startswith(("/", "..")) for p in (*files, *folders)):
        return None
    absent = tuple(f for f in files if not (root / f).exists())
    return Places(tuple(f for f in files if f not in absent), tuple(folders), absent)


def pins(text: str, root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """What a resolver wrote: package name -> its pins (`==1.0 ; marker`), and local things to install."""
    packages: dict[str, list[str]] = {}
    local: list[str] = []
    for line in _logical_lines(text.replace(root.absolute().as_uri(), f"file://{PROJECT}")):
        if _EDITABLE.fullmatch(line) or (_LOCAL.fullmatch(line) and not _PINNED.fullmatch(line)):
            local.append(line)
        elif (match := _NAMED.fullmatch(line)) and not line.startswith("-"):
            packages.setdefault(canonical_name(match[1]), []).append(match[2].strip())
    return packages, sorted(local)


def canonical_name(name: str) -> str:
    """A package's name in the one spelling that registries use."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(root: Path, path: str, found: Requirements, *, constraint: bool, above: tuple[str, ...]) -> None:
    if path in above:
        return
    found.files.append(path)
    _take(root, path, _text(root, path, above), found, constraint=constraint, above=above)


def _take(
    root: Path, path: str, text: str, found: Requirements, *, constraint: bool, above: tuple[str, ...]
) -> None:
    for line in _logical_lines(text):
        if include := _INCLUDE.fullmatch(line):
            # As pip and uv do: beside the file that includes it.
            inner = posixpath.normpath(posixpath.join(posixpath.dirname(path), include[2].strip("'\"")))
            limits = constraint or include[1] in ("-c", "--constraint")
            _read(root, inner, found, constraint=limits, above=(*above, path))
        elif _OPTIONS.fullmatch(line):
            found.options.append(_absolute(root, line))
        elif constraint:
            found.limits.append(line)
        else:
            found.lines.append(line)
            _look_at_local(root, path, line, found)


def _text(root: Path, path: str, above: tuple[str, ...]) -> str:
    try:
        return plainfile.read(root / path).decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        by = f", which `{above[-1]}` includes," if above else ""
        raise Failure(
            f"the requirements file `{path}`{by} does not exist",
            help="write it, or change `requirements` of the environment; an empty file means only Python",
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        what = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise Failure(f"cannot read the requirements file `{path}`: {what}") from None


def _logical_lines(text: str) -> Iterator[str]:
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        bare = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if bare:
            yield re.sub(r"\s+", " ", bare)


def _project_requirements(root: Path, path: str) -> str:
    import tomllib

    try:
        content = tomllib.loads(_text(root, path, ()))
    except tomllib.TOMLDecodeError as e:
        raise Failure(f"cannot read `{path}`: {e}") from None
    project, tool = content.get("project", {}), content.get("tool", {})
    named = {key: project.get(key) for key in ("dependencies", "dynamic", "requires-python")}
    return json.dumps([named, tool.get("uv")], sort_keys=True, default=str)


def _look_at_local(root: Path, path: str, line: str, found: Requirements) -> None:
    """Notes the content of what is installed from the project itself."""
    bare = line.partition(" ;")[0].strip()
    editable = _EDITABLE.fullmatch(bare)
    if editable:
        target = editable[1].strip("'\"")
    elif direct := _DIRECT.match(bare):
        target = direct[2]
        if "://" in target and not target.startswith("file:"):
            return
    elif _LOCAL.fullmatch(bare) and not re.match(r"[\w.+-]+://", bare.replace("file:", "")):
        target = bare
    else:
        return
    if re.match(r"(?:git|hg|svn|bzr)\+|https?:", target):
        return
    target = re.sub(r"^file:(?://)?", "", target)
    target = re.sub(r"\[[^\]]*\]$", "", target)
    place = root / target
    if place.is_dir():
        found.local[target] = _folder_digest(root, path, target, editable=editable is not None)
        if editable:
            found.editable.append(posixpath.normpath(target))
    elif place.is_file():
        found.local[target] = blake3(plainfile.read(place)).hexdigest()
    else:
        raise Failure(
            f"`{path}` asks for `{line}`, and `{target}` does not exist",
            help="paths in a requirements file are relative to the project folder",
        )


def _folder_digest(root: Path, path: str, target: str, *, editable: bool) -> str:
    """An editable install runs the files in place, which count as code where they are used: only what its
    build reads counts here. What is copied into the environment counts as a whole."""
    place = (root / target).resolve()
    hasher = blake3()
    if editable:
        for name in _BUILD_FILES:
            if (place / name).is_file():
                hasher.update(name.encode() + b"\0" + blake3(plainfile.read(place / name)).digest())
        return hasher.hexdigest()
    if root.resolve().is_relative_to(place):
        raise Failure(
            f"`{path}` installs a copy of the whole project (`{target}`), which every run changes",
            help=f"make it editable: `-e {target}`; then the modules that a stage imports count as its code",
        )
    for file in sorted(place.rglob("*")):
        inner = file.relative_to(place)
        if file.is_file() and not DROPPINGS & set(inner.parts) and not _is_build_result(inner):
            hasher.update(inner.as_posix().encode() + b"\0" + blake3(plainfile.read(file)).digest())
    return hasher.hexdigest()


def _is_build_result(path: Path) -> bool:
    return path.parts[0] in ("build", "dist", ".venv", "venv") or any(
        p.endswith(".egg-info") for p in path.parts
    )


def _absolute(root: Path, option: str) -> str:
    """`--find-links wheels` as it must read in a file elsewhere; `PROJECT` stands for the project folder."""
    match = re.fullmatch(r"(-f|--find-links)[ =](.+)", option)
    if match and "://" not in match[2] and (root / match[2]).exists():
        return f"--find-links {PROJECT}/{match[2]}"
    return option


def _without_passwords(options: list[str]) -> list[str]:
    return [re.sub(r"//[^/@\s]+@", "//", option) for option in options]
