"""Which files are imported, into which, and the text that comes of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.importing import dvc, write
from mlflowc.importing.coverage import Coverage
from mlflowc.importing.dvcbuild import Built
from mlflowc.importing.dvcread import RawProject
from mlflowc.project import DEFAULT


@dataclass(frozen=True, slots=True)
class Plan:
    """`root` is the project folder, `target` the file to write, `dvc` and `workflows` what is imported,
    relative to
    the folder."""

    root: Path
    target: Path
    dvc: str | None
    workflows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """The text, and what it was made of where that was a DVC project."""

    text: str
    project: RawProject | None = None
    built: Built | None = None


def plan(files: tuple[str, ...], output: str | None) -> Plan:
    """What the arguments ask for. Raises Failure (usage) where they cannot be followed."""
    given = [Path(f) / "dvc.yaml" if Path(f).is_dir() else Path(f) for f in files]
    for path in given:
        if not path.is_file():
            raise Failure(
                f"there is no file `{path}`", help="name a dvc.yaml, or the files of a CI service", code=2
            )
    found = [p for p in given if p.name == "dvc.yaml"]
    workflows = [p for p in given if p.name != "dvc.yaml"]
    if len(found) > 1:
        raise Failure(
            "one dvc.yaml at a time", help="import each into a file of its own, and join them by hand", code=2
        )
    base = found[0].parent if found else Path.cwd()
    if not given and not Path("dvc.yaml").is_file():
        raise Failure(
            "this folder has no dvc.yaml",
            help="name the file to import, as in: mlpipec import path/to/dvc.yaml",
            code=2,
        )
    target = Path(output) if output else base / DEFAULT
    if target.is_dir():
        target = target / DEFAULT
    if target.suffix != ".mlpipe":
        raise Failure(f"`{target}` is no name of a pipeline file", help="it ends in .mlpipe", code=2)
    root = target.parent.resolve()
    own = found[0] if found else root / "dvc.yaml"
    relative = _relative(own, root) if own.is_file() else None
    return Plan(root, target, relative, tuple(_relative(p, root) for p in workflows))


def _relative(path: Path, root: Path) -> str:
    made = Path(os.path.relpath(path.resolve(), root)).as_posix()
    if made.startswith("../"):
        raise Failure(
            f"`{path}` lies outside of `{root}`", help="write the pipeline file beside it, or above", code=2
        )
    return made


def make(plan: Plan, coverage: Coverage) -> Made:
    """The text of the pipeline file. Raises Failure for files that cannot be understood."""
    assert plan.dvc is not None
    project, built = dvc.read(plan.root, plan.dvc, coverage)
    return Made(write.text(built.draft, plan.target.name), project, built)
