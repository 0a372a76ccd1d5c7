"""mlpipec beside make, ninja, doit, snakemake and DVC: the same layered graph, in one run on one machine.

    python bench/compare.py                       100 and 1,000 stages; DVC at 100 only
    python bench/compare.py --stages 100 10000 --dvc-most 1000 --tools mlpipec make

Every peer has an environment of its own below `.cache/bench`. Each figure of "nothing to do" is the best of
`--repeat` runs: the one that the machine disturbed least. `python -c pass` is measured in the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import layered
import uv

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".cache" / "bench"


@dataclass(frozen=True, slots=True)
class Tool:
    """`command` brings all up to date in a prepared folder; `prepare` is what it needs once, untimed."""

    name: str
    requirement: str | None
    command: Callable[[Path], list[str]]
    prepare: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds: the first run, its processor time over all processes, and a run with nothing to do."""

    tool: str
    stages: int
    first: float
    processor: float
    nothing: float


TOOLS = (
    # First: the others are measured against it.
    Tool("make", None, lambda _: ["make", "-j2"]),
    Tool("mlpipec", None, lambda _: [str(Path(sys.executable).with_name("mlpipec")), "run", "-j", "2"]),
    Tool("ninja", "ninja==1.13.2", lambda bin: [str(bin / "ninja"), "--quiet", "-j2"]),
    Tool("doit", "doit==0.37.0", lambda bin: [str(bin / "doit"), "-n", "2", "-v", "0"]),
    Tool("snakemake", "snakemake==9.27.1", lambda bin: [str(bin / "snakemake"), "-c2", "--quiet", "all"]),
    Tool(
        "dvc",
        "dvc==3.67.1",
        lambda bin: [str(bin / "dvc"), "repro", "-q"],
        prepare=(("git", "init", "-q"), ("{bin}/dvc", "init", "-q")),
    ),
)


def main() -> None:
    options = _options()
    wanted = [tool for tool in TOOLS if tool.name in options.tools]
    pause = min(_timed([sys.executable, "-c", "pass"], CHECKOUT) for _ in range(10))
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"python -c pass: {pause * 1000:.1f} ms")
    figures = []
    for stages in options.stages:
        print(f"\n{stages:,} stages")
        print(
            f"  {'':10} {'first run':>12} {'x make':>8} {'processor/stage':>16}"
            f" {'nothing to do':>14} {'x python':>9}"
        )
        row = []
        for tool in wanted:
            if tool.name == "dvc" and stages > options.dvc_most:
                print(f"  {tool.name:10} left out: more than --dvc-most {options.dvc_most} stages")
                continue
            figure = _measure(tool, stages, options.repeat)
            row.append(figure)
            make = next((f.first for f in row if f.tool == "make"), None)
            ratio = f"{figure.first / make:8.1f}" if make else f"{'':8}"
            print(
                f"  {tool.name:10} {figure.first:10.2f} s {ratio} {figure.processor / stages * 1000:13.1f} ms"
                f" {figure.nothing * 1000:11.0f} ms"
                f" {figure.nothing / pause:9.1f}",
                flush=True,
            )
        figures += row
    if options.json:
        rows = [{f: getattr(figure, f) for f in Figure.__slots__} for figure in figures]
        options.json.write_text(json.dumps({"python": pause, "figures": rows}, indent=1) + "\n")


def _options() -> argparse.Namespace:
    names = [tool.name for tool in TOOLS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stages", type=int, nargs="+", default=[100, 1000], help="sizes of the graph")
    parser.add_argument("--tools", nargs="+", choices=names, default=names)
    parser.add_argument("--dvc-most", type=int, default=100, help="DVC takes half an hour for 1,000 stages")
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs with nothing to do, of which the best counts"
    )
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


def _measure(tool: Tool, stages: int, repeat: int) -> Figure:
    bin = _environment(tool)
    folder = CACHE / "work" / f"{tool.name}-{stages}"
    shutil.rmtree(folder, ignore_errors=True)
    layered.write(stages, folder)
    for command in tool.prepare:
        subprocess.run(
            [word.format(bin=bin) for word in command], cwd=folder, env=_surroundings(), check=True
        )
    command = tool.command(bin)
    before_it = _processor()
    first = _timed(command, folder)
    processor = _processor() - before_it
    made = len(_outputs(folder))
    if made != stages:
        sys.exit(f"{tool.name} made {made} of {stages} files")
    before = _outputs(folder)
    nothing = min(_timed(command, folder) for _ in range(repeat))
    if _outputs(folder) != before:
        sys.exit(f"{tool.name} ran again with nothing to do")
    shutil.rmtree(folder)
    return Figure(tool.name, stages, first, processor, nothing)


def _processor() -> float:
    """Seconds of processor time that children have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _outputs(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("s*.txt")}


def _environment(tool: Tool) -> Path:
    if tool.requirement is None:
        return Path("/usr/bin")
    folder = CACHE / tool.requirement
    if not (folder / "installed").exists():
        print(f"installing {tool.requirement}", file=sys.stderr)
        python = folder / "bin" / "python"
        for command in (
            ["venv", "-q", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "-q", "--python", str(python), tool.requirement],
        ):
            subprocess.run([uv.find_uv_bin(), *command], check=True)
        (folder / "installed").touch()
    return folder / "bin"


def _timed(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=_surroundings(), capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(
            f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return seconds


def _surroundings() -> dict[str, str]:
    return {**os.environ, "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}


if __name__ == "__main__":
    main()
