"""A DVC project as a draft."""

from __future__ import annotations

import posixpath
from pathlib import Path

from mlflowc.importing import yamltree
from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.dvcbuild import Builder, Built
from mlflowc.importing.dvcfiles import DvcFiles
from mlflowc.importing.dvcread import RawProject, Reader
from mlflowc.importing.dvcreport import Reporter
from mlflowc.importing.dvcvalues import Values
from mlflowc.importing.paramset import ParamSet


def read(root: Path, file: str, params: ParamSet, coverage: Coverage) -> tuple[RawProject, Built]:
    """What the `dvc.yaml` at `file` (relative to the project folder `root`) says, and the draft of it.

    Raises Failure, with the place, for what DVC would not take either.
    """
    files = DvcFiles(root, posixpath.dirname(file))
    project = Reader(file, Values(root).read, coverage).read(
        yamltree.load(file, files.text(file), named=False)
    )
    section = project.sections.get("params")
    built = Builder(project, files, params, coverage).build()
    for node in section.items if section is not None else []:
        if node.text is not None:
            path = posixpath.normpath(posixpath.join(project.folder, node.text))
            reason = params.reason(path)
            if reason:
                coverage.left("params", node.place, f"`{path}`: {reason}", "declare it by hand")
            else:
                coverage.carried("params", node.place, f"`{path}`")
    built.draft.params = params.files
    Reporter(project, built, coverage).add()
    return project, built


def left_behind(root: Path, file: str, coverage: Coverage) -> None:
    """Says what becomes of the `dvc.lock` beside the `dvc.yaml` `file` when no results are taken over."""
    files = DvcFiles(root, posixpath.dirname(file))
    if files.kind(files.lock_name) == "file":
        coverage.changed(
            "dvc.lock",
            Place(files.lock_name, 1),
            "its hashes are MD5: `mlpipe.lock` is written by the first run",
            "`mlpipec import --cache` takes over the results that it names, so that nothing runs again",
        )
