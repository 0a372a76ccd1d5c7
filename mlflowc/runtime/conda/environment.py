"""Conda environments: what of them enters a key and the lock, and making them.

A file is resolved once, for each platform that it names (or else where it is used first), and the result
kept in `mlpipe.lock`: `env NAME {...}` says what it was made from, `package NAME.PLATFORM.PACKAGE {...}` is a
package with its address and hashes, `package NAME.pip.PACKAGE {"pins": [...]}` one of its `pip` list, which
uv resolves and installs. A `conda-lock.yml` and a file with `@EXPLICIT` are resolutions already.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from blake3 import blake3

from mlflowc.errors import Failure
from mlflowc.ir.model import Env
from mlflowc.runtime import requirements, uvtool, venvs
from mlflowc.runtime.conda import files, tool
from mlflowc.runtime.conda.model import Asked, Package, in_order, this_platform
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.requirements import PROJECT, Requirements

Log: TypeAlias = Callable[[str], None]
Packages: TypeAlias = Mapping[str, Mapping[str, Package]]

# The version of what a folder's name means.
_FORMAT = 1
_PIP = "pip"


@dataclass(frozen=True, slots=True)
class Resolution:
    """Packages by platform and name; pins of `pip`'s by name, or by platform where they were given so."""

    packages: Packages
    pip: Mapping[str, list[str]] = field(default_factory=dict)
    local: tuple[str, ...] = ()
    given_pip: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def key_parts(root: Path, env: Env, lock: LockFile) -> dict[str, str]:
    """What the environment adds to the key of a stage. Resolves where `lock` has no resolution."""
    asked, wanted = _read(root, env)
    found = _resolution(root, env, asked, wanted, lock)
    # A file that names its platforms has one key on all of them; else each machine has what it resolved.
    places = sorted(found.packages) if asked.platforms or asked.given is not None else [this_platform()]
    content = [
        [(place, sorted(p.identity for p in found.packages[place].values())) for place in places],
        sorted(found.pip.items()),
        sorted(found.local),
        sorted((place, sorted(lines)) for place, lines in found.given_pip.items()),
        sorted(_copied(wanted).items()),
    ]
    return {"conda": blake3(json.dumps(content).encode()).hexdigest()}


def entries(root: Path, env: Env, lock: LockFile) -> dict[tuple[str, str], dict[str, Any]]:
    """What the lock has to keep; nothing where the file is a resolution."""
    asked, wanted = _read(root, env)
    if asked.given is not None:
        return {}
    found = _resolution(root, env, asked, wanted, lock)
    entry: dict[str, Any] = {
        "file": asked.path,
        "source": _source(env, asked, wanted),
        "platforms": sorted(found.packages),
    }
    if found.local:
        entry["local"] = list(found.local)
    kept = {("env", env.name): entry}
    for place, packages in found.packages.items():
        kept |= {("package", f"{env.name}.{place}.{n}"): p.entry() for n, p in packages.items()}
    return kept | {("package", f"{env.name}.{_PIP}.{n}"): {"pins": pins} for n, pins in found.pip.items()}


def is_current(root: Path, env: Env, lock: LockFile) -> bool:
    """Whether `lock` has all that is needed to know the environment here."""
    try:
        asked, wanted = _read(root, env)
        kept = _kept(env, lock)
    except Failure:
        return False
    return asked.given is not None or _suffices(env, asked, wanted, lock, kept)


def places(root: Path, env: Env) -> requirements.Places | None:
    """Where that lies which decides the environment; None where it cannot be watched. Raises `Failure`."""
    asked, wanted = _read(root, env)
    found = requirements.places_of(root, wanted)
    return found and found._replace(files=(asked.path, *found.files))


def import_paths(root: Path, env: Env) -> tuple[str, ...]:
    """Folders of the project that are installed as editable."""
    return tuple(_read(root, env)[1].editable)


