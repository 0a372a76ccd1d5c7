"""Ways in which caches went wrong: none may give a wrong result, lose one, or end in a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

from mlflowc.runtime.events import RunResult
from mlflowc.runtime.execute import run
from mlflowc.runtime.plan import make_plan
from tests.runtime.lab import DIR, Lab, stage

# --- several at once


def _readers(lab: Lab, count: int) -> None:
    fill = "mkdir {o:d}; for i in $(seq 300); do echo $i > {o:d}/$i; done"
    lab.stages = [stage("make", fill, writes={"d": "out/d"}, types={"d": DIR})]
    for n in range(count):
        read = stage(f"read{n}", "ls {i:d} | wc -l > {o:o}", reads={"d": "make.d"}, writes={"o": f"n{n}"})
        lab.stages.append(read)


def _alone(lab: Lab, name: str, results: list[RunResult]) -> None:
    """As the job of one stage does: what is before it is only brought back."""
    ws = Lab(lab.root, lab.stages).open()
    try:
        results.append(run(ws, make_plan(ws, [name], exact={name})))
    finally:
        ws.close()


def test_many_that_need_the_same_missing_input_put_it_there_once(lab: Lab) -> None:
    _readers(lab, 5)
    lab.run("make")
    for path in sorted((lab.root / "out/d").iterdir()):
        path.unlink()
    results: list[RunResult] = []
    names = [f"read{n}" for n in range(5)]
    threads = [threading.Thread(target=_alone, args=(lab, name, results)) for name in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.ok for r in results] == [True] * 5
    assert [lab.read(f"n{n}") for n in range(5)] == ["300\n"] * 5


# --- inputs that do not keep still


def test_an_input_edited_and_put_back_while_the_stage_runs(lab: Lab) -> None:
    """As a `git checkout` of another branch and back does."""
    lab.write("in.txt", "one")
    command = "echo two > in.txt; cat {i:i} > {o:o}; printf one > in.txt"
    lab.stages = [stage("s", command, reads={"i": "./in.txt"}, writes={"o": "o"})]
    assert "`in.txt` changed while the stage ran" in lab.fails("s").message
    assert not list((lab.root / ".mlpipe/cache").glob("records/??/*"))


def test_a_file_in_a_folder_edited_and_put_back_while_the_stage_runs(lab: Lab) -> None:
    lab.write("in/x", "one")
    command = "echo two > in/x; cat {i:i}/x > {o:o}; printf one > in/x"
    lab.stages = [stage("s", command, reads={"i": "./in"}, writes={"o": "o"})]
    assert "`in` changed while the stage ran" in lab.fails("s").message


def test_a_link_made_to_an_input_is_no_change_of_it(lab: Lab) -> None:
    lab.write("in/x", "one")
    command = "ln in/x other; cat {i:i}/x > {o:o}"
    lab.stages = [stage("s", command, reads={"i": "./in"}, writes={"o": "o"})]
    assert lab.run().ok
    lab.stages = [replace(lab.stages[0], commands=(("ln in/x another; cat in/x > o",),))]
    assert lab.run().ok


# --- signals


def test_a_hang_up_that_is_ignored_stays_ignored(lab: Lab) -> None:
    """`nohup mlpipec run` goes on when its terminal is closed."""
    wait = "touch started; until [ -e go ]; do sleep 0.02; done; echo > {{o}}"
    lab.write(
        "pipeline.mlpipe", f'mlpipe 1\npipeline x\nstage s {{\n  out o: file = "o"\n  run = "{wait}"\n}}\n'
    )
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from mlflowc.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run"], cwd=lab.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not (lab.root / "started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    lab.write("go", "")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
