"""The jobs of a sweep: which there are, and each on a machine of its own, as a CI service runs them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from mlflowc import project
from mlflowc.jobs.lower import lower
from mlflowc.jobs.model import Workflow
from tests.support.project import Checkout, Done, new

PIPELINE = """\
mlpipe 1
pipeline demo
param train.lr = 0.1
runner gpu {
  gpu = gpu(1), timeout = 4h
  github = ["gpu"], gitlab = ["gpu"], bitbucket = ["self.hosted", "gpu"]
}
stage prepare {
  in  source = "source.txt"
  out clean  = "out/clean.txt"
  run = "sort {{source}} > {{clean}}"
}
stage train {
  in    data = prepare.clean
  param train.lr
  out   model = "out/model.txt"
  out   scores: metrics { auc: float } = "out/scores.json"
  runner = gpu
  run   = "cat {{data}} > {{model}}; python train.py {{params.train.lr}} {{model}} {{scores}}"
}
SWEEP
gate quality { require tune.best.scores.auc >= 0.5 }
on manual { run = [tune, quality] }
"""
TRAIN = """\
import json, sys
lr, model, scores = float(sys.argv[1]), *sys.argv[2:]
print("WORKING", sys.argv[1])
if lr > 0.5:
    sys.exit("diverged")