def prepare(root: Path, env: Env, lock: LockFile, log: Log) -> dict[str, str]:
    """Makes the environment if it is not there; the variables that put a command into it."""
    asked, wanted = _read(root, env)
    found = _resolution(root, env, asked, wanted, lock)
    here = this_platform()
    if here not in found.packages:
        raise Failure(
            f"environment `{env.name}`: `{asked.path}` is for {', '.join(sorted(found.packages))}, "
            f"and this machine is {here}",
            help="add it to the file's `platforms`" if asked.given is None else "write one for it, too",
        )
    place_of = root.as_uri().removeprefix("file://")
    packages = [
        Package(p.name, p.url.replace(PROJECT, place_of), p.md5, p.sha256, p.needs)
        for p in in_order(found.packages[here].values())
    ]
    lines = [line.replace(PROJECT, place_of) for line in (*wanted.options, *found.local)]
    for name, pins in sorted(found.pip.items()):
        lines += [
            f"{name}{' ' if pin.startswith('@') else ''}{pin}".replace(PROJECT, place_of) for pin in pins
        ]
    lines += found.given_pip.get(here, ())
    bound = [str(root)] if wanted.editable else []
    decides = [
        _FORMAT,
        "conda",
        here,
        [p.identity for p in packages],
        lines,
        bound,
        sorted(wanted.local.items()),
    ]

    def fill(new: Path) -> dict[str, object]:
        tool.create(env.name, packages, new)
        if lines:
            _install(root, env, lines, new)
        return {"name": env.name, "packages": [p.url for p in packages], "pip": lines}

    making = venvs.Making(
        env.name,
        blake3(json.dumps(decides).encode()).hexdigest()[:40],
        f"conda, {len(packages)} packages",
        fill,
        ("bin/python",) if any(p.name == "python" for p in packages) else (),
        in_place=True,
    )
    prefix = venvs.provide(making, log)
    path = dict(env.vars).get("PATH") or os.environ.get("PATH", os.defpath)
    variables = {"CONDA_PREFIX": str(prefix), "PATH": f"{prefix / 'bin'}{os.pathsep}{path}"}
    return variables | _activated(prefix, variables)


