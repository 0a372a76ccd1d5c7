"""Commands of CI jobs as stages, where no dvc.yaml says which there are.

What a command reads and writes is what its script names, and the files that its words name. It is a
beginning:
the coverage report says to look at it.
"""

from __future__ import annotations

import ast
import posixpath
import re

from mlflowc.importing import shellplace
from mlflowc.importing.ci import Job, Line, words
from mlflowc.importing.coverage import Coverage
from mlflowc.importing.draft import (
    DataDraft,
    DataUse,
    InputDraft,
    OutputDraft,
    PathUse,
    Ref,
    Source,
    StageDraft,
    free,
    identifier,
)
from mlflowc.importing.dvcbuild import Built
from mlflowc.importing.dvccommand import host_variables
from mlflowc.importing.dvcfiles import DvcFiles
from mlflowc.importing.literals import quoted
from mlflowc.importing.templating import Origin, Piece, Text
from mlflowc.starter.detect import Uses

PROGRAMS = re.compile(
    r"(?:.*/)?(?:python[\d.]*|pytest|papermill|jupyter|accelerate|torchrun|deepspeed|Rscript|julia|bash|sh|make|\./.+)"
)
_SCRIPT = (".py", ".ipynb", ".sh", ".R", ".r", ".jl")
_WRITTEN = re.compile(r"(?<![<>&\d])>{1,2}\s*([\w./-]+)")
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_INPUT = re.compile(r"(?:github\.event\.)?inputs\.([\w-]+)")


