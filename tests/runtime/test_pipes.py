"""A pipe, a socket, where a file should be: nobody waits for a writer that never comes."""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from mlflowc import plainfile
from mlflowc.runtime.hashing import hash_file
from tests.support.remote_project import Checkout

PIPELINE = """\
mlpipe 1
pipeline pipes
params "params.yaml"
cache {
  folder = "../shared"
  remote = "../remote"
  write  = all
}
stage make {
  in    raw = "raw.txt"
  in    more = "more/"
  param n
  out   parts: dir = "out/parts/"
  out   big = "out/big.bin"
  run   = \"\"\"
  ls {{more}}
  mkdir -p {{parts}}
  for i in $(seq 100); do echo $i {{params.n}} > {{parts}}/$i; done
  cat {{raw}} > {{big}}
  python3 tool.py
  \"\"\"
}
stage score {
  in  parts = make.parts
  out scores: metrics { acc: float } = "out/scores.json"
  run = "ls {{parts}}; echo '{\\"acc\\": 0.5}' > {{scores}}"
}
gate good { require score.scores.acc >= 0.1 }
on push("main") { run = [good] }
"""


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    root = tmp_path / "project"
    (root / "more").mkdir(parents=True)
    (root / "pipeline.mlpipe").write_text(PIPELINE)
    for name, text in {"params.yaml": "n: 3\n", "raw.txt": "x\n", "more/a": "a\n", "tool.py": ""}.items():
        (root / name).write_text(text)
    return Checkout(root)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_in_what_mlpipec_keeps(project: Checkout, tmp_path: Path) -> None:
    """It is a miss, and mended."""
    project("run")
    project("exec", "score", "--on", "push-main")
    project("run")
    whole = tmp_path / "whole"
    kept = ("project/.mlpipe", "project/mlpipe-bundles", "shared", "remote")
    for name in kept:
        shutil.copytree(tmp_path / name, whole / name)
    for pattern in (
        "project/.mlpipe/state",
        "project/.mlpipe/index.db",
        "project/.mlpipe/*/*",
        "project/mlpipe-bundles/*.tar",
        "shared/index.db",
        "shared/gc.lock",
        "shared/locks/*",
        "shared/checkouts/*",
        "shared/records/??/*",
        "shared/trees/??/*",
        "shared/objects/??/*",
        "shared/packs/*",
        "remote/**/*",
    ):
        found = [p for p in tmp_path.glob(pattern) if p.is_file()]
        assert found, pattern
        for path in found:
            a_pipe(path)
        shutil.rmtree(project.root / "out")
        said = project("run")
        assert "gate good: 1 of 1 hold" in said, pattern
        assert (project.root / "out/parts/100").read_text() == "100 3\n", pattern
        if "bundles" in pattern:
            assert "it is a named pipe, not a file" in project("exec", "score", "--on", "push-main")
        for name in kept:
            shutil.rmtree(tmp_path / name)
            shutil.copytree(whole / name, tmp_path / name)


@pytest.mark.parametrize("name", ["raw.txt", "more/a", "params.yaml", "mlpipe.lock"])
def test_in_what_people_write(project: Checkout, name: str) -> None:
    project("run")
    a_pipe(project.root / name)
    said = project("run", code=1)
    assert re.search(f"{re.escape(name)}`.* a named pipe", said), said


def test_in_an_output_it_is_no_result(project: Checkout) -> None:
    project("run")
    for name in ("out/parts/1", "out/big.bin"):
        a_pipe(project.root / name)
        assert "1 restored" in project("run")
        assert (project.root / name).is_file()


@pytest.mark.parametrize("made", ["{{big}}", "{{parts}}/pipe"])
def test_a_command_that_leaves_one(project: Checkout, made: str) -> None:
    text = PIPELINE.replace("cat {{raw}} > {{big}}", f"echo > {{{{big}}}}; rm -f {made}; mkfifo {made}")
    (project.root / "pipeline.mlpipe").write_text(text)
    assert re.search("`.*(big.bin|parts/pipe)` is a named pipe, neither", project("run", code=1))


def test_only_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert plainfile.read(tmp_path / "file") == b"x" * 3_000_000
    (tmp_path / "empty").touch()
    assert plainfile.read(tmp_path / "empty") == b""
    assert (
        plainfile.read("/proc/self/stat" if Path("/proc/self/stat").exists() else tmp_path / "empty")
        is not None
    )
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    old = Path.cwd()
    os.chdir(tmp_path)  # the name of a socket must be short
    try:
        server.bind("socket")
    finally:
        os.chdir(old)
        server.close()
    for name, what in {"pipe": "a named pipe", "socket": "a socket"}.items():
        with pytest.raises(OSError, match=f"it is {what}, not a file"):
            plainfile.read(tmp_path / name)
        with pytest.raises(OSError, match=what):
            hash_file(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        plainfile.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        plainfile.read(tmp_path / "nothing")
    with pytest.raises(OSError, match="it is a device, not a file"):
        plainfile.read(os.devnull)
