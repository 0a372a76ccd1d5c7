"""What is answered before the command line is parsed: the same words as the long way, and never wrong."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from mlflowc import cli, quick
from mlflowc.commands import exec as exec_
from mlflowc.commands import executing, running
from mlflowc.commands.exec import command as exec_command
from mlflowc.commands.run import command as run_command

PIPELINE = """\
mlpipe 1

pipeline demo

stage load {
  in  raw = "raw.txt"
  out rows: text = "out/rows.txt"
  run = "cat {{raw}} > {{rows}}"
}

stage train {
  in  rows = load.rows
  out scores: metrics { n: int } = "out/scores.json"
  run = "echo '{\\"n\\": '$(wc -l < {{rows}})'}' > {{scores}}"
}

gate enough { require train.scores.n > 0.5 }
gate grown { require train.scores.n >= baseline("main").train.scores.n }

on push { run = [train, enough, grown] }
"""
SCRIPT = """\
import atexit, sys
names = sys.argv.pop()
atexit.register(lambda: print(*sys.modules, file=open(names, "w")))
from mlflowc.__main__ import main
main()
"""


@dataclass
class Answer:
    """What a call said, and whether it took the long way."""

    code: int
    out: str
    err: str
    quick: bool


@dataclass
class Project:
    """A git repository with a pipeline, the current folder."""

    root: Path
    capture: pytest.CaptureFixture[str]

    def call(self, *words: str) -> Answer:
        """`mlpipec WORDS`."""
        line = quick.understood(words)
        code = quick.answer(line) if line else None
        answered = code is not None
        if code is None:
            with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
                patch.setattr(sys, "argv", ["mlpipec", *words])
                cli.main()
            assert isinstance(end.value.code, int)
            code = end.value.code
        out, err = self.capture.readouterr()
        return Answer(code, out, err, answered)

    def git(self, *words: str) -> None:
        """`git WORDS`."""
        names = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        subprocess.run(["git", *names, *words], cwd=self.root, check=True, capture_output=True)

    def commit(self) -> None:
        """All there is."""
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "more")

    def settle(self, *words: str) -> Answer:
        """Calls until the answer is quick; gives it, and checks that it is the long way's."""
        long = self.call(*words)
        for _ in range(5):
            again = self.call(*words)
            if again.quick:
                assert (again.code, again.out, again.err) == (long.code, long.out, long.err)
                return again
            long = again
        raise AssertionError(f"never a quick answer to {words}: {long}")


