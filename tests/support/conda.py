"""Conda packages and channels made by tests: nothing is downloaded."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path


def package(
    channel: Path,
    name: str,
    version: str = "1.0",
    *,
    needs: tuple[str, ...] = (),
    files: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    subdir: str = "noarch",
    python: bool = False,
) -> Path:
    """Adds a package to the channel at that folder, and to the channel's index.

    `files` are by path in the environment; `/PREFIX` in a text becomes the environment's folder.
    `python` makes it a package of Python modules for all versions, whose files lie in `site-packages`.
    """
    folder = channel / subdir
    folder.mkdir(parents=True, exist_ok=True)
    (channel / "noarch").mkdir(exist_ok=True)
    content = {path: text.encode() for path, text in (files or {}).items()}
    meta = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": list(needs),
        "subdir": subdir,
        "license": "MIT",
        "timestamp": 1700000000000,
    }
    if subdir == "noarch":
        meta["noarch"] = "python" if python else "generic"
    paths = [_path(path, data) for path, data in content.items()]
    paths += [{"_path": p, "path_type": "softlink"} for p in links or {}]
    info = {
        "info/index.json": json.dumps(meta),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "\n".join([*content, *(links or {})]) + "\n",
        "info/about.json": "{}",
    }
    if python:
        info["info/link.json"] = json.dumps({"noarch": {"type": "python"}, "package_metadata_version": 1})
    prefixed = [f"/PREFIX text {p}" for p, data in content.items() if b"/PREFIX" in data]
    if prefixed:
        info["info/has_prefix"] = "\n".join(prefixed) + "\n"
    archive = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(archive, "w:bz2") as tar:
        for path, data in [*((p, t.encode()) for p, t in info.items()), *content.items()]:
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o755 if path.startswith("bin/") else 0o644
            tar.addfile(entry, io.BytesIO(data))
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    data = archive.read_bytes()
    told = {
        **meta,
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    for place in {"noarch", subdir}:
        index = channel / place / "repodata.json"
        old = json.loads(index.read_text()) if index.exists() else _empty(place)
        if place == subdir:
            old["packages"][archive.name] = told
        index.write_text(json.dumps(old))
    return archive


def _path(path: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {
        "_path": path,
        "path_type": "hardlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    if b"/PREFIX" in data:
        entry |= {"prefix_placeholder": "/PREFIX", "file_mode": "text"}
    return entry


def _empty(subdir: str) -> dict[str, dict[str, object]]:
    return {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}}


def python(channel: Path, subdir: str = "linux-64") -> None:
    """A package `python` that is the interpreter of these tests, in an environment of its own."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    home = Path(sys.executable).resolve()
    package(
        channel,
        "python",
        f"{version}.0",
        subdir=subdir,
        files={"pyvenv.cfg": f"home = {home.parent}\ninclude-system-site-packages = false\n"},
        links={"bin/python": str(home), f"bin/python{version}": "python", "bin/python3": "python"},
    )