class Stages:
    """Adds stages to a draft. A command that several jobs have is one stage."""

    def __init__(self, built: Built, files: DvcFiles, coverage: Coverage) -> None:
        self._built, self._files, self._coverage = built, files, coverage
        self._known: dict[str, int] = {}
        self._data: dict[str, str] = {}

    def add(self, job: Job, line: Line, text: str, inputs: dict[str, str]) -> str | None:
        """The stage of a command; its name. `inputs` maps the workflow's inputs to parameters."""
        if text in self._known:
            return self._built.draft.stages[self._known[text]].name
        pieces = self._pieces(line, text, inputs)
        if pieces is None:
            return None
        script = next((w for w in words(text) if w.endswith(_SCRIPT)), "")
        base = identifier(posixpath.splitext(posixpath.basename(script or self._title(text)))[0], "step")
        stage = StageDraft(free(base, self._built.taken), base)
        names = {"params", "stage"}
        paths: dict[str, str] = {}
        reads, writes = self._uses(script)
        writes += [
            posixpath.normpath(p) for p in _WRITTEN.findall(text) if not p.startswith(("/", "~", "..", "$"))
        ]
        for path in writes:
            self.write(len(self._built.draft.stages), stage, path, names, paths)
        for path in dict.fromkeys([*reads, *(w for w in words(text) if "/" in w or "." in w)]):
            self._read(stage, path, names, paths)
        self._finish(job, line, stage, pieces, paths, inputs)
        self._known[text] = len(self._built.draft.stages)
        self._built.draft.stages.append(stage)
        self._coverage.changed(
            "run",
            line.place,
            f"`{text}` is the stage `{stage.name}`: it runs when its code, inputs or parameters change",
            "see that it names all that it reads and writes"
            if stage.outputs
            else "name the files that it writes: `out`",
        )
        return stage.name

    def adopt(self, path: str, name: str | None) -> Ref | None:
        """The output that is the file `path`: what a stage says it writes; else the stage `name` is
        taken for it.
        """
        path = posixpath.normpath(path)
        known = self._built.outs.get(path)
        stages = self._built.draft.stages
        index = next((n for n, s in enumerate(stages) if s.name == name), None)
        if known is not None or index is None or path.startswith(("/", "..", "~")) or "$" in path:
            return known
        if self._files.kind(path) != "missing":
            return None
        stage = stages[index]
        names = {"params", "stage", *(i.name for i in stage.inputs), *(o.name for o in stage.outputs)}
        self.write(index, stage, path, names, {})
        return self._built.outs[path]

    def write(self, index: int, stage: StageDraft, path: str, names: set[str], paths: dict[str, str]) -> None:
        """Adds an output, unless it lies where another does."""
        clash = any(
            path == p or path.startswith(p + "/") or p.startswith(path + "/") for p in self._built.outs
        )
        if clash or self._files.kind(path) == "dir" or path in self._data:
            return
        name = free(identifier(posixpath.basename(path).partition(".")[0], "result"), names)
        stage.outputs.append(OutputDraft(name, (Piece(path),)))
        self._built.outs[path] = Ref(index, name)
        paths[path] = name

    def _read(self, stage: StageDraft, path: str, names: set[str], paths: dict[str, str]) -> None:
        if (
            path.endswith(_SCRIPT)
            or path in paths
            or path.startswith(("/", "-", "~", ".."))
            or not path.strip("./")
        ):
            return
        path = posixpath.normpath(path)
        made = self._built.outs.get(path)
        kind = self._files.kind(path)
        if made is None and kind == "missing":
            return
        source: Source
        if made is not None:
            source, base = made, made.output
        elif kind == "dir":
            source, base = PathUse(path), identifier(posixpath.basename(path), "input")
        else:
            source = DataUse(self._datum(path))
            base = source.data
        if any(i.sources == (source,) for i in stage.inputs):
            return
        name = free(base, names)
        stage.inputs.append(InputDraft(name, (source,)))
        paths[path] = name

    def _datum(self, path: str) -> str:
        if path not in self._data:
            self._data[path] = free(
                identifier(posixpath.basename(path).partition(".")[0], "data"), self._built.taken
            )
            self._built.draft.data[self._data[path]] = DataDraft(quoted(path))
        return self._data[path]

    def _finish(
        self,
        job: Job,
        line: Line,
        stage: StageDraft,
        pieces: Text,
        paths: dict[str, str],
        inputs: dict[str, str],
    ) -> None:
        def named(origin: Origin) -> str | None:
            if inputs[origin.key] not in stage.params:
                stage.params.append(inputs[origin.key])
            return f"params.{inputs[origin.key]}"

        stage.commands = stage.symbolic = [shellplace.place(pieces, paths, named).command]
        text = "".join(p.text for p in pieces)
        secrets = {*job.secrets, *line.secrets}
        stage.secrets = sorted(secrets)
        variables = [v for v in host_variables(text) if v not in secrets and v not in job.vars]
        if variables:
            stage.env = "host"
            self._built.draft.passed.update(variables)
        self._built.draft.env.vars.update(line.vars)

    def _pieces(self, line: Line, text: str, inputs: dict[str, str]) -> Text | None:
        pieces: list[Piece] = []
        at = 0
        for match in _EXPRESSION.finditer(text):
            wanted = _INPUT.fullmatch(match[1])
            if wanted is None or wanted[1] not in inputs:
                self._coverage.left(
                    "run",
                    line.place,
                    f"`{text}` has the expression `{match[0]}`",
                    "write what it stands for, as a stage",
                )
                return None
            pieces.append(Piece(text[at : match.start()]))
            # The value is not known here; whatever it is, it is a placeholder in the end.
            pieces.append(Piece("0", Origin("inputs", wanted[1], line.place), 0))
            at = match.end()
        pieces.append(Piece(text[at:]))
        return tuple(p for p in pieces if p.text)

    def _title(self, text: str) -> str:
        said = words(text)
        program = posixpath.basename(said[0]) if said else "step"
        after = [w for w in said[1:] if not w.startswith("-")]
        if program.startswith("python") and "-m" in said[1:-1]:
            return said[said.index("-m") + 1].rpartition(".")[2]
        return f"{program}_{after[0]}" if program == "make" and after else program

    def _uses(self, script: str) -> tuple[list[str], list[str]]:
        if not script.endswith(".py") or self._files.kind(script) != "file":
            return [], []
        try:
            uses = Uses(ast.parse((self._files.root / script).read_bytes()))
        except (OSError, SyntaxError, ValueError, RecursionError):
            return [], []
        params = ("params.yaml", "params.yml", "params.toml", "params.json")
        return [p for p in uses.reads if p not in params], [posixpath.normpath(p) for p in uses.writes]