def _install(root: Path, env: Env, lines: list[str], prefix: Path) -> None:
    python = prefix / "bin" / "python"
    if not python.exists():
        raise Failure(
            f"environment `{env.name}` asks for packages of `pip`, and has no Python",
            help="add `python` to its `dependencies`",
        )
    with tempfile.NamedTemporaryFile("w", prefix="mlpipec-", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        arguments = ["pip", "install", "--quiet", "--compile-bytecode", "--break-system-packages"]
        uvtool.run(
            [*arguments, "--python", str(python), "--no-deps", "-r", file.name],
            folder=root,
            doing=f"install what `pip` lists in environment `{env.name}`",
            help="a package may have no build for this platform or this Python",
        )


def _activated(prefix: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """What the environment's own scripts set for those who work in it (`GDAL_DATA`, compilers, …)."""
    scripts = sorted((prefix / "etc" / "conda" / "activate.d").glob("*.sh"))
    if not scripts:
        return {}
    before = {"HOME": os.environ.get("HOME", "/"), "CONDA_SHLVL": "1", **variables}
    program = "".join(f". {json.dumps(str(s))} >&2\n" for s in scripts) + "exec env -0\n"
    done = subprocess.run(["bash", "-c", program], env=before, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failure(
            f"cannot activate the environment in `{prefix}`: its scripts say\n"
            f"  {done.stderr.decode(errors='replace').strip()}"
        )
    said = dict(
        v.split("=", 1) for v in done.stdout.decode("utf-8", "surrogateescape").split("\0") if "=" in v
    )
    own = {"_", "SHLVL", "PWD", "OLDPWD", "CONDA_SHLVL"}
    return {n: v for n, v in said.items() if before.get(n) != v and n not in own}


# --- what is asked for


def _read(root: Path, env: Env) -> tuple[Asked, Requirements]:
    assert env.conda is not None
    asked = files.read(root, env.conda)
    if env.python is not None and asked.given is None and "python" not in map(files.name_of, asked.specs):
        asked = Asked(
            asked.path, asked.channels, (*asked.specs, f"python={env.python}"), asked.pip, asked.platforms
        )
    wanted = requirements.read_lines(root, posixpath.basename(asked.path), asked.pip)
    if (wanted.files or wanted.local) and posixpath.dirname(asked.path):
        raise Failure(
            f"the conda file `{asked.path}`: its `pip` list names files, and it is not in the project folder",
            help="move it there, or name packages",
        )
    return asked, wanted


def _copied(wanted: Requirements) -> dict[str, str]:
    return {p: d for p, d in wanted.local.items() if posixpath.normpath(p) not in wanted.editable}


def _source(env: Env, asked: Asked, wanted: Requirements) -> str:
    content = [
        asked.channels,
        asked.specs,
        asked.platforms,
        wanted.digest(env.python or "") if asked.pip else "",
    ]
    return blake3(json.dumps(content).encode()).hexdigest()


# --- resolving

# Within one process a file is resolved once, even where its resolution is not written down (a dry run).
_resolved: dict[tuple[str, str, str], Resolution] = {}


def _resolution(root: Path, env: Env, asked: Asked, wanted: Requirements, lock: LockFile) -> Resolution:
    if asked.given is not None:
        given = {place: {p.name: p for p in found} for place, found in asked.given.items()}
        return Resolution(given, given_pip=asked.given_pip)
    kept = _kept(env, lock)
    if _suffices(env, asked, wanted, lock, kept):
        return kept
    memo = (str(root), env.name, _source(env, asked, wanted))
    if memo not in _resolved:
        same = (lock.get("env", env.name) or {}).get("source") == memo[2]
        _resolved[memo] = _resolve(root, env, asked, wanted, kept if same else Resolution({}))
    return _resolved[memo]


def _suffices(env: Env, asked: Asked, wanted: Requirements, lock: LockFile, kept: Resolution) -> bool:
    entry = lock.get("env", env.name)
    needed = asked.platforms or (this_platform(),)
    return (
        entry is not None
        and entry.get("source") == _source(env, asked, wanted)
        and all(kept.packages.get(place) for place in needed)
        and bool(kept.pip or kept.local) >= bool(asked.pip)
    )


def _kept(env: Env, lock: LockFile) -> Resolution:
    entry = lock.get("env", env.name) or {}
    packages: dict[str, dict[str, Package]] = {str(p): {} for p in entry.get("platforms", ())}
    pip: dict[str, list[str]] = {}
    for (kind, name), value in lock.entries.items():
        if kind != "package" or not name.startswith(env.name + "."):
            continue
        place, _, package = name[len(env.name) + 1 :].partition(".")
        if place == _PIP:
            pip[package] = list(value.get("pins", ()))
        elif place in packages:
            packages[place][package] = Package.of(package, value)
    return Resolution(packages, pip, tuple(entry.get("local", ())))


def _resolve(root: Path, env: Env, asked: Asked, wanted: Requirements, kept: Resolution) -> Resolution:
    """Asks for what is not `kept`, which is of the same file."""
    packages = dict(kept.packages)
    here = root.as_uri()
    channels = [c.replace(f"file://{PROJECT}", here) for c in asked.channels]
    for place in asked.platforms or (this_platform(),):
        if not packages.get(place):
            found = tool.solve(env.name, asked.specs, channels, place)
            packages[place] = {
                n: Package(n, p.url.replace(here, f"file://{PROJECT}"), p.md5, p.sha256, p.needs)
                for n, p in found.items()
            }
    if not asked.pip or kept.pip or kept.local:
        return Resolution(packages, kept.pip, kept.local)
    pip, local = _resolve_pip(root, env, asked, packages)
    return Resolution(packages, pip, tuple(local))


def _resolve_pip(
    root: Path, env: Env, asked: Asked, packages: Packages
) -> tuple[dict[str, list[str]], list[str]]:
    """Pins of what the `pip` list needs that conda does not bring."""
    brought = next((found["python"] for _, found in sorted(packages.items()) if "python" in found), None)
    version = brought and re.search(r"/python-(\d+\.\d+)", brought.url)
    if not version:
        raise Failure(
            f"the conda file `{asked.path}` lists packages of `pip`, and has no Python",
            help="add `python` to its `dependencies`",
        )
    arguments = ["pip", "compile", "--quiet", "--universal", "--no-header", "--no-annotate"]
    text = uvtool.run(
        [*arguments, "--no-strip-extras", "--emit-index-url", "--python-version", version[1], "-"],
        folder=root,
        doing=f"resolve what `pip` lists in environment `{env.name}` (`{asked.path}`)",
        help="look at the names and versions that uv names: they must exist, and fit together",
        said="\n".join(asked.pip) + "\n",
    )
    return requirements.pins(text, root)
