"""The commands of a run, on a small project, as a user calls them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlflowc.cli import main

PIPELINE = """\
mlpipe 1

pipeline demo

params "params.yaml"

data raw: file = "raw.txt"

stage load {
  in    raw
  out   rows: file = "data/rows.txt"
  run   = "echo loading; cat {{raw}} > {{rows}}"
}

stage train {
  in    rows = load.rows
  param train.top
  out   model: file = "model.txt"
  out   scores: metrics { n: int } = "scores.json"
  run   = "python3 src/train.py {{rows}} {{params.train.top}} {{model}} {{scores}}"
}

stage greet each who in ["ann", "bob"] {
  out   card: file = "cards/{{who}}.txt"
  run   = "echo hello {{who}} > {{card}}"
}

gate enough {
  require train.scores.n >= 2
}

report review {
  metrics train.scores vs "main"
}

action tell {
  in  train.model
  run = "cat {{model}} > told.txt"
}

on pull_request { run = [enough], with { train.top = 3 } }
"""

TRAIN = """\
import json, sys
from count import lines
rows, top, model, scores = sys.argv[1:]
kept = sorted(open(rows))[: int(top)]
open(model, "w").write("".join(kept))
json.dump({"n": lines(kept)}, open(scores, "w"))
"""


@dataclass
class Result:
    """What a call gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)

    def outcomes(self) -> dict[str, str]:
        """Outcome by stage of `run --json`."""
        return {s["stage"]: s["outcome"] for s in self.json["stages"]}


Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*args: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["mlpipec", *args])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return Result(int(end.value.code or 0), out, err)

    return run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "pipeline.mlpipe").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("train:\n  top: 2\n")
    (tmp_path / "raw.txt").write_text("3\n1\n2\n")
    (tmp_path / "src/train.py").write_text(TRAIN)
    (tmp_path / "src/count.py").write_text("def lines(x):\n    return len(x)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = {"load", "train", "greet[ann]", "greet[bob]"}


def test_run_then_nothing_to_do(project: Path, call: Call) -> None:
    first = call("run")
    assert first.code == 0, first.err
    assert "load │ loading" in first.out
    assert "4 stages: 4 ran, in " in first.out
    assert "gate enough" in first.out
    second = call("run")
    assert second.code == 0
    assert "nothing to do: 4 stages up to date" in second.out
    assert "loading" not in second.out
    # The first state is kept when what it rests on is old enough; then the quick way says the same.
    assert "nothing to do: 4 stages up to date" in call("run").out


def test_the_quick_way_still_decides_gates(project: Path, call: Call) -> None:
    call("run")
    text = (project / "pipeline.mlpipe").read_text()
    (project / "pipeline.mlpipe").write_text(text.replace(">= 2", ">= 5"))
    for _ in range(3):
        result = call("run")
        assert result.code == 1
        assert "gate not passed: enough" in result.err
        assert "nothing to do" in result.out


def test_a_parameter_a_script_a_helper_and_an_input_rerun_what_depends_on_them(
    project: Path, call: Call
) -> None:
    call("run")
    kept = dict.fromkeys(ALL, "kept")
    (project / "params.yaml").write_text("train:\n  top: 3\n")
    assert call("run", "--json").outcomes() == {**kept, "train": "ran"}
    (project / "src/count.py").write_text("def lines(x):\n    return len(x) + 1\n")
    assert call("run", "--json").outcomes() == {**kept, "train": "ran"}
    (project / "src/train.py").write_text(TRAIN + "# more\n")
    assert call("run", "--json").outcomes() == {**kept, "train": "ran"}
    (project / "raw.txt").write_text("9\n8\n7\n")
    assert call("run", "--json").outcomes() == {**kept, "load": "ran", "train": "ran"}
    assert call("run", "--json").outcomes() == kept


def test_deleted_outputs_are_restored(project: Path, call: Call) -> None:
    call("run")
    for name in ("data", "cards"):
        shutil.rmtree(project / name)
    for name in ("model.txt", "scores.json"):
        (project / name).unlink()
    result = call("run", "--json")
    assert result.outcomes() == dict.fromkeys(ALL, "restored")
    assert (project / "model.txt").read_text() == "1\n2\n"
    assert call("status", "--exit-code").code == 0


def test_set_and_event(project: Path, call: Call) -> None:
    call("run")
    assert call("run", "train", "--set", "train.top=1", "--json").outcomes()["train"] == "ran"
    assert (project / "model.txt").read_text() == "1\n"
    result = call("run", "--on", "pull-request")
    assert result.code == 0, result.err
    assert (project / "model.txt").read_text() == "1\n2\n3\n"
    assert "gate enough" in result.out
    assert call("run", "--on", "pull_request").out == call("run", "--on", "pull-request").out
    wrong = call("run", "--on", "pull-requst")
    assert wrong.code == 2
    assert "did you mean `pull-request`?" in wrong.err


def test_targets(project: Path, call: Call) -> None:
    assert set(call("run", "greet", "--json").outcomes()) == {"greet[ann]", "greet[bob]"}
    assert set(call("run", "greet[ann]", "--json").outcomes()) == {"greet[ann]"}
    gate = call("run", "enough", "--json")
    assert set(gate.outcomes()) == {"load", "train"}
    assert gate.json["gates"][0]["passed"] is True
    report = call("run", "review", "--json")
    assert set(report.outcomes()) == {"load", "train"}
    assert report.json["gates"] == []
    action = call("run", "tell")
    assert action.code == 0 and "action tell was not run" in action.out
    assert not (project / "told.txt").exists()
    unknown = call("run", "trian")
    assert unknown.code == 2
    assert "there is no stage, gate or report `trian`" in unknown.err
    assert "did you mean `train`?" in unknown.err


def test_dry_says_what_the_run_will_do_and_does_nothing(project: Path, call: Call) -> None:
    dry = call("run", "--dry")
    assert dry.code == 0
    assert "would run load: it never ran here" in dry.out
    assert "would perhaps run train: depends on what `load` makes" in dry.out
    assert not (project / "data").exists()
    assert not (project / "mlpipe.lock").exists()
    call("run")
    assert "nothing to do: 4 stages up to date" in call("run", "-n").out


def test_a_failing_stage(project: Path, call: Call) -> None:
    call("run")
    (project / "src/train.py").write_text("import sys\nprint('so sorry')\nsys.exit(7)\n")
    result = call("run")
    assert result.code == 1
    assert "train │ so sorry" in result.out
    assert "error: stage `train` failed: exit code 7" in result.err
    assert ".mlpipe/failed/train" in result.err
    assert (project / "model.txt").read_text() == "1\n2\n"
    assert "1 failed" in result.out
    assert "gate enough: not decided (train failed)" in result.out.splitlines()
    assert "so sorry" in call("show", "train", "--log").out
    as_json = call("run", "--json")
    assert as_json.code == 1
    assert as_json.json["gates"] == []
    assert as_json.json["undecided"] == {"enough": "train failed"}
    assert as_json.json["ok"] is False
    assert "so sorry" in as_json.err


def test_status_and_why(project: Path, call: Call) -> None:
    fresh = call("status", "--exit-code")
    assert fresh.code == 1
    assert "4 stages to do" in fresh.out
    call("run")
    (project / "params.yaml").write_text("train:\n  top: 1\n")
    status = call("status", "--json")
    assert {s["stage"]: s["action"] for s in status.json["stages"]} == {
        **dict.fromkeys(ALL, "keep"),
        "train": "run",
    }
    why = call("why", "train")
    assert why.code == 0
    assert "parameter `train.top` changed: 2 → 1" in why.out
    (project / "src/count.py").write_text("def lines(x):\n    return 0\n")
    assert call("why", "train", "--json").json["stages"][0]["changes"] == [
        "parameter `train.top` changed: 2 → 1",
        "code `src/count.py` changed",
    ]
    assert "up to date" in call("why", "load").out
    (project / "raw.txt").write_text("5\n")
    both = call("why", "train").out
    assert "input `raw` changed: `raw.txt`" in both
    assert "depends on what `load` makes" in both
    every = call("why")
    assert every.code == 0
    assert both in every.out
    listed = call("show").out.splitlines()
    assert [line.split()[0] for line in listed] == [s["stage"] for s in call("show", "--json").json["stages"]]
    assert all(".mlpipe:" in line for line in listed)
    assert call("show", "--log").code == 2
    assert call("why", "enough").code == 2
    assert call("why", "nothing").code == 2


def test_why_names_the_command(project: Path, call: Call) -> None:
    call("run")
    text = (project / "pipeline.mlpipe").read_text()
    (project / "pipeline.mlpipe").write_text(text.replace("echo hello", "echo hi"))
    assert "the command changed: `echo hello {{who}} > {{card}}` → `echo hi" in call("why", "greet").out


def test_comments_and_layout_change_nothing(project: Path, call: Call) -> None:
    call("run")
    text = (project / "pipeline.mlpipe").read_text()
    (project / "pipeline.mlpipe").write_text("# a comment\n" + text.replace("  run   =", "  run ="))
    assert "nothing to do" in call("run").out


def test_verify_needs_no_data(project: Path, call: Call) -> None:
    missing = call("verify")
    assert missing.code == 1
    assert "the lock has no entry for it" in missing.out
    call("run")
    assert call("verify").code == 0
    # As in a fresh clone: the lock and the sources, nothing else.
    for name in ("data", "cards", ".mlpipe"):
        shutil.rmtree(project / name)
    for name in ("model.txt", "scores.json"):
        (project / name).unlink()
    clone = call("verify")
    assert clone.code == 0, clone.out
    assert "agrees with the checkout: 4 stages" in clone.out
    (project / "src/count.py").write_text("def lines(x):\n    return 9\n")
    changed = call("verify", "--json")
    assert changed.code == 1
    assert list(changed.json["problems"]) == ["train"]
    assert "no result" not in changed.json["problems"]["train"], changed.out


def test_verify_in_a_clone_names_what_changed(project: Path, call: Call) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True)

    git("init", "-q")
    call("run")
    (project / ".gitignore").write_text("/data/\n/cards/\n/model.txt\n/scores.json\n__pycache__/\n")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    git("commit", "-q", "--allow-empty", "-m", "second")
    for name in ("data", "cards", ".mlpipe"):
        shutil.rmtree(project / name)
    params = project / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("top: 2", "top: 3"))
    assert "top: 3" in params.read_text()
    assert call("verify", "--json").json["problems"] == {"train": "parameter `train.top` changed: 2 → 3"}
    # With a file as well, which git knows of.
    (project / "src/count.py").write_text("def lines(x):\n    return 9\n")
    git("commit", "-q", "-a", "-m", "third")
    said = call("verify", "--json").json["problems"]["train"]
    assert said.startswith("parameter `train.top` changed: 2 → 3; code `src/count.py` changed since "), said
    params.write_text(before)
    (project / "raw.txt").write_text("other\n")
    said = call("verify", "--json").json["problems"]
    assert said["load"].startswith("`raw.txt` changed since ")
    assert said["train"].startswith("code `src/count.py` changed since ")


