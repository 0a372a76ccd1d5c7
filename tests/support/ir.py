"""Hand-made IR values for tests that start behind the compiler."""

from __future__ import annotations

from dataclasses import replace

from mlflowc.ir.model import (
    Action,
    Binary,
    Column,
    Env,
    Event,
    EventInput,
    FileType,
    Gate,
    Gpu,
    Input,
    Metric,
    Number,
    Output,
    Param,
    PathRef,
    Pipeline,
    Place,
    Report,
    ReportItem,
    Requirement,
    Runner,
    ScalarType,
    Slot,
    Stage,
    StageOutput,
)

CSV = FileType("csv")
FILE = FileType("file")
METRICS = FileType("metrics", columns=(Column("accuracy", ScalarType("float")),))
INT = ScalarType("int")


def place(line: int = 1, column: int = 1, file: str = "pipeline.mlpipe") -> Place:
    """A place in the source."""
    return Place(file, line, column)


def reads(*refs: str) -> tuple[Input, ...]:
    """Inputs by reference: `load.raw` is a stage's output, `a/b.csv` a file of the repository."""
    inputs = []
    for ref in refs:
        stage, dot, output = ref.rpartition(".")
        if "/" in ref or not dot:
            inputs.append(Input(ref.rpartition("/")[2].partition(".")[0], FILE, (PathRef(ref),)))
        else:
            inputs.append(Input(output, FILE, (StageOutput(stage, output),)))
    return tuple(inputs)


def stage(id: str, *inputs: str, outputs: tuple[str, ...] = ("out",), **fields: object) -> Stage:
    """A stage that copies its inputs' names into its outputs (`out/<id>/<output>`)."""
    safe = id.replace("[", "-").replace("]", "").replace(",", "-")
    outs = tuple(Output(o, METRICS if o == "scores" else FILE, f"out/{safe}/{o}") for o in outputs)
    command = ("echo ", f"{safe} > ", Slot("output", outputs[0]))
    return replace(
        Stage(id, id.partition("[")[0], place(), reads(*inputs), outputs=outs, commands=(command,)),
        **fields,  # type: ignore[arg-type]
    )


def event(kind: str, *run: str, id: str = "", **fields: object) -> Event:
    """An event that runs `run`."""
    return replace(Event(id or kind.replace("_", "-"), kind, place(), run), **fields)  # type: ignore[arg-type]


def pipeline(*stages: Stage, name: str = "demo", **fields: object) -> Pipeline:
    """A pipeline of those stages."""
    base = Pipeline(name, 1, "pipeline.mlpipe", ("pipeline.mlpipe",), stages=stages)
    return replace(base, **fields)  # type: ignore[arg-type]


def gate(name: str, stage: str) -> Gate:
    """`require STAGE.scores.accuracy >= 0.8`."""
    expr = Binary(">=", Metric((stage,), "scores", "accuracy"), Number(0.8))
    requirement = Requirement(expr, f"{stage}.scores.accuracy >= 0.8", place())
    return Gate(name, place(), (requirement,), (stage,))


def report(name: str, stage: str) -> Report:
    """The metrics of a stage against `main`."""
    item = ReportItem("metrics", (StageOutput(stage, "scores"),), vs="main")
    return Report(name, place(), (item,), (stage,))


def digits(*, gpu: bool = True, name: str = "digits") -> Pipeline:
    """A training project: `load → prepare → features → train → evaluate`, `train` on a GPU if asked."""
    runner = Runner(
        "a10g",
        place(8),
        gpu=Gpu(1, "A10G"),
        timeout=8 * 3600,
        labels=(
            ("github", ("self-hosted", "gpu")),
            ("gitlab", ("gpu",)),
            ("bitbucket", ("self.hosted", "linux", "gpu")),
        ),
    )
    env = Env("py", place(4), python="3.11", requirements="requirements.txt")
    stages = (
        stage("load", "src/load.py", outputs=("raw",), env="py"),
        stage("prepare", "load.raw", "src/prepare.py", outputs=("train", "test"), env="py"),
        stage("features", "prepare.train", outputs=("table",), env="py"),
        stage(
            "train",
            "features.table",
            outputs=("model", "curve"),
            env="py",
            runner="a10g" if gpu else None,
            params=("train.epochs", "train.lr"),
            retry=2,
        ),
        stage("evaluate", "train.model", "prepare.test", outputs=("scores", "confusion"), env="py"),
    )
    publish = Action(
        "publish",
        place(60),
        reads("train.model"),
        env="py",
        secrets=("HF_TOKEN",),
        approve="production",
        commands=(("echo publish ", Slot("input", "model")),),
    )
    return pipeline(
        *stages,
        name=name,
        params=(
            Param("train.epochs", INT, 10, "params.yaml"),
            Param("train.lr", ScalarType("float"), 0.1, "params.yaml"),
        ),
        envs=(env,),
        runners=(runner,),
        gates=(gate("quality", "evaluate"),),
        reports=(report("review", "evaluate"),),
        actions=(publish,),
        events=(
            event("pull_request", "quality", "review", with_params=(("train.epochs", 3),)),
            event("push", "quality", "publish", id="push-main", pattern="main"),
            event("schedule", "train", "review", id="schedule-1", cron="17 3 * * *", zone="Europe/Paris"),
            event("manual", "train", "review", inputs=(EventInput("train.epochs", INT, 10),)),
        ),
    )
