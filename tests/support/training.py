"""A small training project that really runs, with a history: `main` has results, and a branch has others."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from pathlib import Path

from mlflowc.ir.model import (
    Binary,
    Column,
    Data,
    DataRef,
    FileType,
    Gate,
    Input,
    Metric,
    Number,
    Output,
    Param,
    Pipeline,
    Report,
    ReportItem,
    Requirement,
    ScalarType,
    Slot,
    Stage,
    StageOutput,
)
from mlflowc.runtime import execute
from mlflowc.runtime.plan import make_plan
from mlflowc.runtime.workspace import Workspace, open_workspace
from tests.support.ir import place

FLOAT, INT, STR = ScalarType("float"), ScalarType("int"), ScalarType("str")
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

TRAIN = """\
import json, math, random, sys
lr, seed = float(sys.argv[1]), int(sys.argv[2])
rng = random.Random(seed)
with open("out/loss.csv", "w") as f:
    f.write("epoch,loss,val_loss\\n")
    for n in range(1, 41):
        noise = rng.random() * 0.02
        f.write(f"{n},{0.06 + math.exp(-n * lr) + noise:.5f},{0.11 + math.exp(-n * lr * 0.9) + noise:.5f}\\n")
with open("out/confusion.csv", "w") as f:
    f.write("actual,predicted\\n")
    for n in range(600):
        actual = n % 6
        predicted = actual if rng.random() < 0.8 + lr / 2 else rng.randrange(6)
        f.write(f"{actual},{predicted}\\n")
with open("out/weights.csv", "w") as f:
    f.write("feature,importance\\n")
    for name in ("age", "income", "tenure", "support calls", "plan"):
        f.write(f"{name},{rng.random():.4f}\\n")
with open("out/residuals.csv", "w") as f:
    f.write("residual\\n" + "".join(f"{rng.gauss(0, 1 + lr):.4f}\\n" for _ in range(2000)))
with open("out/points.csv", "w") as f:
    f.write("confidence,error\\n")
    f.write("".join(f"{rng.random():.4f},{rng.random() ** 2:.4f}\\n" for _ in range(200)))
with open("out/scores.json", "w") as f:
    json.dump({"accuracy": round(0.8 + lr / 2, 4), "auc": round(0.9 + lr / 10, 4), "seconds": 1234}, f)