def test_a_report_as_a_target_says_how_to_see_it(project: Path, call: Call) -> None:
    for _ in range(2):
        assert "`mlpipec report review` shows the report" in call("run", "review").out.splitlines()
    assert "mlpipec report" not in call("run").out


def test_a_stage_that_failed_is_not_told_as_one_that_never_ran(project: Path, call: Call) -> None:
    (project / "pipeline.mlpipe").write_text(PIPELINE.replace("echo loading;", "exit 4;"))
    call("run", "load")
    for command in ("status", "why", "show"):
        said = call(command, "load").out
        assert "it never ran here" not in said
        assert re.search(r"it failed here at \d\d:\d\d:\d\d: exit code 4 \(`mlpipec show load --log`\)", said)
    call("run", "greet")
    assert (
        "@1: `load`, `train`, `greet[ann]` and 1 more had no result here yet" in call("diff", "@1", "@2").out
    )
    (project / "pipeline.mlpipe").write_text(PIPELINE.replace("echo loading;", "exit 5;"))
    assert "it failed here at" in call("run", "-n").out
    assert "exit code 4; it changed since" in call("why", "load").out


def test_a_gate_whose_stage_did_not_run_is_told(project: Path, call: Call) -> None:
    (project / "raw.txt").write_text("1\n2\n3\n")
    (project / "pipeline.mlpipe").write_text(PIPELINE.replace("echo loading;", "exit 4;"))
    said = call("run").out.splitlines()
    assert "gate enough: not decided (train did not run)" in said


