"""Completion in the shell, asked as a shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MLPIPEC = Path(sys.executable).parent / "mlpipec"
SOURCE = """mlpipe 1
pipeline demo
param lr = 0.1
stage train each lang in ["de", "fr"] {
  param lr
  out scores: metrics { f1: float } = "{{lang}}.json"
  run = "train {{params.lr}} {{lang}} {{scores}}"
}
stage join {
  in  all = train[*].scores
  out text = "all.txt"
  run = "cat {{all}} > {{text}}"
}
gate good { require min(train[*].scores.f1) > 0.5 }
report review { metrics train[*].scores }
action publish {
  in text = join.text
  run = "publish {{text}}"
}
on pull_request { run = [good, review, join] }
on push("main") { run = [publish] }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "demo.mlpipe").write_text(SOURCE)
    return tmp_path


def offered(folder: Path, *words: str) -> list[str]:
    """What is offered for the last of `words`."""
    line = " ".join(("mlpipec", *words))
    done = subprocess.run(
        [MLPIPEC],
        cwd=folder,
        env={
            **os.environ,
            "_MLPIPEC_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return [word.partition(",")[2] for word in done.stdout.splitlines() if word]


def test_targets(folder: Path) -> None:
    everything = ["train", "train[de]", "train[fr]", "join", "good", "review"]
    assert offered(folder, "run", "") == everything
    assert offered(folder, "run", "train[") == ["train[de]", "train[fr]"]
    assert offered(folder, "run", "join", "good", "") == ["train", "train[de]", "train[fr]", "review"]
    assert offered(folder, "graph", "p") == ["publish"]
    assert offered(folder, "show", "") == ["train", "train[de]", "train[fr]", "join"]
    assert offered(folder, "report", "") == ["review"]


def test_events_parameters_and_codes(folder: Path) -> None:
    assert offered(folder, "run", "--on", "") == ["pull-request", "push-main"]
    assert offered(folder, "simulate", "--event", "pus") == ["push-main"]
    assert offered(folder, "explain", "mlp10")[:2] == ["MLP101", "MLP102"]


def test_the_folder_and_the_file_are_followed(folder: Path) -> None:
    (folder / "other.mlpipe").write_text(SOURCE.replace("join", "gather"))
    assert offered(folder, "run", "j") == []  # which of the two?
    assert offered(folder, "run", "-f", "other.mlpipe", "g") == ["gather", "good"]
    (folder / "sub").mkdir()
    assert offered(folder / "sub", "-C", "..", "run", "-f", "demo.mlpipe", "j") == ["join"]


@pytest.mark.parametrize("text", ["", "mlpipe 1\nstage {", "mlpipe 1\npipeline x\nstage a { in b }\n"])
def test_what_does_not_compile_offers_nothing_and_says_nothing(folder: Path, text: str) -> None:
    (folder / "demo.mlpipe").write_text(text)
    assert offered(folder, "run", "") == []
