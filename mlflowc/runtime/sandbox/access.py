"""What the command of one stage may touch.

Reading: the stage's inputs, its code, its environment, system folders, and what it may write. Writing: its
outputs, what it keeps, a temporary folder of its own.

A rule of Landlock is about a file that is there, or about all that is below a folder. An output is not there
yet. So where an output's folder holds nothing else (`out/train/model.pkl`), the stage gets the folder; and
where it holds more, an empty file (or folder) is put in the output's place beforehand, and the stage gets
that: it can be written, but not replaced by another file. `Access.placeholders` are those.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlflowc.errors import Failure
from mlflowc.ir.model import Keep, Output, Pipeline, Stage
from mlflowc.runtime.identity import steps as credentials
from mlflowc.runtime.plan import Step
from mlflowc.runtime.workspace import STATE, Workspace

# Where Linux systems keep programs and their settings; not homes, not mounted disks, not temporary files.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/var", "/run"),
    *("/proc", "/sys", "/nix", "/gnu", "/snap"),
)
_DEVICES = ("/dev",)
_NOT_SYSTEM = ("/var/tmp",)
_PROGRAM_FOLDERS = ("bin", "sbin", "shims", "Scripts", "condabin")
_EITHER = frozenset({"path", "model", "parquet", "image"})


@dataclass(frozen=True, slots=True)
class Access:
    """All paths are absolute and without links on the way to the project.

    `reads` are files, and folders with all that is in them; so are `writes`, which may also be read.
    `system` are folders of which the project is no part, even where it lies in one. `placeholders` are paths
    to make before the command runs, with whether each is a folder.
    """

    root: str
    reads: frozenset[str]
    writes: frozenset[str]
    system: tuple[str, ...]
    devices: tuple[str, ...] = _DEVICES
    placeholders: tuple[tuple[str, bool], ...] = ()

    def may_read(self, path: str) -> bool:
        """Whether the stage may read the file at that absolute path."""
        if any(p in self.reads or p in self.writes for p in _upwards(path)):
            return True
        return not _below(path, self.root) and self._of_system(path)

    def may_write(self, path: str) -> bool:
        """Whether the stage may write, make, replace or remove the file at that absolute path."""
        return any(p in self.writes for p in _upwards(path)) or any(_below(path, d) for d in self.devices)

    def _of_system(self, path: str) -> bool:
        if any(_below(path, n) for n in _NOT_SYSTEM):
            return False
        return any(_below(path, s) for s in (*self.system, *self.devices))


class Owners:
    """Which stages write below each folder of the project."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._stages: dict[str, set[str]] = {}
        for stage in pipeline.stages:
            for path in [o.path for o in stage.outputs] + [k.path for k in stage.keeps]:
                for folder in _upwards(path.rstrip("/")):
                    self._stages.setdefault(folder, set()).add(stage.id)

    def alone(self, stage: Stage, folder: str) -> bool:
        """Whether no other stage writes there."""
        return self._stages.get(folder, set()) <= {stage.id}


def of(
    ws: Workspace, step: Step, variables: Mapping[str, str], temporary: str, owners: Owners, *, strict: bool
) -> Access:
    """What the stage of a step may touch. `variables` are those of its command.

    With `strict` it is to be enforced, and `Failure` raised where that cannot be.
    """
    root = os.path.realpath(ws.root)
    stage = step.stage
    env = ws.envs.get(stage.env or "")
    if env is not None and env.image is not None:
        raise Failure(
            f"the sandbox does not reach into a container, and `{stage.id}` runs in one",
            help="run this stage with `--sandbox off`",
        )
    declared = [posixpath.normpath(f"{root}/{path}") for path in _declared(step)]
    reads = {*declared, *(t for path in declared for t in _led_out(path))}
    reads |= set(credentials.readable(stage.auth, ws.identity))
    reads |= {os.path.realpath(path) for path in reads}
    for programs in _environment(variables, root):
        reads |= {p for place in (programs, os.path.realpath(programs)) for p in outside(place, root)}
    writes = {temporary, os.path.realpath(temporary)}
    placeholders: list[tuple[str, bool]] = []
    for output in stage.outputs:
        place = f"{root}/{output.path.rstrip('/')}"
        folder = _own_folder(root, stage, output.path, owners, reads)
        writes |= {place, folder or place}
        if folder is None and strict:
            placeholders.append((place, _is_folder(ws, stage, output)))
    for keep in stage.keeps:
        own = _own_folder(root, stage, keep.path, owners, reads)
        writes |= {f"{root}/{keep.path.rstrip('/')}", own or temporary}
        if own is None and strict:
            _refuse_unless_there(root, stage, keep)
    return Access(root, frozenset(reads), frozenset(writes), _SYSTEM, _DEVICES, tuple(placeholders))


def outside(folder: str, root: str) -> Iterator[str]:
    """Folders and files that together are all of `folder` but what is in `root`."""
    if not _below(root, folder):
        yield folder
        return
    if folder == root:
        return
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return
    for name in names:
        inner = posixpath.join(folder, name)
        if _below(root, inner):
            yield from outside(inner, root)
        elif not os.path.islink(inner):  # noqa: PTH114
            yield inner


