"""What DVC tracks in a repository, found by path: in `.dvc` files and in `dvc.lock`."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Protocol

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass
from mlflowc.resolve import dvcfiles
from mlflowc.resolve.dvcfiles import ENDING, LOCK, Tracked
from mlflowc.spell import nearest


class Files(Protocol):
    """The files of a repository; paths are relative to its top folder. `label` names it in messages."""

    @property
    def label(self) -> str: ...

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is none."""
        ...

    def names(self) -> list[str]:
        """The paths of all files."""
        ...


@dataclass(frozen=True, slots=True)
class Hit:
    """What a path is: an output that DVC tracks, or `inner` in a folder that it tracks."""

    tracked: Tracked
    inner: str = ""


def text_of(files: Files, path: str) -> str | None:
    """A file's text, None where there is none. Raises `Failure` where it is no text."""
    data = files.read(path)
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        raise Failure(f"`{path}` is not UTF-8", help=f"git checkout -- {path}") from None


def in_file(files: Files, file: str, out: str | None) -> Hit:
    """The output that a `.dvc` file or a `dvc.lock` names: its only one, or `out`. Raises `Failure`."""
    outs = outputs(files, file)
    if outs is None:
        raise Failure(
            f"there is no `{file}` in {files.label}", help="run `dvc add`, and commit what it writes"
        )
    if out is None:
        if len(outs) == 1:
            return Hit(outs[0])
        names = ", ".join(f'"{o.path}"' for o in outs[:8])
        raise Failure(
            f"`{file}` has {len(outs)} outputs, and it is not said which",
            help=f"add `out = …`, one of {names}",
        )
    hit = _among(outs, posixpath.normpath(out))
    if hit is not None:
        return hit
    guess = nearest(out, [o.path for o in outs])
    names = ", ".join(f"`{o.path}`" for o in outs[:8])
    raise Failure(
        f"`{file}` tracks no `{out}`",
        help=f"did you mean `{guess}`?" if guess else f"it has {names or 'nothing'}",
    )


def find(files: Files, path: str, *, everywhere: bool) -> Hit | None:
    """What tracks `path`, or a folder around it: a `.dvc` file or a `dvc.lock`, in its folder or further up;
    with `everywhere`, any of the repository."""
    at = posixpath.normpath(path)
    folders = [posixpath.dirname(at)]
    while folders[-1]:
        folders.append(posixpath.dirname(folders[-1]))
    near = [f"{p}{ENDING}" for p in (at, *folders) if p]
    near += [posixpath.join(folder, LOCK) for folder in folders]
    for file in near:
        hit = _among(outputs(files, file) or (), at)
        if hit is not None:
            return hit
    if everywhere:
        return _among(tracked(files), at)
    return None


def tracked(files: Files) -> list[Tracked]:
    """All that is tracked anywhere in the repository."""
    found: list[Tracked] = []
    for name in files.names():
        if name.endswith(ENDING) or posixpath.basename(name) == LOCK:
            found += outputs(files, name) or ()
    return found


def outputs(files: Files, file: str) -> tuple[Tracked, ...] | None:
    """The outputs in a `.dvc` file or a `dvc.lock`; None where there is no such file."""
    text = text_of(files, file)
    if text is None:
        return None
    if file.endswith(ENDING):
        return dvcfiles.read_pointer(text, file)
    beside = posixpath.join(posixpath.dirname(file), "dvc.yaml")
    pipeline = text_of(files, beside)
    folders = dvcfiles.read_folders(pipeline, beside) if pipeline is not None else {}
    return tuple(out for _, outs in dvcfiles.read_stages(text, file, folders) for out in outs)


def _among(outs: Sequence[Tracked], path: str) -> Hit | None:
    for out in outs:
        if out.path == path:
            return Hit(out)
        if out.is_folder and path.startswith(out.path + "/"):
            return Hit(out, path.removeprefix(out.path + "/"))
    return None


def is_file_of_dvc(path: str) -> bool:
    """Whether a path is one of DVC's own files, that say what is tracked."""
    return path.endswith(ENDING) or posixpath.basename(path) == LOCK