@pytest.fixture
def project(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    """Run once and committed."""
    for name in [n for n in os.environ if n.startswith(("GIT_", "MLPIPEC", "FORCE_", "NO_"))]:
        monkeypatch.delenv(name)
    made = Project(tmp_path / "project", capfd)
    made.root.mkdir()
    monkeypatch.chdir(made.root)
    (made.root / "pipeline.mlpipe").write_text(PIPELINE)
    (made.root / "raw.txt").write_text("1\n2\n")
    (made.root / ".gitignore").write_text("out/\n")
    made.git("init", "-q", "-b", "main")
    assert made.call("run").code == 0
    made.commit()
    made.commit()
    return made


def test_a_run_with_gates(project: Project) -> None:
    answer = project.settle("run")
    assert answer.code == 0
    assert "gate enough: 1 of 1 hold" in answer.out
    assert "gate grown: 1 of 1 hold" in answer.out
    assert "nothing to do: 2 stages up to date" in answer.out


def test_colours_are_kept_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = project.settle("run").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = project.settle("run").out
    assert coloured != plain


def test_another_width_is_written_anew(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.settle("run")
    monkeypatch.setenv("COLUMNS", "64")
    assert not project.call("run").quick


def test_nothing_heavy_is_imported(project: Project) -> None:
    project.settle("run")
    names = project.root.parent / "modules.txt"
    subprocess.run([sys.executable, "-c", SCRIPT, "run", str(names)], check=True)
    heavy = {"click", "dataclasses", "inspect", "sqlite3", "json", "typing_extensions", "mlflowc.ir.model"}
    assert heavy & set(names.read_text().split()) == set()


def test_a_gate_that_fails_fails_quickly_too(project: Project) -> None:
    (project.root / "pipeline.mlpipe").write_text(PIPELINE.replace("> 0.5", "> 5.0"))
    answer = project.settle("run")
    assert answer.code == 1
    assert "not passed: enough" in answer.err


def _other_baseline(project: Project) -> None:
    lock = project.root / "mlpipe.lock"
    text = lock.read_text()
    lock.write_text(text.replace('"n":2', '"n":9'))
    assert lock.read_text() != text
    project.git("commit", "-qam", "other metrics")
    lock.write_text(text)


def _packed(project: Project) -> None:
    project.git("pack-refs", "--all")


CHANGES: dict[str, Callable[[Project], object]] = {
    "an input": lambda p: (p.root / "raw.txt").write_text("1\n2\n3\n"),
    "an output": lambda p: (p.root / "out/scores.json").write_text('{"n": 9}'),
    "the lock": lambda p: (p.root / "mlpipe.lock").unlink(),
    "the pipeline": lambda p: (p.root / "pipeline.mlpipe").write_text(PIPELINE.replace("0.5", "0.25")),
    "the cache": lambda p: shutil.rmtree(p.root / ".mlpipe"),
    "the baseline": _other_baseline,
    "a commit": lambda p: p.commit(),
    "a branch": lambda p: p.git("checkout", "-q", "-b", "side"),
    "where references are": _packed,
    "the repository": lambda p: shutil.rmtree(p.root / ".git"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_takes_the_long_way(project: Project, what: str) -> None:
    project.settle("run")
    CHANGES[what](project)
    assert not project.call("run").quick


@pytest.mark.parametrize("name", ["GIT_DIR", "MLPIPEC_SANDBOX"])
def test_variables_that_change_the_meaning(
    project: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settle("run")
    value = {"GIT_DIR": str(project.root / ".git"), "MLPIPEC_SANDBOX": "audit"}[name]
    monkeypatch.setenv(name, value)
    assert not project.call("run").quick


def test_a_baseline_that_changed_is_decided_anew(project: Project) -> None:
    assert project.settle("run").code == 0
    _other_baseline(project)
    answer = project.call("run")
    assert answer.code == 1
    assert "not passed: grown" in answer.err


def test_a_missing_baseline_is_asked_for_each_time(project: Project) -> None:
    (project.root / "pipeline.mlpipe").write_text(PIPELINE.replace('"main"', '"nowhere"'))
    for _ in range(3):
        answer = project.call("run")
    assert "nowhere" in answer.out
    assert not answer.quick


def test_one_stage_of_a_makefile(project: Project) -> None:
    assert "1 stage up to date" in project.settle("exec", "load").out
    (project.root / "raw.txt").write_text("1\n2\n3\n")
    answer = project.call("exec", "load")
    assert not answer.quick
    assert "1 ran" in answer.out
    assert project.call("exec", "train").out.count("1 ran") == 1


def test_a_job_of_an_event(project: Project) -> None:
    answer = project.settle("exec", "train", "--on", "push")
    bundle = project.root / "mlpipe-bundles" / "train.tar"
    assert "mlpipe-bundles/train.tar" in answer.out
    assert bundle.exists()
    bundle.unlink()
    assert not project.call("exec", "train", "--on", "push").quick
    assert bundle.exists()
    project.settle("exec", "train", "--on", "push")
    (bundle.parent / "more.tar").write_bytes(b"x")
    answer = project.call("exec", "train", "--on", "push")
    assert not answer.quick
    assert "more.tar" in answer.err


def test_other_words_take_the_long_way(project: Project) -> None:
    project.settle("exec", "load")
    for words in (
        ["exec", "load", "--on"],
        ["exec", "nothing"],
        ["exec", "load", "--on", "push"],
        ["--help"],
    ):
        assert not project.call(*words).quick
    assert project.call("exec", "nothing").code == 2
    assert project.call("run", "load").out.count("up to date") == 1


def test_no_pipeline_is_said_in_full(project: Project) -> None:
    (project.root / "pipeline.mlpipe").unlink()
    answer = project.call("run")
    assert answer.code == 2
    assert "mlpipec init" in answer.err


FOLDER = """\
mlpipe 1

pipeline demo

stage count {
  in  files: dir = "files/"
  out number: text = "number.txt"
  run = "cat {{files}}/* > {{number}}; test ! -e edit || echo 3 > {{files}}/b"
}
"""


def test_one_walk_serves_the_quick_and_the_long_way(project: Project) -> None:
    """In a process of its own the planner takes over the walk that had no answer."""
    mlpipec = Path(sys.executable).with_name("mlpipec")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([mlpipec, "run"], capture_output=True, text=True)

    (project.root / "pipeline.mlpipe").write_text(FOLDER)
    (project.root / "files").mkdir()
    (project.root / "files" / "a").write_text("1\n")
    run()
    for content in ("2\n", "4\n"):
        (project.root / "files" / "a").write_text(content)
        assert "1 ran" in run().stdout
        assert (project.root / "number.txt").read_text() == content
        assert "nothing to do" in run().stdout
    (project.root / "files" / "a").write_text("5\n")
    (project.root / "edit").touch()
    done = run()
    assert done.returncode == 1
    assert "`files` changed while the stage ran" in done.stdout + done.stderr
    (project.root / "edit").unlink()
    assert "1 ran" in run().stdout
    assert (project.root / "number.txt").read_text() == "5\n3\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run"], quick.Line()),
        (["exec", "train"], quick.Line("train")),
        (["exec", "train", "--on", "push"], quick.Line("train", "push")),
        (["run", "train"], None),
        (["exec", "--on", "push"], None),
        (["exec", "train", "--on"], None),
        (["exec", "train", "push"], None),
        (["exec", "train", "--post"], None),
        (["-C", "elsewhere", "run"], None),
        (["status"], None),
        ([], None),
    ],
)
def test_what_takes_no_parser(words: list[str], line: quick.Line | None) -> None:
    assert quick.understood(words) == line


def test_variables_that_say_more_than_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPIPEC_SANDBOX", "enforce")
    assert quick.understood(["run"]) is None


@pytest.mark.parametrize(
    ("command", "module", "name", "words", "expected"),
    [
        (run_command, running, "bring_up_to_date", [], running.Asked()),
        (exec_command, exec_, "execute_job", ["train"], executing.Asked("train")),
        (exec_command, exec_, "execute_job", ["train", "--on", "push"], executing.Asked("train", "push")),
    ],
)
def test_what_takes_no_parser_means_what_the_parser_says(
    command: click.Command,
    module: object,
    name: str,
    words: list[str],
    expected: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, name, asked.append)
    monkeypatch.setattr(quick, "run", lambda *_: None)
    monkeypatch.delenv("MLPIPEC_SANDBOX", raising=False)
    command.main(words, standalone_mode=False)
    assert [{**dataclasses.asdict(a), "settings": None} for a in asked] == [
        {**dataclasses.asdict(expected), "settings": None}  # type: ignore[call-overload]
    ]
    assert not getattr(asked[0], "settings", None)
