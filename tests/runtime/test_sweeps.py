"""Sweeps on a laptop: what is tried, what is kept apart, what is tried again, and what comes of it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.project import MLPIPEC, Checkout, Done, new

TRAIN = """\
import json, os, pathlib, sys, time

lr, depth = float(sys.argv[1]), int(sys.argv[2])
print("WORKING", sys.argv[1], sys.argv[2])
for _ in range(600):
    if depth != 6 or not pathlib.Path("slow.txt").exists():
        break
    time.sleep(0.05)
if lr == 0.5:
    sys.exit("diverged")
pathlib.Path("out").mkdir(exist_ok=True)
# By a path of its own, as many scripts do: every trial writes the same.
pathlib.Path("out/model.txt").write_text(f"{lr} {depth}\\n")
pathlib.Path("out/scores.json").write_text(json.dumps({"auc": 1 - abs(lr - 0.1) - abs(depth - 4) / 10}))
"""

HEAD = """\
mlpipe 1
pipeline demo
param train.lr    = 0.1
param train.depth = 4
stage prepare {
  in  source = "source.txt"
  out clean  = "out/clean.txt"
  run = "sort {{source}} > {{clean}}"
}
stage train {
  in    data = prepare.clean
  param train.*
  out   model = "out/model.txt"
  out   scores: metrics { auc: float } = "out/scores.json"
  run   = "cat {{data}} > /dev/null; python train.py {{params.train.lr}} {{params.train.depth}}"
}
"""

GRID = (
    HEAD
    + """\