"""


def columns(**types: ScalarType) -> tuple[Column, ...]:
    """Columns by name."""
    return tuple(Column(n, t) for n, t in types.items())


def out(name: str, kind: str, path: str, **types: ScalarType) -> Output:
    """An output with its columns."""
    return Output(name, FileType(kind, columns(**types)), path)


TRAIN_STAGE = Stage(
    "train",
    "train",
    place(20),
    inputs=(Input("clean", FileType("csv"), (StageOutput("prepare", "clean"),)),),
    params=("train.lr", "train.seed"),
    outputs=(
        out("scores", "metrics", "out/scores.json", accuracy=FLOAT, auc=FLOAT, seconds=INT),
        out("curve", "csv", "out/loss.csv", epoch=INT, loss=FLOAT, val_loss=FLOAT),
        out("confusion", "csv", "out/confusion.csv", actual=STR, predicted=STR),
        out("weights", "csv", "out/weights.csv", feature=STR, importance=FLOAT),
        out("residuals", "csv", "out/residuals.csv"),
        out("points", "csv", "out/points.csv", confidence=FLOAT, error=FLOAT),
    ),
    commands=(("python3 train.py ", Slot("param", "train.lr"), " ", Slot("param", "train.seed")),),
)
PREPARE_STAGE = Stage(
    "prepare",
    "prepare",
    place(10),
    inputs=(Input("raw", FileType("csv"), (DataRef("raw"),)),),
    outputs=(out("clean", "csv", "out/clean.csv"), out("sample", "image", "out/sample.png")),
    commands=(("cp raw.csv out/clean.csv && cp pixel.png out/sample.png",),),
)


def ref(stage: str, output: str) -> tuple[StageOutput, ...]:
    """A reference to one output."""
    return (StageOutput(stage, output),)


REPORT = Report(
    "review",
    place(40),
    (
        ReportItem("text", template=("Trained on **", Slot("rows", "prepare.clean"), "** customers.")),
        ReportItem("metrics", ref("train", "scores"), vs="main"),
        ReportItem("params", vs="main"),
        ReportItem("plot", ref("train", "curve"), vs="main", options=(("title", "Learning curve"),)),
        ReportItem("plot", ref("train", "confusion"), options=(("title", "Confusion"),)),
        ReportItem("plot", ref("train", "weights"), vs="main", options=(("title", "What counts"),)),
        ReportItem("plot", ref("train", "residuals"), vs="main", options=(("title", "Residuals"),)),
        ReportItem("plot", ref("train", "points"), options=(("title", "Error"), ("kind", "scatter"))),
        ReportItem("image", ref("prepare", "sample"), options=(("title", "A sample"),)),
        ReportItem("stages"),
        ReportItem("data"),
    ),
    ("prepare", "train"),
)
GATE = Gate(
    "quality",
    place(30),
    (
        Requirement(
            Binary(">=", Metric(("train",), "scores", "accuracy"), Number(0.8)),
            "train.scores.accuracy >= 0.80",
            place(31),
        ),
        Requirement(
            Binary(
                ">=",
                Metric(("train",), "scores", "auc"),
                Binary("-", Metric(("train",), "scores", "auc", baseline="main"), Number(0.005)),
            ),
            'train.scores.auc >= baseline("main").train.scores.auc - 0.005',
            place(32),
            "AUC dropped",
        ),
    ),
    ("train",),
)


def pipeline(lr: float = 0.1) -> Pipeline:
    """The project's pipeline with that learning rate."""
    return Pipeline(
        "churn",
        1,
        "pipeline.mlpipe",
        ("pipeline.mlpipe",),
        params=(Param("train.lr", FLOAT, lr, "params.yaml"), Param("train.seed", INT, 7, "params.yaml")),
        data=(Data("raw", place(5), FileType("csv"), "path", (("path", "raw.csv"),)),),
        stages=(PREPARE_STAGE, TRAIN_STAGE),
        gates=(GATE,),
        reports=(REPORT,),
    )


def files(root: Path) -> None:
    """Writes the project's files."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "raw.csv").write_text("id,age\n" + "".join(f"{n},{20 + n % 50}\n" for n in range(1, 1235)))
    (root / "train.py").write_text(TRAIN)
    (root / "pixel.png").write_bytes(_PIXEL)
    (root / ".gitignore").write_text("out/\n.mlpipe/\n")


def run(root: Path, what: Pipeline) -> Workspace:
    """Runs everything; the workspace as it is then."""
    ws = open_workspace(root, what)
    ws.prepare()
    result = execute.run(ws, make_plan(ws, [s.id for s in what.stages]), execute.Options(jobs=2))
    assert all(s.outcome.good for s in result.stages), [s.message for s in result.stages]
    return ws


def git(root: Path, *args: str) -> str:
    """Runs git in the project; what it printed."""
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *args], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(root: Path, message: str) -> str:
    """Commits everything; the commit's hash."""
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", message)
    return git(root, "rev-parse", "HEAD")


def with_history(root: Path, *, before: float = 0.1, now: float = 0.15) -> Workspace:
    """`main` trained at `before`; the branch `faster` is checked out, its run at `now` is not committed."""
    files(root)
    git(root, "init", "-q", "-b", "main")
    run(root, pipeline(before)).close()
    commit(root, "first results")
    git(root, "checkout", "-q", "-b", "faster")
    return run(root, pipeline(now))


def reporting(what: Pipeline, *items: ReportItem, stages: tuple[str, ...] = ("prepare", "train")) -> Pipeline:
    """The pipeline with one report of those items."""
    return replace(what, reports=(Report("review", place(40), items, stages),))