def test_show(project: Path, call: Call) -> None:
    assert "it never ran here" in call("show", "load").out
    call("run")
    shown = call("show", "train")
    assert shown.code == 0
    for text in ("train.top = 2", "scores.n = 2", "code:src/count.py", "model: file = model.txt", "ran"):
        assert text in shown.out
    facts = call("show", "train", "--json").json["stages"][0]
    assert facts["components"]["param:train.top"] == "2"
    assert facts["metrics"] == {"scores": {"n": 2}}
    assert facts["record"]["key"] == facts["key"]
    assert call("show", "load", "--log").out == "loading\n"
    assert call("show", "greet[ann]", "--log").code == 1


def test_show_fits_the_terminal(project: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a_module_with_a_name_that_is_rather_long_for_a_module.py"
    (project / "src" / name).write_text("")
    train = project / "src/train.py"
    train.write_text(f"import {name.removesuffix('.py')}\n{train.read_text()}")
    call("run")
    monkeypatch.setenv("COLUMNS", "80")
    shown = call("show", "train").out.split("  key ")[1].splitlines()
    assert max(map(len, shown)) <= 80
    assert any(line.startswith(f"    code:src/{name}  ") for line in shown)
    assert not re.search("[0-9a-f]{64}", "\n".join(shown))


def test_a_lock_with_conflict_markers(project: Path, call: Call) -> None:
    call("run")
    lock = project / "mlpipe.lock"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text())
    for args in (["run"], ["status"], ["verify"], ["why", "load"]):
        result = call(*args)
        assert result.code == 1
        assert "an unsettled merge conflict (line 1)" in result.err


