"""Calls that find nothing to do, on a small pipeline with a 1 MB output and a gate, beside `python -c pass`.

    python bench/hits.py

Seconds of processor time of whole processes, the mean of `--repeat` calls, all taken in turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / ".cache" / "bench" / "work" / "hits"
MLPIPEC = str(Path(sys.executable).with_name("mlpipec"))

PIPELINE = """\
mlpipe 1

pipeline hits

stage train {
  out model: file = "model.bin"
  out scores: metrics { accuracy: float } = "scores.json"
  run = "head -c 1000000 /dev/zero > {{model}}; echo '{\\"accuracy\\": 0.9}' > {{scores}}"
}

gate good { require train.scores.accuracy > 0.5 }

on push { run = [train, good] }
"""
CALLS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "run": [MLPIPEC, "run"],
    "exec STAGE": [MLPIPEC, "exec", "train"],
    "exec JOB --on EVENT": [MLPIPEC, "exec", "train", "--on", "push"],
    "exec JOB, results from a bundle": [MLPIPEC, "exec", "train", "--on", "push"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20)
    repeat = parser.parse_args().repeat
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "pipeline.mlpipe").write_text(PIPELINE)
    for _ in range(3):
        for command in list(CALLS.values())[1:]:
            _call(command)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    taken = dict.fromkeys(CALLS, 0.0)
    for _ in range(repeat):
        for what, command in CALLS.items():
            if "bundle" in what:
                # As on a fresh machine, where a service has put the bundle of an earlier run.
                shutil.rmtree(FOLDER / ".mlpipe" / "states", ignore_errors=True)
                shutil.rmtree(FOLDER / ".mlpipe" / "cache")
                (FOLDER / ".mlpipe" / "index.db").unlink()
                (FOLDER / "model.bin").unlink()
            taken[what] += _call(command)
        for command in list(CALLS.values())[1:]:
            _call(command)
    base = taken["python -c pass"]
    for what, seconds in taken.items():
        print(f"  {what:32} {seconds / repeat * 1000:6.0f} ms {seconds / base:6.1f}")
    shutil.rmtree(FOLDER)


def _call(command: list[str]) -> float:
    process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed\n{process.stderr.read().decode() if process.stderr else ''}")
    process.returncode = 0
    if process.stderr:
        process.stderr.close()
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
