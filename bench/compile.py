"""Compiling the layered pipeline of N stages, beside what lark's LALR parser alone takes for its text.

    python bench/compile.py                     1,000 and 10,000 stages
    python bench/compile.py --stages 100

"cold" compiles (all processes are whole ones, from start to end), "warm" reads the compiled form that is
kept, "outputs" then asks each stage for its outputs, "all" for everything.
Each figure is seconds of processor time, the best of `--repeat`, and all are taken in turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import layered

CHECKOUT = Path(__file__).resolve().parent.parent
WORK = CHECKOUT / ".cache" / "bench" / "work"

NOTHING = "pass"
LOAD = "from mlflowc import project; project.load()"
# As the program itself does, which looks for garbage seldom.
PARTS = """
import gc
gc.set_threshold(100_000, 50, 100)
from mlflowc import project
for stage in project.load().pipeline.stages:
    stage.{}
"""
# The same grammar and words, and nothing behind: a tree of lark's, without Python's garbage collector.
PARSE = """
import gc
from lark import Lark
from mlflowc import resources
from mlflowc.syntax.lexer import Separators
from mlflowc.syntax.parser import _whole_word
gc.disable()
Lark(
    resources.grammar(),
    parser="lalr",
    lexer="contextual",
    maybe_placeholders=False,
    keep_all_tokens=True,
    edit_terminals=_whole_word,
    postlex=Separators(),
).parse(open("layered.mlpipe").read())
"""


def main() -> None:
    options = _options()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for stages in options.stages:
        folder = WORK / f"compile-{stages}"
        shutil.rmtree(folder, ignore_errors=True)
        layered.write(stages, folder)
        calls = {
            "python -c pass": NOTHING,
            "lark alone": PARSE,
            "cold": LOAD,
            "warm": LOAD,
            "warm, outputs": PARTS.format("outputs"),
            "warm, all": PARTS.format("commands"),
        }
        figures: dict[str, list[float]] = {what: [] for what in calls}
        for _ in range(options.repeat):
            shutil.rmtree(folder / ".mlpipe", ignore_errors=True)
            for what, code in calls.items():
                figures[what].append(_timed(code, folder))
        pause, parsed, cold, *warm = (min(times) for times in figures.values())
        print(f"\n{stages:,} stages")
        print(f"  lark alone     {parsed * 1000:8.0f} ms")
        print(f"  cold           {cold * 1000:8.0f} ms {cold / parsed:6.2f} x lark alone")
        bare = f"python -c pass ({pause * 1000:.0f} ms)"
        for what, seconds in zip(list(calls)[3:], warm, strict=True):
            print(f"  {what:14} {seconds * 1000:8.0f} ms {seconds / pause:6.1f} x {bare}", flush=True)
        shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stages", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def _timed(code: str, folder: Path) -> float:
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        sys.exit(f"it failed: {code}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