def test_bad_usage(project: Path, call: Call) -> None:
    assert call("run", "-j", "0").code == 2
    assert call("run", "--set", "nonsense").code == 2
    assert call("run", "--set", "train.topp=1").code == 2


def test_a_state_folder_that_is_a_file(project: Path, call: Call) -> None:
    (project / ".mlpipe").write_text("in the way")
    result = call("run")
    assert result.code == 1
    assert "cannot write in `.mlpipe`" in result.err
    assert "Traceback" not in result.err


# --- in a process of its own


def mlpipec(*args: str, cwd: Path, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "from mlflowc.cli import main; main()", *args],
        cwd=cwd,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )


def wait_for(path: Path) -> None:
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")


SLOW = """\
mlpipe 1

pipeline slow

stage slow {
  out   o: file = "o.txt"
  run   = "echo half > {{o}}; echo $$ > started; trap 'exit 1' TERM; while true; do sleep 0.05; done"
}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_and_puts_outputs_back(tmp_path: Path, number: int) -> None:
    (tmp_path / "pipeline.mlpipe").write_text(SLOW)
    (tmp_path / "o.txt").write_text("before\n")
    process = mlpipec("run", cwd=tmp_path)
    wait_for(tmp_path / "started")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"interrupted" in err
    assert b"Traceback" not in out + err
    assert (tmp_path / "o.txt").read_text() == "before\n"
    pid = int((tmp_path / "started").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not list((tmp_path / ".mlpipe/cache").glob("records/*/*"))


STUBBORN = """\
mlpipe 1

pipeline stubborn

stage one {
  out   o: file = "o.txt"
  run   = "trap '' INT TERM; echo $$ > started; while true; do sleep 0.05; done"
}