sweep tune over train {
  vary train.lr    in [0.01, 0.1, 0.5]
  vary train.depth in [2, 4]
  parallel = 2
  goal     = maximize(scores.auc)
}
"""
)


def project(folder: Path, pipeline: str = GRID, **files: str) -> Checkout:
    made = new(folder / "repository", pipeline)
    for name, text in {"train.py": TRAIN, "source.txt": "b\na\n", **files}.items():
        (made.path / name).write_text(text)
    return made


def worked(done: Done) -> list[str]:
    """The values of the trials whose command really ran."""
    return re.findall(r"WORKING (.+)", done.out)


def trials(made: Checkout) -> list[dict[str, str]]:
    with (made.path / "sweeps/tune/trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_grid_is_tried_and_the_best_is_an_artifact(tmp_path: Path) -> None:
    made = project(tmp_path)
    done = made.mlpipec("run", "tune")
    assert len(worked(done)) == 6
    assert [(t["trial"], t["lr"], t["depth"], t["state"]) for t in trials(made)] == [
        ("1", "0.01", "2", "ok"),
        ("2", "0.01", "4", "ok"),
        ("3", "0.1", "2", "ok"),
        ("4", "0.1", "4", "ok"),
        ("5", "0.5", "2", "failed"),
        ("6", "0.5", "4", "failed"),
    ]
    assert made.read("sweeps/tune/best/model.txt") == "0.1 4\n"
    assert json.loads(made.read("sweeps/tune/params.json")) == {"train": {"lr": 0.1, "depth": 4}}
    assert "trial 4 of 6 is the best, 2 failed: scores.auc 1 with train.lr = 0.1, train.depth = 4" in done.out
    assert not (made.path / "out/model.txt").exists(), "trials leave the stage's own outputs alone"
    assert (made.path / ".mlpipe/failed/tune[5]/log.txt").read_text().count("diverged") == 1
    again = made.mlpipec("run", "tune")
    assert worked(again) == [] and "nothing to do" in again.out


def test_a_sweep_took_the_same_wherever_it_is_told(tmp_path: Path) -> None:
    made = project(tmp_path)
    ran = {s["stage"]: s for s in json.loads(made.mlpipec("run", "tune", "--json").out)["stages"]}
    logged = {s["stage"]: s for s in json.loads(made.mlpipec("log", "--json").out)["runs"]}
    assert logged["tune"]["seconds"] == ran["tune"]["seconds"] > 0
    assert logged["prepare"]["seconds"] == ran["prepare"]["seconds"]
    (shown,) = json.loads(made.mlpipec("show", "tune", "--json").out)["stages"]
    assert round(shown["runs"][0]["seconds"], 3) == ran["tune"]["seconds"]
    trials_took = sum(float(t["seconds"]) for t in trials(made) if t["seconds"])
    assert abs(shown["record"]["seconds"] - trials_took) < 0.1
    assert "on " in (text := made.mlpipec("show", "tune").out) and "its trials took " in text


def test_a_trial_is_the_same_run_as_one_with_set_and_the_other_way_round(tmp_path: Path) -> None:
    made = project(tmp_path)
    first = made.mlpipec("run", "train", "--set", "train.lr=0.01", "--set", "train.depth=2")
    assert len(worked(first)) == 1
    assert len(worked(made.mlpipec("run", "tune"))) == 5
    later = made.mlpipec("run", "train", "--set", "train.lr=0.1", "--set", "train.depth=2")
    assert worked(later) == [] and "restored" in later.out
    assert made.read("out/model.txt") == "0.1 2\n"


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    pipeline = GRID.replace("[2, 4]", "[2, 4, 6]").replace("[0.01, 0.1, 0.5]", "[0.01, 0.1]")
    made = project(tmp_path, pipeline, **{"slow.txt": ""})
    running = subprocess.Popen(
        [MLPIPEC, "run", "tune"], cwd=made.path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    done = 0
    # Trials 3 and 6 sleep: when both run, the other four are done.
    started: set[str] = set()
    while not {"3", "6"} <= started:
        line = running.stdout.readline()
        assert line, "it ended"
        done += "✓ tune[" in line
        started |= {n for n in "36" if f"▶ tune[{n}]" in line}
    os.killpg(running.pid, signal.SIGKILL)
    running.stdout.close()
    running.wait()
    assert done == 4
    (made.path / "slow.txt").unlink()
    again = made.mlpipec("run", "tune")
    assert sorted(worked(again)) == ["0.01 6", "0.1 6"]
    assert len(trials(made)) == 6
    assert list((made.path / ".mlpipe/trials").iterdir()) == [], "nothing is left behind"


def test_an_interrupted_sweep_leaves_no_result_and_keeps_its_trials(tmp_path: Path) -> None:
    pipeline = GRID.replace("[2, 4]", "[2, 6]").replace("[0.01, 0.1, 0.5]", "[0.01]")
    made = project(tmp_path, pipeline, **{"slow.txt": ""})
    running = subprocess.Popen([MLPIPEC, "run", "tune"], cwd=made.path, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    seen = ""
    while "✓ tune[1]" not in seen or "tune[2] │ WORKING" not in seen:
        seen += running.stdout.readline()
    running.send_signal(signal.SIGINT)
    seen += running.communicate(timeout=60)[0]
    assert running.returncode == 130
    assert not (made.path / "sweeps/tune/trials.csv").exists()
    (made.path / "slow.txt").unlink()
    assert worked(made.mlpipec("run", "tune")) == ["0.01 6"]


def test_all_failed_fails_in_words(tmp_path: Path) -> None:
    made = project(tmp_path, GRID.replace("[0.01, 0.1, 0.5]", "[0.5]"))
    done = made.mlpipec("run", "tune", code=1)
    assert "all 2 trials of `tune` failed; the first: exit code 1" in done.err
    assert not (made.path / "sweeps").exists() or not any((made.path / "sweeps").rglob("*.csv"))
    assert len(worked(made.mlpipec("run", "tune", code=1))) == 2, "what failed is tried again"


def test_a_value_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    text = TRAIN.replace('{"auc":', '{"auc": float("nan") if depth == 4 else')
    made = project(tmp_path, **{"train.py": text})
    made.mlpipec("run", "tune")
    assert made.read("sweeps/tune/best/model.txt") == "0.1 2\n"


READS = (
    GRID
    + """\