open(model, "a").write(f"{lr}\\n")
json.dump({"auc": 1 - abs(lr - 0.2)}, open(scores, "w"))
"""
GRID = """\
sweep tune over train {
  vary train.lr in [0.1, 0.2, 0.3, 0.4, 0.9]
  parallel = 2
  goal     = maximize(scores.auc)
}
"""
TPE = """\
sweep tune over train {
  vary train.lr in 0.01..0.6
  search   = tpe(trials = 5, seed = 1, startup = 2)
  parallel = 2
  goal     = maximize(scores.auc)
}
"""


class Machines:
    """A fresh checkout for each job; bundles go from one to the next."""

    def __init__(self, folder: Path, sweep: str) -> None:
        self._folder = folder
        self._count = 0
        self.repository = new(folder / "repository", PIPELINE.replace("SWEEP", sweep))
        self.repository.write({"train.py": TRAIN})
        self.repository.commit()
        self.repository.mlpipec("check")
        self.at: dict[str, Checkout] = {}

    @property
    def workflow(self) -> Workflow:
        pipeline = project.load(str(self.repository.path / "pipeline.mlpipe")).pipeline
        return lower(pipeline, pipeline.events[0])

    def job(self, id: str, code: int = 0, without: tuple[str, ...] = ()) -> Done:
        found = self.workflow.job(id)
        assert found is not None
        self._count += 1
        machine = self.repository.clone(self._folder / f"{self._count}-{id}")
        for other in found.imports:
            if other not in without:
                machine.take(self.at[other], other)
        self.at[id] = machine
        return machine.mlpipec("exec", id, "--on", "manual", code=code)


def worked(done: Done) -> list[str]:
    return re.findall(r"WORKING (\S+)", done.out)


def table(machine: Checkout) -> list[list[str]]:
    with (machine.path / "sweeps/tune/trials.csv").open() as file:
        return [[r["trial"], r["state"], r["lr"], r["auc"]] for r in csv.DictReader(file)]


def test_the_jobs_of_a_grid(tmp_path: Path) -> None:
    jobs = {j.id: j for j in Machines(tmp_path, GRID).workflow.jobs}
    assert list(jobs) == ["plan", "prepare", "tune-1", "tune-2", "tune", "check"]
    assert jobs["tune-1"].imports == ("prepare",)
    assert jobs["tune-1"].runner == "gpu" and jobs["tune-1"].skippable and jobs["tune-1"].trusted
    assert jobs["tune"].imports == ("prepare", "tune-1", "tune-2")
    assert jobs["tune"].runner is None and not jobs["tune"].skippable
    assert jobs["check"].imports == ("tune",)


def test_the_jobs_of_rounds_wait_for_the_round_before(tmp_path: Path) -> None:
    jobs = {j.id: j for j in Machines(tmp_path, TPE).workflow.jobs}
    ids = ["tune-1-1", "tune-1-2", "tune-2-1", "tune-2-2", "tune-3-1", "tune"]
    assert list(jobs) == ["plan", "prepare", *ids, "check"]
    assert jobs["tune-2-1"].imports == ("prepare", "tune-1-1", "tune-1-2")
    assert jobs["tune-3-1"].imports == ("prepare", "tune-2-1", "tune-2-2")
    assert jobs["tune"].imports == ("prepare", "tune-3-1")


def test_one_trial_at_a_time_is_one_job(tmp_path: Path) -> None:
    workflow = Machines(tmp_path, TPE.replace("parallel = 2", "parallel = 1")).workflow
    assert [j.id for j in workflow.jobs] == ["plan", "prepare", "tune", "check"]
    assert workflow.jobs[2].runner == "gpu"


def test_a_grid_from_job_to_job(tmp_path: Path) -> None:
    machines = Machines(tmp_path, GRID)
    machines.job("prepare")
    assert worked(machines.job("tune-1")) == ["0.1", "0.3", "0.9"]
    second = machines.job("tune-2")
    assert worked(second) == ["0.2", "0.4"] and "2 trials: 2 ran" in second.out
    done = machines.job("tune")
    assert worked(done) == [], "what failed in its job is not tried again in another"
    assert "trial 2 of 5 is the best, 1 failed" in done.out
    assert table(machines.at["tune"]) == [
        ["1", "ok", "0.1", "0.9"],
        ["2", "ok", "0.2", "1.0"],
        ["3", "ok", "0.3", "0.9"],
        ["4", "ok", "0.4", "0.8"],
        ["5", "failed", "0.9", ""],
    ]
    assert machines.at["tune"].read("sweeps/tune/best/model.txt") == "a\nb\n0.2\n"
    assert "gate quality: 1 of 1 hold" in machines.job("check").out


def test_a_job_whose_bundle_is_cached_tries_nothing_again_but_what_failed(tmp_path: Path) -> None:
    machines = Machines(tmp_path, GRID)
    machines.job("prepare")
    machines.job("tune-1")
    before = machines.at["tune-1"]
    again = machines.repository.clone(tmp_path / "again")
    again.take(machines.at["prepare"], "prepare")
    again.take(before, "tune-1")
    done = again.mlpipec("exec", "tune-1", "--on", "manual")
    assert worked(done) == ["0.9"]
    assert "3 trials: 2 known, 1 failed" in done.out
    planned = machines.repository.clone(tmp_path / "plan")
    planned.take(before, "tune-1")
    out = tmp_path / "out.txt"
    planned.mlpipec("exec", "plan", "--on", "manual", "--outputs", str(out), "--format", "github")
    assert "run-tune-1=false" in out.read_text() and "run-tune-2=true" in out.read_text()


def test_a_job_that_never_ran_is_named(tmp_path: Path) -> None:
    machines = Machines(tmp_path, GRID)
    machines.job("prepare")
    machines.job("tune-1")
    done = machines.job("tune", code=1, without=("tune-2",))
    assert "trial 2 of `tune` has no result here" in done.err and "Traceback" not in done.err


def test_rounds_come_out_as_on_one_machine(tmp_path: Path) -> None:
    machines = Machines(tmp_path, TPE)
    ran = []
    for job in machines.workflow.jobs[1:-1]:
        ran += worked(machines.job(job.id))
    assert "gate quality: 1 of 1 hold" in machines.job("check").out
    together = table(machines.at["tune"])
    assert len(together) == 5 and len(ran) == 5
    alone = machines.repository.clone(tmp_path / "alone")
    alone.mlpipec("run", "tune")
    assert table(alone) == together
    best = json.loads(alone.read("sweeps/tune/params.json"))
    assert best == json.loads(machines.at["tune"].read("sweeps/tune/params.json"))


def test_a_round_without_the_one_before_says_what_is_missing(tmp_path: Path) -> None:
    machines = Machines(tmp_path, TPE)
    for job in ("prepare", "tune-1-1", "tune-1-2"):
        machines.job(job)
    done = machines.job("tune-2-1", code=1, without=("tune-1-2",))
    assert "trial 2 of `tune` has no result here" in done.err
    assert worked(done) == []


def test_all_jobs_of_the_event_here_by_make(tmp_path: Path) -> None:
    made = Machines(tmp_path, GRID).repository
    made.mlpipec("build", "--target", "make")
    text = made.read("Makefile")
    assert "exec tune-1 --on manual" in text and "exec tune-2 --on manual" in text
    assert re.search(r"^tune: prepare", text, re.M)


@pytest.mark.parametrize("target", ["github", "gitlab", "bitbucket"])
def test_every_service_has_the_jobs(tmp_path: Path, target: str) -> None:
    made = Machines(tmp_path, TPE).repository
    text = made.mlpipec("build", "--target", target, "--stdout").out
    for job in ("tune-1-1", "tune-1-2", "tune-2-1", "tune-3-1"):
        assert f"exec {job} --on manual" in text
    assert "[sweep]" in text, "what chooses the trials is installed"
    made.replace("pipeline.mlpipe", TPE, GRID)
    assert "[sweep]" not in made.mlpipec("build", "--target", target, "--stdout").out


def test_more_steps_than_bitbucket_takes(tmp_path: Path) -> None:
    many = GRID.replace("[0.1, 0.2, 0.3, 0.4, 0.9]", "0.1..0.9").replace(
        "parallel = 2", "search = random(trials = 150)\n  parallel = 120"
    )
    made = Machines(tmp_path, many).repository
    done = made.mlpipec("build", "--target", "bitbucket", code=1)
    assert "Bitbucket takes 100" in done.err + done.out
