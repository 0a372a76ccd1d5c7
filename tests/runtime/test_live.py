"""A run on a terminal: a few stages say what they do, many leave no line that nobody reads."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

from tests.support import project

PIPELINE = """\
mlpipe 1

pipeline live

stage s each n in [NUMBERS] {
  out o = "out/{{n}}.txt"
  run = "[ {{n}} -ne 7 ] || echo seven speaks; sleep 0.02; echo {{n}} > {{o}}"
}

stage end {
  in  all = s[*].o
  out o = "end.txt"
  run = "cat {{all}} > {{o}}; exit $(cat code)"
}
"""


def watched(path: Path, stages: int, code: int = 0) -> str:
    """What a terminal of 80 columns is sent by a run."""
    made = project.new(path, PIPELINE.replace("NUMBERS", ", ".join(map(str, range(1, stages + 1)))))
    made.write({"code": str(code)})
    made.mlpipec("check")
    return run_on_a_terminal(made.path, 1 if code else 0)


def run_on_a_terminal(path: Path, code: int = 0) -> str:
    """What a terminal of 80 columns is sent by a run that ends with `code`."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [str(project.MLPIPEC), "run"], cwd=path, stdout=theirs, stderr=subprocess.DEVNULL, env=env
    )
    os.close(theirs)
    chunks = []
    with contextlib.suppress(OSError):
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    os.close(ours)
    assert process.wait(timeout=60) == code
    return b"".join(chunks).decode().replace("\r\n", "\n")


def screen(sent: str) -> list[str]:
    """The lines that are left at the end, as a terminal that is high enough shows them."""
    lines = [""]
    for part in re.split(r"(\x1b\[\d+F\x1b\[J|\n)", sent):
        if part == "\n":
            lines.append("")
        elif part.startswith("\x1b["):
            assert lines[-1] == "", "the cursor must stand at the beginning of a line"
            del lines[len(lines) - 1 - int(part[2 : part.index("F")]) :]
            lines.append("")
        else:
            lines[-1] += part
    return lines


def test_a_few_stages(tmp_path: Path) -> None:
    sent = watched(tmp_path / "p", 9)
    left = screen(sent)
    assert sum(line.startswith("▶ s[") for line in left) == 9
    assert sum(line.startswith("✓ s[") for line in left) == 9
    assert "s[7] │ seven speaks" in left
    assert not [line for line in left if "to go" in line]
    assert left[-2].startswith("10 stages: 10 ran, in ")


def test_many_stages(tmp_path: Path) -> None:
    sent = watched(tmp_path / "p", 70)
    left = screen(sent)
    assert re.search(r"[━╌]{24} \d+ done, \d+ running, \d+ to go", sent)
    assert [line for line in left if line][:1] == ["s[7] │ seven speaks"]
    assert [line for line in left if line][1:][0].startswith("71 stages: 71 ran, in ")
    assert all(len(line) < 80 for line in re.split(r"\x1b\[\d+F\x1b\[J|\n", sent))


def test_what_fails_among_many_is_told(tmp_path: Path) -> None:
    left = screen(watched(tmp_path / "p", 70, code=3))
    assert "✗ end: exit code 3" in left
    assert not [line for line in left if line.startswith(("▶", "✓"))]


def test_what_is_up_to_date_is_not_among_what_is_to_go(tmp_path: Path) -> None:
    watched(tmp_path / "p", 70, code=3)
    (tmp_path / "p/code").write_text("0")
    made = project.Checkout(tmp_path / "p")
    made.replace("pipeline.mlpipe", "exit $(cat code)", "sleep 0.4; exit $(cat code)")
    sent = run_on_a_terminal(made.path)
    assert "0 done, 1 running, 0 to go" in sent
    assert "▶ end: " in sent


AGAIN = """\
mlpipe 1

pipeline again

stage long {
  in  code = "code"
  out o = "o.txt"
  run = "sleep 1.3; cp {{code}} {{o}}"
}

stage next {
  in  o = long.o
  out n = "n.txt"
  run = "sleep 1.3; cp {{o}} {{n}}"
}
"""


def test_how_long_it_will_take_is_told_by_the_last_time(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p", AGAIN)
    made.write({"code": "1"})
    assert ", about" not in run_on_a_terminal(made.path)
    made.write({"code": "2"})
    sent = run_on_a_terminal(made.path)
    told = [float(t) for t in re.findall(r"0 done, 1 running, 1 to go, about ([\d.]+) s", sent)]
    assert told and told[0] > 1.3, sent
