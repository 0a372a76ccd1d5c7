"""The line of the pipeline file that would declare what a stage was seen to read."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlflowc.ir.model import Pipeline, Place, Stage
from mlflowc.runtime import targets
from mlflowc.runtime.sandbox.model import Finding
from mlflowc.syntax.template import RESERVED, TOGETHER

# From so many files of one folder on, the folder is what a stage reads.
_MANY = 4


@dataclass(frozen=True, slots=True)
class Mend:
    """What a stage touched undeclared, in one go: `paths` (one, or those of a folder) of all its instances.

    `line` declares them; empty where no `in` can, and then `help` says why and what to do. `stage` is the
    stage's declared name, `place` where it is declared.
    """

    stage: str
    place: Place
    act: str
    paths: tuple[str, ...]
    line: str = ""
    help: str = ""


def mends(pipeline: Pipeline, findings: Iterable[Finding]) -> list[Mend]:
    """All that is to be mended, by stage in the pipeline's order; equal lines of instances are one."""
    stages = {s.id: s for s in pipeline.stages}
    by_stage: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.stage in stages:
            by_stage.setdefault(finding.stage, []).append(finding)
    found: dict[tuple[str, str, str, str], Mend] = {}
    names = _Names()
    for stage in pipeline.stages:
        for act, folder, paths in _grouped(pipeline, by_stage.get(stage.id, ())):
            mend = _mend(pipeline, stage, act, folder, paths, names)
            same = (stage.name, act, mend.line, mend.help if not mend.line else "")
            if not mend.line:
                same = (*same[:3], mend.help + "\n".join(paths))
            before = found.get(same)
            merged = tuple(dict.fromkeys((*before.paths, *paths))) if before else mend.paths
            found[same] = Mend(mend.stage, mend.place, act, merged, mend.line, mend.help)
    return list(found.values())


def _grouped(pipeline: Pipeline, findings: Iterable[Finding]) -> list[tuple[str, str, tuple[str, ...]]]:
    """`(act, folder, paths)`: `folder` is empty for a single path."""
    folders: dict[str, list[str]] = {}
    single: list[tuple[str, str]] = []
    for f in findings:
        folder = posixpath.dirname(f.path)
        if f.act == "read" and not f.outside and folder and not _made_in(pipeline, folder):
            folders.setdefault(folder, []).append(f.path)
        else:
            single.append((f.act, f.path))
    groups: list[tuple[str, str, tuple[str, ...]]] = []
    for folder, paths in folders.items():
        if len(paths) >= _MANY:
            groups.append(("read", folder, tuple(paths)))
        else:
            groups += [("read", "", (p,)) for p in paths]
    return groups + [(act, "", (path,)) for act, path in single]


def _made_in(pipeline: Pipeline, folder: str) -> bool:
    """Whether a stage writes in that folder, or makes it, or a folder around it."""
    made = [o.path.rstrip("/") for s in pipeline.stages for o in s.outputs]
    made += [k.path.rstrip("/") for s in pipeline.stages for k in s.keeps]
    return any(_below(m, folder) or _below(folder, m) for m in made)


def _mend(
    pipeline: Pipeline, stage: Stage, act: str, folder: str, paths: tuple[str, ...], names: _Names
) -> Mend:
    path = folder or paths[0]
    line = help = ""
    if act == "write":
        help = "a stage may write its outputs, what it keeps, and `$TMPDIR`: declare it as `out` or `keep`"
    elif path.startswith("/"):
        help = "it is outside of the project: bring it in, or name it as `data`; for settings, use `env`"
    elif path.split("/")[0] == ".git":
        help = "the repository's history is no input: pass what is needed as a parameter"
    else:
        line, help = _line(pipeline, stage, path, names)
    return Mend(stage.name, stage.place, act, paths, line, help)


def _line(pipeline: Pipeline, stage: Stage, path: str, names: _Names) -> tuple[str, str]:
    for other in pipeline.stages:
        for output in other.outputs:
            if not _below(path, output.path.rstrip("/")):
                continue
            if stage.id in {s.id for s in targets.closure(pipeline, (other.id,))}:
                return "", f"`{other.id}` makes it, and itself depends on `{stage.id}`: that is a circle"
            source = f"{_reference(other)}.{output.name}"
            return f"in {names.free(stage, source, output.name)} = {source}", ""
    for data in pipeline.data:
        declared = str(dict(data.args).get("path", "")).rstrip("/") if data.source == "path" else ""
        if declared and _below(path, declared):
            name = names.free(stage, data.name, data.name)
            return (f"in {name}" if name == data.name else f"in {name} = {data.name}"), ""
    shown = path
    for variable, value in stage.each:
        if isinstance(value, str) and len(value) > 1:
            shown = re.sub(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", f"{{{{{variable}}}}}", shown)
    line = f"in {names.free(stage, shown, _word(path if shown == path else shown))} = {_quoted(shown)}"
    if path in {p.file for p in pipeline.params}:
        # As an input all of it would count, and every change of a parameter would run the stage.
        return "", (
            "it holds parameters: declare `param NAME` in the stage and pass `{{params.NAME}}`, so that "
            f"others do not count; where all of them count, `{line}`"
        )
    return line, ""


class _Names:
    """Names for new inputs: one that the stage has not, and the same for all its instances."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._taken: dict[str, set[str]] = {}

    def free(self, stage: Stage, source: str, wish: str) -> str:
        """A name for the input `source` of the stage."""
        if (stage.name, source) in self._given:
            return self._given[stage.name, source]
        taken = self._taken.setdefault(stage.name, set(RESERVED | TOGETHER))
        taken |= {i.name for i in stage.inputs} | {o.name for o in stage.outputs}
        taken |= {k.name for k in stage.keeps} | {v for v, _ in stage.each}
        if wish in RESERVED | TOGETHER:
            wish = f"{wish}_file"
        name, number = wish, 2
        while name in taken:
            name, number = f"{wish}_{number}", number + 1
        taken.add(name)
        self._given[stage.name, source] = name
        return name


def _reference(stage: Stage) -> str:
    return stage.name + "".join(f"[{json.dumps(value, ensure_ascii=False)}]" for _, value in stage.each)


def _word(path: str) -> str:
    """A name made of a path: its last part without ending and placeholders, or the folder's."""
    for part in reversed(re.sub(r"\{\{.*?\}\}", "", path).split("/")):
        name = re.sub(r"\W+", "_", part.lstrip(".").partition(".")[0], flags=re.ASCII).strip("_").lower()
        if name:
            return f"file_{name}" if name[0].isdigit() else name
    return "file"


def _quoted(path: str) -> str:
    """A string of the language; braces of a path itself would need more, and paths have none."""
    return json.dumps(path, ensure_ascii=False)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")
