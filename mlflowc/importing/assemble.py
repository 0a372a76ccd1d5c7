"""Which files are imported, into which, and the text that comes of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.importing import dvc, github, gitlab, write, yamltree
from mlflowc.importing.ci import Job
from mlflowc.importing.cibuild import CiBuilder
from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.draft import Draft, identifier
from mlflowc.importing.dvcbuild import Built
from mlflowc.importing.dvcfiles import DvcFiles
from mlflowc.importing.dvcread import RawProject
from mlflowc.importing.paramset import ParamSet
from mlflowc.project import DEFAULT, read_text

_PARAMS = ("params.yaml", "params.yml", "params.toml", "params.json")


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
    base = found[0].parent if found else _top(workflows[0]) if workflows else Path()
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


def _top(workflow: Path) -> Path:
    """The folder that a CI file speaks of."""
    folder = workflow.parent
    return folder.parent.parent if folder.parts[-2:] == (".github", "workflows") else folder


def _relative(path: Path, root: Path) -> str:
    made = Path(os.path.relpath(path.resolve(), root)).as_posix()
    if made.startswith("../"):
        raise Failure(
            f"`{path}` lies outside of `{root}`", help="write the pipeline file beside it, or above", code=2
        )
    return made


def make(plan: Plan, coverage: Coverage) -> Made:
    """The text of the pipeline file. Raises Failure for files that cannot be understood."""
    params = ParamSet(lambda path: read_text(plan.root / path))
    project: RawProject | None = None
    files = DvcFiles(plan.root, "")
    if plan.dvc is not None:
        project, built = dvc.read(plan.root, plan.dvc, params, coverage)
    else:
        built = Built(Draft(identifier(plan.root.name, "project")))
        found = next((n for n in _PARAMS if files.kind(n) == "file"), None)
        if found is not None:
            params.reason(found)
    jobs = [job for path in plan.workflows for job in _jobs(files, path, coverage)]
    if jobs:
        CiBuilder(built, files, params, coverage, project is not None).add(jobs)
    built.draft.params = params.files
    if not built.draft.stages:
        raise Failure(
            "nothing here can become a stage",
            help="no `dvc repro` with a dvc.yaml beside it, and no `python …` was found;\n"
            "`mlpipec init` writes a starter",
        )
    return Made(write.text(built.draft, plan.target.name), project, built)


def _jobs(files: DvcFiles, path: str, coverage: Coverage) -> list[Job]:
    root = yamltree.load(path, files.text(path), named=False)
    if root is None or not isinstance(root.value, dict):
        raise yamltree.wrong(Place(path, 1), "this is neither a dvc.yaml nor a file of a CI service")
    if "gitlab" in path.rpartition("/")[2] or ("jobs" not in root.mapping and ".github/" not in path):
        return gitlab.Reader(coverage).read(root)
    return github.Reader(coverage).read(root)
