"""What a stage's command runs in: what of it enters a key, and making it.

An environment with a requirements file is resolved once, for all platforms, and the resolution is kept in
`mlpipe.lock`: `env NAME {...}` says what it was made from, `package NAME.PACKAGE {"pins": [...]}` is a line a
package. So keys agree on all machines, and change when somebody decides so: by editing the requirements file
or by deleting the lines. A `uv.lock` is a resolution already. The environments themselves are kept once for
all projects of a user, each in a folder named by the hash of what is in it.

Conda environments are in `mlflowc.runtime.conda`, images in `mlflowc.runtime.containers`.

Parts that enter a key: `requirements`, `lock`, `conda` or `image` (a hash), `python` (`3.11`), `var:NAME`,
and `pass:NAME` for variables of the host, whose text is `=value`, or empty when not set.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterable
from collections.abc import Container as Holding
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from blake3 import blake3

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, field
from mlflowc.ir.model import Env, Runner
from mlflowc.runtime.hostpython import host_python
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.ports import Container

# `requirements`, `venvs` and `uvtool` are imported where a pipeline has environments: many have none.
if TYPE_CHECKING:
    from mlflowc.runtime.requirements import Places, Requirements
    from mlflowc.runtime.venvs import Recipe

Log: TypeAlias = Callable[[str], None]

_VERSION = re.compile(r"(\d+\.\d+)(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Resolution:
    """Exact packages: name -> pins (`==1.0 ; marker`), and what is installed from the project (`-e ./lib`).

    `kept` says whether it is worth keeping: pins taken as they stand because no index could be asked are not.
    """

    packages: dict[str, list[str]]
    local: list[str] = field(default_factory=list)
    kept: bool = True


class _Kind(Protocol):
    """A module that knows one kind of environment; what its functions do, those of their names here do."""

    def key_parts(self, root: Path, env: Env, lock: LockFile) -> dict[str, str]: ...
    def entries(self, root: Path, env: Env, lock: LockFile) -> dict[tuple[str, str], dict[str, Any]]: ...
    def is_current(self, root: Path, env: Env, lock: LockFile) -> bool: ...
    def places(self, root: Path, env: Env) -> Places | None: ...
    def import_paths(self, root: Path, env: Env) -> tuple[str, ...]: ...
    def prepare(self, root: Path, env: Env, lock: LockFile, log: Log) -> dict[str, str]: ...


def key_parts(root: Path, env: Env | None, lock: LockFile, *, python: str = "") -> dict[str, str]:
    """What the environment adds to the key of a stage.

    `python` is the interpreter that the command names (see `hostpython.named`), which matters where the
    environment brings none of its own. Resolves where `lock` has no resolution; `pinned` keeps that.
    Raises `Failure`.
    """
    if env is None:
        return _host_part(python)
    refuse(env)
    root = root.absolute()
    parts = {f"var:{name}": value for name, value in env.vars}
    for name in env.passed:
        parts[f"pass:{name}"] = "=" + os.environ[name] if name in os.environ else ""
    if other := _other(env):
        return parts | other.key_parts(root, env, lock)
    if env.requirements is not None:
        wanted = _wanted(root, env.requirements)
        parts["requirements"] = _digest(_resolution(root, env, wanted, lock), wanted)
    elif env.lock is not None:
        parts["lock"] = _file_digest(root, env.lock, "lock file")
    if _own_python(env):
        parts["python"] = _minor(env)
    else:
        parts |= _host_part(python)
    return parts


def pinned(root: Path, envs: Iterable[Env], lock: LockFile, *, used: Holding[str] | None = None) -> LockFile:
    """`lock` with the resolutions of these environments, made where it lacks them, and of no others.

    Those whose names are not in `used` (None: all) stay as they are in `lock`, present or not. The same value
    when nothing changes. Raises `Failure`.
    """
    root = root.absolute()
    entries = {k: v for k, v in lock.entries.items() if k[0] not in ("env", "package")}
    for env in envs:
        if used is not None and env.name not in used:
            entries |= {k: v for k, v in lock.entries.items() if _belongs(k, env.name)}
            continue
        if other := _other(env):
            entries |= other.entries(root, env, lock)
        if env.requirements is None:
            continue
        wanted = _wanted(root, env.requirements)
        resolution = _resolution(root, env, wanted, lock)
        if resolution.kept and not wanted.hashed:
            entry: dict[str, Any] = {"file": env.requirements, "source": _source(env, wanted)}
            if resolution.local:
                entry["local"] = resolution.local
            entries["env", env.name] = entry
            for name, pins in resolution.packages.items():
                entries["package", f"{env.name}.{name}"] = {"pins": pins}
    return lock if entries == lock.entries else LockFile(entries)


def places(root: Path, envs: Iterable[Env]) -> Places | None:
    """Where that lies which decides `envs`; None where it cannot be watched. Raises `Failure`."""
    from mlflowc.runtime import requirements

    files: set[str] = set()
    folders: set[str] = set()
    absent: set[str] = set()
    for env in envs:
        if env.lock is not None:
            files.add(env.lock)
        other = _other(env)
        if env.requirements is not None or other:
            if env.requirements is not None:
                found = requirements.places(root, env.requirements)
            elif other:
                found = other.places(root, env)
            if found is None:
                return None
            files.update(found.files)
            folders.update(found.folders)
            absent.update(found.absent)
    return requirements.Places(tuple(sorted(files)), tuple(sorted(folders)), tuple(sorted(absent)))


def host_names(env: Env) -> tuple[str, ...]:
    """The interpreters on PATH that the key of an environment depends on, whatever a command names."""
    return ("python3", "python") if _own_python(env) and env.python is None and not _other(env) else ()


def is_current(root: Path, env: Env, lock: LockFile) -> bool:
    """Whether nothing has to be resolved to know the environment: `lock` has that, or it needs none."""
    if other := _other(env):
        return other.is_current(root.absolute(), env, lock)
    if env.requirements is None:
        return True
    try:
        wanted = _wanted(root.absolute(), env.requirements)
    except Failure:
        return False
    if wanted.hashed or not wanted.lines:
        return True
    entry = lock.get("env", env.name)
    return bool(entry and entry.get("source") == _source(env, wanted) and _kept(env, lock).packages)


def _belongs(entry: tuple[str, str], env: str) -> bool:
    kind, name = entry
    return (kind == "env" and name == env) or (kind == "package" and name.startswith(env + "."))


def prepare(root: Path, env: Env | None, lock: LockFile, log: Log) -> dict[str, str]:
    """Makes the environment if it is not there, and returns the variables that put a command into it.

    `vars` and `pass` are not among them (`childenv` adds those). `log` takes lines about what takes time.
    Raises `Failure`.
    """
    if env is None:
        return {}
    refuse(env)
    if other := _other(env):
        return other.prepare(root.absolute(), env, lock, log)
    if not _own_python(env):
        return {}
    from mlflowc.runtime.venvs import ensure

    place = ensure(_recipe(root.absolute(), env, lock), log)
    path = dict(env.vars).get("PATH") or os.environ.get("PATH", os.defpath)
    return {"VIRTUAL_ENV": str(place), "PATH": f"{place / 'bin'}{os.pathsep}{path}"}


def container(
    env: Env | None, lock: LockFile, runner: Runner | None, folders: Iterable[Path]
) -> Container | None:
    """What a command in `env` runs in, if that is an image; `folders` are those that it sees. Raises
    `Failure`.
    """
    if env is None or env.image is None:
        return None
    from mlflowc.runtime.containers import environment

    return environment.container(env, lock, runner, folders)


def import_paths(root: Path, env: Env | None) -> tuple[str, ...]:
    """Project folders that editable requirements make importable, for the search for code."""
    if env is None:
        return ()
    if other := _other(env):
        found = list(other.import_paths(root.absolute(), env))
    elif env.requirements is None or env.requirements.endswith(".toml"):
        return ()
    else:
        found = _wanted(root, env.requirements).editable
    return tuple(p for folder in found if folder != "." for p in (folder, posixpath.join(folder, "src")))


def refuse(env: Env) -> None:
    """Raises `Failure` for an environment that this version cannot make."""
    if env.lock is not None and posixpath.basename(env.lock) != "uv.lock":
        help = "write a `uv.lock` with `uv lock`, or a requirements file and use `requirements`"
        if posixpath.basename(env.lock) == "poetry.lock":
            help = "`poetry export -o requirements.txt` writes a file with the same versions: use that"
        raise _refused(env, f"`{env.lock}`", help)
    if env.python is not None and not _VERSION.fullmatch(env.python):
        raise Failure(
            f"environment `{env.name}`: `{env.python}` is not a version of Python",
            help='write it as in `python = "3.11"`',
        )


def _refused(env: Env, what: str, help: str) -> Failure:
    return Failure(f"environment `{env.name}` asks for {what}, which this version cannot run", help=help)


def _other(env: Env) -> _Kind | None:
    """The module that knows this kind of environment, where that is not this one."""
    # Few pipelines have these, and they need YAML, processes and more.
    if env.conda is not None:
        from mlflowc.runtime.conda import environment as conda

        return conda
    if env.image is not None:
        from mlflowc.runtime.containers import environment as containers

        return containers
    return None


def _own_python(env: Env) -> bool:
    return env.python is not None or env.requirements is not None or env.lock is not None


def _minor(env: Env) -> str:
    if env.python is not None:
        match = _VERSION.fullmatch(env.python)
        return match[1] if match else env.python
    for name in ("python3", "python"):
        if version := host_python(name):
            return version
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _host_part(python: str) -> dict[str, str]:
    return {"python": host_python(python) or "none"} if python else {}


def _wanted(root: Path, path: str) -> Requirements:
    from mlflowc.runtime import requirements

    return requirements.read(root, path)


def _source(env: Env, wanted: Requirements) -> str:
    return wanted.digest(env.python or "")


def _digest(resolution: Resolution, wanted: Requirements) -> str:
    # A change of an editable package's build files matters only through the packages that it asks for.
    copied = {p: d for p, d in wanted.local.items() if posixpath.normpath(p) not in wanted.editable}
    content = [sorted(resolution.packages.items()), resolution.local, sorted(copied.items())]
    return blake3(json.dumps(content).encode()).hexdigest()


def _file_digest(root: Path, path: str, what: str) -> str:
    try:
        return blake3(plainfile.read(root / path)).hexdigest()
    except FileNotFoundError:
        raise Failure(f"the {what} `{path}` does not exist", help="`uv lock` writes it") from None
    except OSError as e:
        raise Failure(f"cannot read the {what} `{path}`: {e.strerror}") from None


# --- resolving

# Within one process a file is resolved once, even where its resolution is not written down (a dry run).
_resolved: dict[tuple[str, str, str], Resolution] = {}


def _resolution(root: Path, env: Env, wanted: Requirements, lock: LockFile) -> Resolution:
    if wanted.hashed or not wanted.lines:
        from mlflowc.runtime import requirements

        return Resolution(requirements.pins("\n".join(wanted.lines), root)[0])
    source = _source(env, wanted)
    previous = _kept(env, lock)
    entry = lock.get("env", env.name)
    if entry and entry.get("source") == source and previous.packages:
        return previous
    memo = (str(root), env.name, source)
    if memo not in _resolved:
        _resolved[memo] = _resolve(root, env, wanted, previous)
    return _resolved[memo]


def _kept(env: Env, lock: LockFile) -> Resolution:
    entry = lock.get("env", env.name) or {}
    start = env.name + "."
    packages = {
        name[len(start) :]: list(value.get("pins", ()))
        for (kind, name), value in lock.entries.items()
        if kind == "package" and name.startswith(start)
    }
    return Resolution(packages, list(entry.get("local", ())))


def _resolve(root: Path, env: Env, wanted: Requirements, previous: Resolution) -> Resolution:
    """Asks uv, which keeps versions of `previous` where they still fit."""
    import tempfile

    from mlflowc.runtime import requirements, uvtool

    arguments = [
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--no-header",
        "--no-annotate",
        "--no-strip-extras",
    ]
    if env.python is not None:
        arguments += ["--python-version", env.python]
    with tempfile.TemporaryDirectory(prefix="mlpipec-") as folder:
        target = Path(folder) / "resolved.txt"
        if previous.packages:
            target.write_text(
                "\n".join(f"{name}{pin}" for name, pins in previous.packages.items() for pin in pins)
            )
        try:
            uvtool.run(
                [*arguments, "--output-file", str(target), wanted.path],
                folder=root,
                doing=f"resolve the requirements of environment `{env.name}` (`{wanted.path}`)",
                # With all versions given there is a way without the network: do not wait long for it.
                variables={"UV_HTTP_RETRIES": "0"} if wanted.pinned else None,
                help="look at the names and versions that uv names: they must exist, and fit together",
            )
        except uvtool.NetworkFailure:
            if not wanted.pinned:
                raise
            return Resolution(requirements.pins("\n".join(wanted.lines), root)[0], kept=False)
        return Resolution(*requirements.pins(target.read_text(), root))


# --- making


def _recipe(root: Path, env: Env, lock: LockFile) -> Recipe:
    """What to install, and the name of the folder it goes to: the hash of what decides its content."""
    from mlflowc.runtime.requirements import PROJECT
    from mlflowc.runtime.venvs import Recipe

    python = env.python or _minor(env)
    if env.lock is not None:
        return _lock_recipe(root, env, env.lock, python)
    if env.requirements is None:
        return Recipe.of(env.name, root, python, [])
    wanted = _wanted(root, env.requirements)
    resolution = _resolution(root, env, wanted, lock)
    here = root.as_uri().removeprefix("file://")
    lines = [option.replace(PROJECT, str(root)) for option in wanted.options]
    lines += [line.replace(PROJECT, here) for line in resolution.local]
    for name, pins in sorted(resolution.packages.items()):
        lines += [f"{name}{' ' if pin.startswith('@') else ''}{pin}".replace(PROJECT, here) for pin in pins]
    # An editable install leads into this very checkout, so it cannot be shared with another.
    bound = [str(root), *sorted(wanted.local.items())] if wanted.editable else sorted(wanted.local.items())
    return Recipe.of(env.name, root, python, lines, decides=bound, check=not resolution.kept)


def _lock_recipe(root: Path, env: Env, lock: str, python: str) -> Recipe:
    import tomllib

    from mlflowc.runtime.venvs import Recipe

    folder = root / posixpath.dirname(lock)
    digest = _file_digest(root, lock, "lock file")
    try:
        text = (folder / "pyproject.toml").read_text("utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        raise Failure(
            f"environment `{env.name}`: there is no `pyproject.toml` beside `{lock}`",
            help="uv reads both; commit the project file too",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise Failure(f"cannot read the `pyproject.toml` beside `{lock}`: {e}") from None
    package = content.get("tool", {}).get("uv", {}).get("package", "build-system" in content)
    bound = [digest, str(folder), text] if package else [digest]
    sync = ["sync", "--frozen", "--quiet", *([] if package else ["--no-install-project"])]
    return Recipe.of(env.name, folder, python, [], decides=bound, sync=tuple(sync))