stage ship {
  in  model = tune.best.model
  in  values = tune.params
  in  table: csv { trial: int, lr: float, auc: float? } = tune.trials
  out card = "out/card.txt"
  run = "cat {{model}} {{values}} > {{card}}; wc -l < {{table}} >> {{card}}"
}
gate quality { require tune.best.scores.auc >= 0.9 }
report review {
  metrics tune.best.scores
  plot    tune.trials { x = lr, y = auc }
  text    "Best of {{tune.trials.rows}}: {{tune.best.scores.auc}}"
}
"""
)


def test_stages_gates_and_reports_read_what_a_sweep_makes(tmp_path: Path) -> None:
    made = project(tmp_path, READS)
    done = made.mlpipec("run")
    assert "gate quality: 1 of 1 hold" in done.out
    card = made.read("out/card.txt").splitlines()
    assert card[0] == "0.1 4" and card[-1].strip() == "7"
    assert "Best of 6: 1" in made.mlpipec("report", "review").out
    # The quick answer is right, and goes away when anything that the sweep depends on changes.
    assert worked(made.mlpipec("run")) == []
    (made.path / "train.py").write_text(TRAIN.replace("- abs(lr - 0.1)", "- abs(lr - 0.01)"))
    changed = made.mlpipec("run")
    assert len(worked(changed)) == 6, "the stage's own result is that of a trial"
    assert made.read("out/card.txt").startswith("0.01 4\n")
    (made.path / "sweeps/tune/params.json").write_text("{}")
    made.mlpipec("run")
    assert json.loads(made.read("sweeps/tune/params.json")) == {"train": {"lr": 0.01, "depth": 4}}


def test_a_plain_run_leaves_alone_a_sweep_that_nothing_reads(tmp_path: Path) -> None:
    made = project(tmp_path)
    assert worked(made.mlpipec("run")) == ["0.1 4"]
    assert "nothing to do" in made.mlpipec("run").out
    assert "the lock agrees" in made.mlpipec("verify").out
    assert len(worked(made.mlpipec("run", "tune"))) == 5, "the stage's own result is that of a trial"
    assert "nothing to do" in made.mlpipec("run").out
    assert "the lock agrees" in made.mlpipec("verify").out


def test_only_what_matters_changes_the_key(tmp_path: Path) -> None:
    made = project(tmp_path)
    made.mlpipec("run", "tune")
    path = made.path / "pipeline.mlpipe"
    path.write_text(GRID.replace("parallel = 2", "parallel = 3"))
    assert "up to date" in made.mlpipec("run", "tune").out
    assert worked(made.mlpipec("run", "tune", "--set", "train.lr=0.3")) == [], "it is varied"
    path.write_text(GRID.replace("[2, 4]", "[2, 4, 5]"))
    why = made.mlpipec("why", "tune").out
    assert "train.depth" in why
    more = made.mlpipec("run", "tune")
    assert sorted(w for w in worked(more) if w.endswith("5")) == ["0.01 5", "0.1 5", "0.5 5"]
    assert len([w for w in worked(more) if not w.startswith("0.5")]) == 2, "the others were known"
    assert len(worked(made.mlpipec("run", "tune", "--force"))) == 9


def test_what_the_best_wrote_is_made_again_when_the_cache_lost_it(tmp_path: Path) -> None:
    made = project(tmp_path)
    made.mlpipec("run", "tune")
    lock = json.loads(
        next(x for x in made.read("mlpipe.lock").splitlines() if x.startswith("stage tune ")).split(" ", 2)[2]
    )
    digest = lock["outputs"]["best.model"]["hash"]
    for path in (made.path / "sweeps").rglob("model.txt"):
        path.unlink()
    (made.path / f".mlpipe/cache/objects/{digest[:2]}/{digest[2:]}").unlink()
    done = made.mlpipec("run", "tune")
    assert "0.1 4" in worked(done) and "trial 4 is the best, and what it wrote is gone" in done.out
    assert made.read("sweeps/tune/best/model.txt") == "0.1 4\n"


def test_each_trial_keeps_what_it_keeps_for_itself(tmp_path: Path) -> None:
    script = """\
import pathlib, sys
kept = pathlib.Path("ckpt/state.txt")
print("WORKING", sys.argv[1], kept.exists())
assert not kept.exists() or kept.read_text() == sys.argv[1]
if not kept.exists():
    kept.write_text(sys.argv[1])
    sys.exit(75)
