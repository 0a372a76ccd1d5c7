"""What a project's pyproject.toml says about its code: console scripts, and where packages are."""

from __future__ import annotations

import posixpath
import tomllib
from typing import Any


def project_facts(source: bytes) -> list[list[object]]:
    """`["script", name, module]` for each console script, `["place", folder]` for each folder that an
    editable install puts on the search path. A file that is not TOML says nothing.
    """
    try:
        content = tomllib.loads(source.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return []
    tool = _table(content, "tool")
    scripts = {
        **_table(_table(tool, "poetry"), "scripts"),
        **_table(_table(content, "project"), "scripts"),
        **_table(_table(content, "project"), "gui-scripts"),
    }
    found: list[list[object]] = [
        ["script", name, target.partition(":")[0].strip()]
        for name, target in sorted(scripts.items())
        if isinstance(target, str)
    ]
    return found + [["place", folder] for folder in dict.fromkeys(_places(tool))]


def _places(tool: dict[str, Any]) -> list[str]:
    setuptools = _table(tool, "setuptools")
    places = [*_strings(_table(_table(setuptools, "packages"), "find").get("where"))]
    places += [p for name, p in _table(setuptools, "package-dir").items() if not name and isinstance(p, str)]
    hatch = _table(_table(_table(_table(tool, "hatch"), "build"), "targets"), "wheel")
    places += [posixpath.dirname(p) for p in _strings(hatch.get("packages"))]
    poetry = _table(tool, "poetry").get("packages")
    for package in poetry if isinstance(poetry, list) else []:
        if isinstance(package, dict):
            places += _strings([package.get("from", "")])
    module_root = _table(_table(tool, "uv"), "build-backend").get("module-root")
    return places + _strings([module_root])


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
