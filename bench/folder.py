"""A folder of many small files as input and as output, beside the least that any tool would have to do.

    python bench/folder.py                      100,000 files of about 1 KB
    python bench/folder.py --files 10000

"nothing to do" and "one file changed" are measured against a bare walk that asks for the size and times of
each file (`os.scandir` and `stat`), the first hash against BLAKE3 over the same files on all cores. Figures
are seconds of processor time of whole processes, their commands included, from start to end: the clock says
little on a machine that others use. Each is the best of `--repeat`, all taken in turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
WORK = CHECKOUT / ".cache" / "bench" / "work"
FOLDER = Path("folder")
MLPIPEC = str(Path(sys.executable).with_name("mlpipec"))

PIPELINE = """\
mlpipe 1

pipeline folder

stage count {
  in  files: dir = "files/"
  out number: text = "number.txt"
  run = "find {{files}} -type f | wc -l > {{number}}"
}
"""
COPY = """
stage copy {
  in  files: dir = "files/"
  out same: dir = "same/"
  run = "cp -r {{files}} {{same}}"
}
"""
WALK = """
import os, sys
def walk(folder):
    with os.scandir(folder) as entries:
        for entry in entries:
            st = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                walk(entry.path)
for folder in sys.argv[1:]:
    walk(folder)
"""
HASH = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from blake3 import blake3
def some(paths):
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            blake3(file.read()).hexdigest()
paths = [f"{folder}/{name}" for folder, _, names in os.walk(sys.argv[1]) for name in names]
with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(some, [paths[i::16] for i in range(16)]))
"""


def main() -> None:
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    os.chdir(options.work)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for title, text, folders in (("input", "", ["files"]), ("input and output", COPY, ["files", "same"])):
        _make(options.files, PIPELINE + text)
        print(f"\n{options.files:,} files as {title}")
        first = min(_fresh("run") for _ in range(options.repeat)) if not text else _run()
        if not text:
            hashed = min(_python(HASH, "files") for _ in range(options.repeat))
            _row("BLAKE3 on all cores", hashed, hashed)
            _row("the first `status`, which hashes them", _first_status(options.repeat), hashed)
            _row("the first run, which hashes and counts them", first, hashed)
            command = ["bash", "-c", "find files/ -type f | wc -l"]
            _row("the stage's bare command", min(_timed(command) for _ in range(options.repeat)), hashed)
        _run()
        figures = {"nothing to do": [_run], "one file changed": [_change, _run]}
        for what, steps in figures.items():
            walked, taken = [], []
            for _ in range(options.repeat):
                walked.append(_python(WALK, *folders))
                taken.append(_last(steps))
            _row("a bare walk", min(walked), min(walked))
            _row(what, min(taken), min(walked))
    shutil.rmtree(FOLDER)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--work", type=Path, default=WORK, help="where to make them: try /dev/shm")
    return parser.parse_args()


def _make(files: int, pipeline: str) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for n in range(files):
        path = FOLDER / "files" / f"{n // 1000:03d}"
        if n % 1000 == 0:
            path.mkdir(parents=True)
        (path / f"{n}.txt").write_bytes(b"%d\n" % n * 150)
    (FOLDER / "pipeline.mlpipe").write_text(pipeline)


def _change() -> float:
    path = FOLDER / "files" / "000" / "0.txt"
    path.write_text(str(time.time_ns()))
    return 0.0


def _run() -> float:
    return _timed([MLPIPEC, "run"])


def _first_status(repeat: int) -> float:
    return min(_fresh("status") for _ in range(repeat))


def _fresh(command: str) -> float:
    """The command where nothing is known yet."""
    shutil.rmtree(FOLDER / ".mlpipe", ignore_errors=True)
    (FOLDER / "mlpipe.lock").unlink(missing_ok=True)
    return _timed([MLPIPEC, command])


def _python(code: str, *words: str) -> float:
    return _timed([sys.executable, "-c", code, *words])


def _last(steps: list[Callable[[], float]]) -> float:
    return [step() for step in steps][-1]


def _timed(command: list[str]) -> float:
    process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _row(what: str, seconds: float, base: float) -> None:
    print(f"  {what:44} {seconds:8.2f} s {seconds / base:6.1f}", flush=True)


if __name__ == "__main__":
    main()