def system(access: Access) -> Iterator[str]:
    """The system folders, without the project and what is temporary."""
    for folder in access.system:
        if os.path.islink(folder):  # noqa: PTH114 - `/bin` is `/usr/bin` on many
            continue
        parts = list(outside(folder, access.root))
        for hidden in _NOT_SYSTEM:
            parts = [q for p in parts for q in outside(p, hidden)]
        yield from parts


def _declared(step: Step) -> Iterator[str]:
    """Project paths of the inputs and the code, as they went into the key."""
    for name, text in step.components.items():
        kind, _, rest = name.partition(":")
        if kind == "input":
            yield from (path for path, _, _ in json.loads(text))
        elif kind == "code":
            yield rest


def _led_out(path: str) -> Iterator[str]:
    """What links in a folder lead to, where that is not in it: it counts as the folder's content."""
    if not os.path.isdir(path):  # noqa: PTH112
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            full = posixpath.join(folder, name)
            if os.path.islink(full):  # noqa: PTH114
                yield os.path.realpath(full)


def _environment(variables: Mapping[str, str], root: str) -> set[str]:
    """Folders of the programs that a command finds, and of what they are made of."""
    found: set[str] = set()
    home = os.path.realpath(variables.get("HOME") or "/nonexistent")
    for entry in variables.get("PATH", "").split(":"):
        if not entry.startswith("/"):
            continue
        places = [entry]
        if variables.get("VIRTUAL_ENV") and entry == f"{variables['VIRTUAL_ENV']}/bin":
            places.append(os.path.dirname(os.path.realpath(f"{entry}/python")))  # noqa: PTH120
        for place in places:
            above, name = os.path.split(place.rstrip("/"))
            if _below(os.path.realpath(place), root):
                # Scripts of the project are code, wherever PATH leads; an environment in it is one.
                found |= {above} if _is_environment(above, name) else set()
                continue
            whole = name in _PROGRAM_FOLDERS and os.path.realpath(above) not in ("/", home)
            found.add(above if whole else place)
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        found |= {p for p in variables.get(name, "").split(":") if p.startswith("/")}
    return found | {variables[n] for n in ("SSL_CERT_FILE", "SSL_CERT_DIR") if variables.get(n)}


def _is_environment(folder: str, programs: str) -> bool:
    marks = ("pyvenv.cfg", "conda-meta")
    return any(os.path.exists(f"{folder}/{m}") for m in marks) or (  # noqa: PTH110
        programs == ".bin" and posixpath.basename(folder) == "node_modules"
    )


def _own_folder(root: str, stage: Stage, path: str, owners: Owners, reads: Iterable[str]) -> str | None:
    """The folder of an output, absolute, where nothing is in it that the stage does not declare."""
    folder = posixpath.dirname(path.rstrip("/"))
    if not folder or folder.startswith("..") or folder.split("/")[0] in (STATE, ".git"):
        return None
    if not owners.alone(stage, folder):
        return None
    own = [o.path for o in stage.outputs] + [k.path for k in stage.keeps]
    allowed = {*reads, *(f"{root}/{p.rstrip('/')}" for p in own)}
    full = f"{root}/{folder}"
    return full if _holds_only(full, allowed) else None


def _holds_only(folder: str, allowed: set[str]) -> bool:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return False
    for entry in entries:
        if entry.path in allowed:
            continue
        if not entry.is_dir(follow_symlinks=False) or not _holds_only(entry.path, allowed):
            return False
    return True


def _is_folder(ws: Workspace, stage: Stage, output: Output) -> bool:
    """Whether the output will be a folder. Raises `Failure` where nobody can tell beforehand."""
    if output.type.kind == "dir" or output.path.endswith("/"):
        return True
    if output.type.kind not in _EITHER or posixpath.splitext(output.path)[1]:
        return False
    locked = ws.lock.stage(stage.id)
    before = locked.output(output.name) if locked else None
    if before is None:
        raise Failure(
            f"the sandbox cannot tell whether output `{output.name}` of `{stage.id}` (`{output.path}`) "
            "will be a file or a folder",
            help=f'give it a folder of its own, as in "{stage.name}/{output.path}", or declare it as `dir`',
        )
    return before.kind == "dir"


def _refuse_unless_there(root: str, stage: Stage, keep: Keep) -> None:
    if not os.path.lexists(f"{root}/{keep.path}"):
        raise Failure(
            f"the sandbox cannot open `{keep.path}` alone, which `{stage.id}` keeps and which is not there "
            "yet: other things are in its folder",
            help=f'give it a folder of its own, as in "{stage.name}/{keep.path}"',
        )


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _upwards(path: str) -> Iterator[str]:
    """The path and the folders above it."""
    while path not in ("", "/"):
        yield path
        path = posixpath.dirname(path)


def bytecode_source(path: str) -> str:
    """The module that a file of Python's bytecode was made from; any other path as it is."""
    folder, name = posixpath.split(path)
    above, last = posixpath.split(folder)
    if last != "__pycache__" or not name.endswith(".pyc"):
        return path
    return f"{above}/{name.partition('.')[0]}.py"