pathlib.Path("out/scores.json").write_text('{"auc": %s}' % sys.argv[1])
pathlib.Path("out/model.txt").write_text(sys.argv[1])
"""
    pipeline = GRID.replace("  param train.*\n", '  param train.*\n  keep ckpt = "ckpt/"\n', 1)
    pipeline = pipeline.replace("[0.01, 0.1, 0.5]", "[0.01, 0.1]").replace("[2, 4]", "[2]")
    made = project(tmp_path, pipeline, **{"train.py": script})
    (made.path / "ckpt").mkdir()
    (made.path / "ckpt/own.txt").write_text("of the stage itself")
    done = made.mlpipec("run", "tune")
    assert sorted(worked(done)) == ["0.01 False", "0.01 True", "0.1 False", "0.1 True"]
    assert [p.name for p in (made.path / "ckpt").iterdir()] == ["own.txt"]


def test_json_show_status_and_graph_know_sweeps(tmp_path: Path) -> None:
    made = project(tmp_path)
    status = made.mlpipec("status", "tune").out
    assert "tune" in status and "may run" in status
    shown = json.loads(made.mlpipec("run", "tune", "--json").out)
    assert shown["sweeps"][0]["best"] == 4
    assert shown["sweeps"][0]["trials"][0]["lr"] == 0.01
    assert shown["sweeps"][0]["trials"][4]["auc"] is None
    text = made.mlpipec("show", "tune").out
    assert "trial 4 of 6 is the best" in text and "vary:train.lr" in text
    assert "over train" in made.mlpipec("graph").out
    log = json.loads(made.mlpipec("show", "tune", "--json").out)
    assert log["stages"][0]["sweep"]["best"] == 4


def test_what_is_known_is_told_before_anything_runs(tmp_path: Path) -> None:
    made = project(tmp_path)
    made.mlpipec("run", "tune")
    path = made.path / "pipeline.mlpipe"
    path.write_text(GRID.replace("[2, 4]", "[2, 4, 5]"))
    reason = "what is tried of `train.depth` changed: [[2,4]] → [[2,4,5]] (9 trials, 4 of them known)"
    assert reason in made.mlpipec("status", "tune").out
    assert reason in made.mlpipec("run", "tune", "--dry").out
    assert "sweep tune: run by its name alone" in made.mlpipec("status").out


def test_the_sandbox_holds_for_trials(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    made = project(tmp_path, **{"train.py": 'open("extra.txt").read()\n' + TRAIN, "extra.txt": "x"})
    done = made.mlpipec("run", "tune", "--sandbox", "audit")
    assert "stage `train` reads `extra.txt`" in done.err
    assert len(trials(made)) == 6


def test_a_command_may_run_in_a_folder_and_write_beside_it(tmp_path: Path) -> None:
    pipeline = GRID.replace('  run   = "cat {{data}}', '  dir   = "src"\n  run   = "cat {{data}}').replace(
        "python train.py", "python ../train.py"
    )
    text = TRAIN.replace('"out', '"../out')
    made = project(tmp_path, pipeline, **{"train.py": text})
    (made.path / "src").mkdir()
    (made.path / "src/note.txt").write_text("x")
    made.mlpipec("run", "tune")
    assert made.read("sweeps/tune/best/model.txt") == "0.1 4\n"
    assert not (made.path / "out/model.txt").exists()


# --- tpe


TPE = (
    HEAD
    + """\
sweep tune over train {
  vary train.lr    in log(0.001, 0.4)
  vary train.depth in 1..9
  search   = tpe(trials = 12, seed = 3, startup = 4)
  parallel = 3
  goal     = maximize(scores.auc)
}
"""
)


def test_tpe_chooses_the_same_points_every_time(tmp_path: Path) -> None:
    made = project(tmp_path, TPE)
    first = made.mlpipec("run", "tune")
    assert 10 <= len(worked(first)) <= 12, "the same point twice is one run"
    before = [(t["lr"], t["depth"], t["auc"]) for t in trials(made)]
    assert len(before) == 12
    # The table is gone, the trials are known: every round is chosen anew, and is the same.
    lines = [x for x in made.read("mlpipe.lock").splitlines(True) if not x.startswith("stage tune ")]
    (made.path / "mlpipe.lock").write_text("".join(lines))
    key = next(r for r in records(made) if r["stage"] == "tune")["key"]
    (made.path / f".mlpipe/cache/records/{key[:2]}/{key[2:]}").unlink()
    (made.path / "sweeps/tune/trials.csv").unlink()
    again = made.mlpipec("run", "tune")
    assert worked(again) == []
    assert [(t["lr"], t["depth"], t["auc"]) for t in trials(made)] == before


def test_tpe_without_optuna_says_what_to_install(tmp_path: Path) -> None:
    made = project(tmp_path, TPE)
    (made.path / "hidden").mkdir()
    (made.path / "hidden/optuna.py").write_text("raise ImportError('hidden')")
    done = made.mlpipec("run", "tune", code=1, PYTHONPATH=str(made.path / "hidden"))
    assert "`tpe` needs Optuna" in done.err and "mlflowc[sweep]" in done.err
    # Before anything runs: what comes before the sweep may take hours.
    assert done.out == ""


def records(made: Checkout) -> list[dict[str, str]]:
    paths = (made.path / ".mlpipe/cache/records").glob("??/*")
    return [json.loads(path.read_bytes().split(b"\n", 1)[1]) for path in paths]


def test_trials_run_at_once_as_many_as_may(tmp_path: Path) -> None:
    # Each trial waits for a second one to be there: one after the other, they would never end.
    script = """\
import pathlib, sys, time
here = pathlib.Path(sys.argv[0]).resolve().parent / "here"
here.mkdir(exist_ok=True)
(here / sys.argv[2]).write_text("")
for _ in range(600):
    if len(list(here.iterdir())) >= 2:
        break
    time.sleep(0.05)
else:
    sys.exit("alone")
pathlib.Path("out/scores.json").write_text('{"auc": 1}')
pathlib.Path("out/model.txt").write_text("")
"""
    made = project(tmp_path, GRID.replace("[0.01, 0.1, 0.5]", "[0.1]"), **{"train.py": script})
    made.mlpipec("run", "tune", "-j", "2")
    assert {t["state"] for t in trials(made)} == {"ok"}
