"""Reads what `conda = "…"` may name: an `environment.yml`, a `conda-lock.yml`, an explicit file."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.runtime.conda.model import PLATFORMS, Asked, Package
from mlflowc.runtime.requirements import PROJECT

_EXPLICIT = re.compile(r"^@EXPLICIT\s*$", re.MULTILINE)
_ARCHIVE = re.compile(r"(?P<name>.+)-[^-]+-[^-]+(?:\.conda|\.tar\.bz2)")
_HASH = re.compile(r"(?:md5:)?(?P<md5>[0-9a-f]{32})|(?:sha256:)?(?P<sha256>[0-9a-f]{64})")
_SPEC_NAME = re.compile(r"(?:.*::)?\s*([A-Za-z0-9_][\w.-]*)")
_KNOWN = frozenset(["name", "channels", "dependencies", "platforms", "prefix", "variables", "category"])
_PIP_OPTION = re.compile(r"-(?!e\s|-editable\s)")


def read(root: Path, path: str) -> Asked:
    """What the file at `path` below `root` asks for. Raises `Failure`."""
    try:
        text = plainfile.read(root / path).decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise Failure(
            f"the conda file `{path}` does not exist", help="write it, or change `conda` of the environment"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        what = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise Failure(f"cannot read the conda file `{path}`: {what}") from None
    if _EXPLICIT.search(text):
        return _explicit(path, text)
    import yaml  # only pipelines with conda environments need it

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise Failure(f"cannot read the conda file `{path}`: {e}") from None
    if not isinstance(content, dict):
        raise _wrong(path, "it is not a mapping with `dependencies`")
    return _lock(path, content) if "package" in content else _environment(root, path, content)


def name_of(spec: str) -> str:
    """The package that a match spec is about, or nothing."""
    match = _SPEC_NAME.match(spec)
    return match[1].lower() if match else ""


def _environment(root: Path, path: str, content: dict[str, Any]) -> Asked:
    unknown = sorted(str(k) for k in content if k not in _KNOWN)
    if unknown:
        raise _wrong(path, f"`{unknown[0]}` is not known", "`channels`, `dependencies`, `platforms` are")
    if content.get("variables"):
        raise _wrong(path, "its `variables` would not be part of a key", "say them in `vars` of the `env`")
    channels = [_channel(root, c) for c in _strings(path, content, "channels")]
    platforms = _strings(path, content, "platforms")
    for name in platforms:
        if name not in PLATFORMS:
            raise _wrong(path, f"`{name}` is not a platform", f"those are {', '.join(PLATFORMS)}")
    specs: list[str] = []
    pip: list[str] = []
    for item in content.get("dependencies") or []:
        if isinstance(item, str):
            specs.append(re.sub(r"\s+", " ", item.strip()))
        elif isinstance(item, dict) and list(item) == ["pip"]:
            pip += [str(line).strip() for line in item["pip"] or []]
        else:
            raise _wrong(path, f"`{item}` is not a dependency", "a spec such as `numpy >=2`, or `pip: [...]`")
    if option := next((line for line in pip if _PIP_OPTION.match(line) and not _is_file(line)), None):
        _check_option(path, option)
    if not channels:
        raise _wrong(path, "it names no `channels`", "say `channels: [conda-forge]`: no setting decides then")
    return Asked(path, tuple(channels), tuple(specs), tuple(pip), tuple(dict.fromkeys(platforms)))


def _is_file(line: str) -> bool:
    return line.startswith(("-r ", "--requirement ", "-c ", "--constraint "))


def _check_option(path: str, line: str) -> None:
    if not re.match(r"--(index-url|extra-index-url|find-links|no-index|pre|no-binary|only-binary)\b", line):
        raise _wrong(path, f"`{line}` in its `pip` list is not understood", "write a requirement a line")


def _channel(root: Path, channel: str) -> str:
    """A channel; a folder of the project in a way that is the same in every checkout."""
    if "://" not in channel and (channel.startswith(".") or (root / channel).is_dir()):
        return f"file://{PROJECT}/{posixpath.normpath(channel)}"
    return channel


def _strings(path: str, content: dict[str, Any], key: str) -> list[str]:
    found = content.get(key) or []
    if not isinstance(found, list) or not all(isinstance(x, str) for x in found):
        raise _wrong(path, f"its `{key}` is not a list of names")
    return found


def _explicit(path: str, text: str) -> Asked:
    given: dict[str, list[Package]] = {}
    shared: list[Package] = []
    named = re.search(r"^#\s*platform:\s*(\S+)", text, re.MULTILINE)
    for line in text.splitlines():
        bare = line.strip()
        if not bare or bare.startswith(("#", "@")):
            continue
        url, _, digest = bare.partition("#")
        archive = _ARCHIVE.fullmatch(unquote(posixpath.basename(urlsplit(url).path)))
        if "://" not in url or archive is None:
            raise _wrong(path, f"`{bare}` is not the address of a package")
        package = Package(archive["name"], url, *_hashes(path, digest))
        subdir = posixpath.basename(posixpath.dirname(urlsplit(url).path))
        (shared if subdir == "noarch" else given.setdefault(subdir, [])).append(package)
    if named:
        given.setdefault(named[1], [])
    if len(given) > 1:
        raise _wrong(path, f"it is for {' and '.join(sorted(given))} at once", "write a file a platform")
    # Packages for all platforms alone are for all platforms.
    places = list(given) or list(PLATFORMS)
    packages = (*(p for found in given.values() for p in found), *shared)
    return Asked(path, given=dict.fromkeys(places, _sequenced(packages)))


def _sequenced(packages: tuple[Package, ...]) -> tuple[Package, ...]:
    """An explicit file does not say what needs what: Python is what packages for all platforms wait for."""
    names = {p.name for p in packages}
    if "python" not in names:
        return packages
    return tuple(
        Package(p.name, p.url, p.md5, p.sha256, ("python",)) if "/noarch/" in p.url else p for p in packages
    )


def _hashes(path: str, digest: str) -> tuple[str, str]:
    """md5 and sha256, one of which is empty."""
    match = _HASH.fullmatch(digest.lower())
    if digest and match is None:
        raise _wrong(path, f"`#{digest}` is not a hash")
    return (match["md5"] or "", match["sha256"] or "") if match else ("", "")


def _lock(path: str, content: dict[str, Any]) -> Asked:
    given: dict[str, list[Package]] = {}
    pip: dict[str, list[str]] = {}
    try:
        for entry in content["package"]:
            if entry.get("category", "main") != "main":
                continue
            name, platform, hashes = str(entry["name"]), str(entry["platform"]), entry.get("hash") or {}
            if entry["manager"] == "pip":
                pip.setdefault(platform, []).append(f"{name} @ {entry['url']}#sha256={hashes['sha256']}")
                continue
            needs = tuple(n for n in entry.get("dependencies") or {} if not n.startswith("__"))
            found = Package(
                name, entry["url"], str(hashes.get("md5", "")), str(hashes.get("sha256", "")), needs
            )
            given.setdefault(platform, []).append(found)
    except (KeyError, TypeError, AttributeError) as e:
        raise _wrong(path, f"it is not a lock of conda-lock that is known here ({e})") from None
    return Asked(
        path,
        given={k: tuple(v) for k, v in given.items()},
        given_pip={k: tuple(v) for k, v in pip.items()},
    )


def _wrong(path: str, what: str, help: str = "") -> Failure:
    return Failure(f"the conda file `{path}`: {what}", help=help)