stage two {
  in    o = one.o
  out   t: file = "t.txt"
  run   = "cp {{o}} {{t}}"
}
"""


def test_the_second_interrupt_of_a_stubborn_command_is_offered(tmp_path: Path) -> None:
    (tmp_path / "pipeline.mlpipe").write_text(STUBBORN)
    process = mlpipec("run", cwd=tmp_path)
    wait_for(tmp_path / "started")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    said = iter(process.stdout.readline, b"")
    assert any(b"stopping 1 stage; Ctrl-C again kills it" in line for line in said)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"- one interrupted\n" in out
    assert b"- two not run\n" in out
    why = mlpipec("why", "one", cwd=tmp_path).communicate(timeout=60)[0]
    assert re.search(rb"it was interrupted here at \d\d:\d\d:\d\d \(`mlpipec show one --log`\)", why)


_PATIENT = """\
from mlflowc.runtime.process import BashRunner
BashRunner.__init__.__defaults__ = (3600.0,)
from mlflowc.__main__ import main
main()
"""


def test_a_second_interrupt_does_not_wait_for_the_command(tmp_path: Path) -> None:
    # Its own `sleep` is ended as well; the command goes on all the same.
    text = SLOW.replace("trap 'exit 1' TERM", "trap 'echo asked > asked' TERM").replace(
        "0.05", "0.05 || true"
    )
    (tmp_path / "pipeline.mlpipe").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-c", _PATIENT, "run"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for(tmp_path / "started")
    process.send_signal(signal.SIGINT)
    wait_for(tmp_path / "asked")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "started").read_text()), 0)


@pytest.mark.parametrize("words", [("status",), ("graph",), ("show", "train", "--json"), ("log",), ("run",)])
def test_a_reader_that_goes_away_is_no_failure(project: Path, words: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        process = mlpipec(*words, cwd=project, stdout=closed)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"error" not in err
    assert b"Traceback" not in err


def test_kill_9_leaves_nothing_that_counts(tmp_path: Path) -> None:
    (tmp_path / "pipeline.mlpipe").write_text(SLOW)
    (tmp_path / "o.txt").write_text("before\n")
    process = mlpipec("run", cwd=tmp_path)
    wait_for(tmp_path / "started")
    process.kill()
    process.communicate(timeout=60)
    # The command lives on; a new run waits for it, for it writes to the same place.
    text = SLOW.replace("while true; do sleep 0.05; done", "true")
    (tmp_path / "pipeline.mlpipe").write_text(text)
    second = mlpipec("run", cwd=tmp_path)
    assert second.stdout is not None
    line = second.stdout.readline()
    assert b"waiting: process" in line
    os.kill(int((tmp_path / "started").read_text()), signal.SIGKILL)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert b"1 ran" in out
    assert (tmp_path / "o.txt").read_text() == "half\n"


def test_a_reader_that_goes_away_does_not_end_the_run(project: Path) -> None:
    with mlpipec("run", cwd=project, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.close()
    assert (project / "model.txt").exists()


def test_on_a_terminal_much_output_passes_and_the_region_goes_away(tmp_path: Path) -> None:
    (tmp_path / "pipeline.mlpipe").write_text(
        'mlpipe 1\n\npipeline p\n\nstage loud {\n  out o: file = "o.txt"\n'
        "  run = \"sleep 0.3; head -c 200000 /dev/zero | tr '\\\\0' '\\\\n'; sleep 0.3; echo > {{o}}\"\n}\n"
    )
    ours, theirs = pty.openpty()
    process = mlpipec("run", cwd=tmp_path, stdout=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    chunks = []
    with contextlib.suppress(OSError):
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    os.close(ours)
    _, err = process.communicate(timeout=120)
    text = b"".join(chunks).decode()
    assert process.returncode == 0, err
    assert "0 done, 1 running, 0 to go" in text
    assert text.count("loud │") == 200_000
    assert "1 stage: 1 ran" in text
    assert "\x1b[J" in text
    assert "running" not in text.rpartition("\x1b[J")[2]


def test_an_idle_run_imports_nothing_heavy(project: Path, call: Call) -> None:
    text = (project / "pipeline.mlpipe").read_text()
    (project / "pipeline.mlpipe").write_text(
        text.replace("python3 src/train.py", f"{sys.executable} src/train.py")
    )
    for _ in range(3):
        assert call("run").code == 0
    script = "import sys, mlflowc.cli\ntry: mlflowc.cli.main()\nfinally: print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script, "run"], cwd=project, capture_output=True, text=True, check=True
    )
    assert "nothing to do: 4 stages up to date" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded & {"lark", "jinja2", "yaml"} == set()
