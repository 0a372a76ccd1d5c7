"""A small project in a folder, behind the compiler: stages as IR values, runs through the runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlflowc.ir.model import (
    Column,
    Env,
    FileType,
    GlobRef,
    Input,
    Output,
    Param,
    PathRef,
    Pipeline,
    ScalarType,
    Slot,
    Stage,
    StageOutput,
    Template,
    Value,
)
from mlflowc.runtime.events import Outcome, RunResult, Silent, StageResult
from mlflowc.runtime.execute import Options, run
from mlflowc.runtime.plan import Action, Plan, make_plan
from mlflowc.runtime.ports import Clock, FileSystem
from mlflowc.runtime.workspace import Workspace, open_workspace
from tests.support.ir import place

FILE = FileType("file")
DIR = FileType("dir")


def metrics(*fields: str) -> FileType:
    """A metrics type with fields of `float`, or as in `n:int`."""
    columns = [f.partition(":") for f in fields]
    return FileType("metrics", tuple(Column(n, ScalarType(t or "float")) for n, _, t in columns))


def template(text: str) -> Template:
    """`cat {i:data} > {o:out}` as a template; `i` input, `o` output, `p` param, `k` keep, `e` each."""
    kinds = {"i": "input", "o": "output", "p": "param", "k": "keep", "e": "each"}
    parts: list[str | Slot] = []
    while "{" in text:
        before, _, text = text.partition("{")
        inner, _, text = text.partition("}")
        parts += [before, Slot(kinds[inner[0]], inner[2:])]
    return tuple(p for p in [*parts, text] if p != "")


def stage(
    id: str,
    command: str,
    *,
    reads: dict[str, str] | None = None,
    writes: dict[str, str] | None = None,
    types: dict[str, FileType] | None = None,
    params: tuple[str, ...] = (),
    **fields: object,
) -> Stage:
    """`reads` maps names to `stage.output`, `./path` or `glob:pattern`; `writes` names to paths."""
    inputs = []
    for name, ref in (reads or {}).items():
        if ref.startswith("./"):
            inputs.append(Input(name, FILE, (PathRef(ref[2:]),)))
        elif ref.startswith("glob:"):
            inputs.append(Input(name, FILE, (GlobRef(ref[5:]),), many=True))
        else:
            made, _, output = ref.rpartition(".")
            inputs.append(Input(name, FILE, (StageOutput(made, output),)))
    outputs = tuple(Output(n, (types or {}).get(n, FILE), p) for n, p in (writes or {}).items())
    base = Stage(
        id,
        id.partition("[")[0],
        place(),
        tuple(inputs),
        params,
        outputs,
        commands=tuple(template(c) for c in command.split(" ;; ")),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


class Heard(Silent):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reasons: dict[str, str] = {}
        self.text = bytearray()
        self.notes: list[str] = []

    def started(self, stage: str, reason: str) -> None:
        """A command is about to run."""
        self.ran.append(stage)
        self.reasons[stage] = reason

    def output(self, stage: str, lines: bytes) -> None:
        """Lines of a command."""
        self.text += lines

    def note(self, stage: str, text: str) -> None:
        """A remark."""
        self.notes.append(text)


class QuickClock:
    """A clock whose waits end at once; `waits` are those of a pause between tries."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0
        self.waits: list[float] = []

    def now(self) -> float:
        """Moves on by a second with every look."""
        self.time += 1
        return self.time

    def monotonic(self) -> float:
        """As `now`."""
        return self.now()

    def wait(self, seconds: float, until: threading.Event) -> bool:
        """Notes the wait, and does not."""
        self.waits.append(seconds)
        return until.is_set()


@dataclass
class Lab:
    """The project at `root`. Every call opens the workspace anew, as the command line does."""

    root: Path
    stages: list[Stage] = field(default_factory=list)
    params: dict[str, Value] = field(default_factory=dict)
    envs: tuple[Env, ...] = ()
    heard: Heard = field(default_factory=Heard)
    fs: FileSystem | None = None
    clock: Clock | None = None

    def write(self, path: str, text: str) -> Path:
        """A file of the project."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def read(self, path: str) -> str:
        """The text of a file of the project."""
        return (self.root / path).read_text()

    def pipeline(self) -> Pipeline:
        """The pipeline as it is declared now."""
        params = tuple(Param(n, ScalarType(type(v).__name__), v) for n, v in self.params.items())
        return Pipeline("lab", 1, "lab.mlpipe", params=params, envs=self.envs, stages=tuple(self.stages))

    def open(self) -> Workspace:
        """Opened anew."""
        return open_workspace(self.root, self.pipeline(), fs=self.fs, clock=self.clock)

    def plan(self, *names: str, force: bool = False) -> Plan:
        """What a run would do."""
        ws = self.open()
        try:
            return make_plan(ws, names, force=force)
        finally:
            ws.close()

    def actions(self, *names: str) -> dict[str, Action]:
        """What a run would do, by stage."""
        return {s.stage.id: s.action for s in self.plan(*names).steps}

    def run(self, *names: str, force: bool = False, jobs: int = 2, keep_going: bool = False) -> RunResult:
        """Runs; what was heard is in `heard`, anew for each run."""
        self.heard = Heard()
        ws = self.open()
        try:
            plan = make_plan(ws, names, force=force)
            return run(ws, plan, Options(jobs, keep_going), self.heard)
        finally:
            ws.close()

    def outcomes(self, *names: str, force: bool = False, keep_going: bool = False) -> dict[str, Outcome]:
        """Runs, and says what became of each stage."""
        return {r.stage: r.outcome for r in self.run(*names, force=force, keep_going=keep_going).stages}

    def fails(self, stage: str) -> StageResult:
        """Runs, and gives the result of a stage that must have failed."""
        result = self.run().stage(stage)
        assert result is not None
        assert result.outcome is Outcome.FAILED, result
        return result

    def change(self, id: str, edit: Callable[[Stage], Stage]) -> None:
        """Replaces a stage."""
        self.stages = [edit(s) if s.id == id else s for s in self.stages]
