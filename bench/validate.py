"""Checking a large csv file against its type: beside DuckDB's own `count(*)`, and pandera on pandas.

    python bench/validate.py                      a file of 200 MB
    python bench/validate.py --size 1000          of 1 GB: pandas takes 4 GB of memory for it
    python bench/validate.py --tools mlpipec duckdb

All three ask for the same: types, ranges, a list, a pattern, a unique column, no missing values. Each is a
process of its own, from start to end, and its figure is the best of `--repeat` runs: the one that the machine
disturbed least. pandera has an environment of its own below `.cache/bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import uv

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".cache" / "bench"
PANDERA = ("pandera[pandas]==0.33.1", "pandas")

MLPIPEC = """
import sys
from pathlib import Path
from mlflowc.data import validate
from mlflowc.ir.model import Column, Constraint, FileType, ScalarType
def column(name, type, *constraints):
    return Column(name, ScalarType(type), constraints)
type = FileType("csv", (
    column("id", "int", Constraint("unique")),
    column("age", "int", Constraint("range", low=0, high=120)),
    column("income", "float", Constraint("range", low=0, high=1_000_000)),
    column("plan", "str", Constraint("in", values=("basic", "plus", "pro"))),
    column("churn", "bool"),
    column("email", "str", Constraint("matches", pattern="^[^@ ]+@[a-z.]+$")),
    column("day", "str"),
), (Constraint("rows", low=1000),))
verdict = validate.check(Path(sys.argv[1]), type, "data.csv")
assert verdict.ok, verdict
print(verdict.rows)
"""

DUCKDB = """
import sys, duckdb
duckdb.execute("SET enable_progress_bar = false")
rows, ids = duckdb.execute(
    "SELECT count(*), count(DISTINCT id) FROM read_csv(?, header = true, delim = ',', columns = {"
    "'id': 'BIGINT', 'age': 'BIGINT', 'income': 'DOUBLE', 'plan': 'VARCHAR', 'churn': 'BOOLEAN',"
    "'email': 'VARCHAR', 'day': 'VARCHAR'})"
    " WHERE id IS NOT NULL AND age BETWEEN 0 AND 120 AND income BETWEEN 0 AND 1000000"
    " AND plan IN ('basic', 'plus', 'pro') AND churn IS NOT NULL"
    " AND regexp_matches(email, '^[^@ ]+@[a-z.]+$') AND day IS NOT NULL", [sys.argv[1]]).fetchone()
assert rows == ids >= 1000
print(rows)
"""

PANDERA_ON_PANDAS = """
import sys
import pandas
import pandera.pandas as pa
schema = pa.DataFrameSchema({
    "id": pa.Column("int64", unique=True),
    "age": pa.Column("int64", pa.Check.in_range(0, 120)),
    "income": pa.Column("float64", pa.Check.in_range(0, 1_000_000)),
    "plan": pa.Column(str, pa.Check.isin(["basic", "plus", "pro"])),
    "churn": pa.Column(bool),
    "email": pa.Column(str, pa.Check.str_matches("^[^@ ]+@[a-z.]+$")),
    "day": pa.Column(str),
}, checks=pa.Check(lambda table: len(table) >= 1000))
print(len(schema.validate(pandas.read_csv(sys.argv[1]), lazy=True)))
"""
PROGRAMS = {"duckdb": DUCKDB, "mlpipec": MLPIPEC, "pandera": PANDERA_ON_PANDAS}


def main() -> None:
    """Prints a line for each tool: seconds, MB a second, and how much faster or slower mlpipec is."""
    options = _options()
    path = _file(options.size)
    size = path.stat().st_size / 1e6
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    figures: dict[str, float] = {}
    worked: dict[str, float] = {}
    rows: set[int] = set()
    for tool in PROGRAMS:
        if tool not in options.tools:
            continue
        python = _environment() if tool == "pandera" else Path(sys.executable)
        runs = [_timed(python, PROGRAMS[tool], path) for _ in range(options.repeat)]
        figures[tool] = min(seconds for seconds, _, _ in runs)
        worked[tool] = min(processor for _, processor, _ in runs)
        rows |= {count for _, _, count in runs}
    if len(rows) != 1:
        sys.exit(f"they did not read the same rows: {sorted(rows)}")
    print(f"{size:,.0f} MB, {rows.pop():,} rows")
    for tool, seconds in figures.items():
        ratio = f"{seconds / figures['mlpipec']:8.2f}" if "mlpipec" in figures else ""
        print(
            f"  {tool:10} {seconds:8.2f} s {size / seconds:8.0f} MB/s {ratio} x the time of mlpipec;"
            f" {worked[tool]:.1f} s of processor time"
        )
    if options.json:
        found = {"megabytes": size, "seconds": figures, "processor": worked}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=200, help="of the file, in MB")
    parser.add_argument("--tools", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


def _file(size: int) -> Path:
    """A csv file of about `size` MB, the same every time; kept for the next run."""
    path = CACHE / f"validate-{size}.csv"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    # Drawn once and repeated with other ids: a file of a gigabyte would take minutes otherwise.
    block = [
        f"{chance.randrange(18, 100)},{chance.random() * 1e5:.2f},{chance.choice(['basic', 'plus', 'pro'])},"
        f"{chance.choice(['true', 'false'])},user{chance.randrange(10**6)}@example.org,"
        f"2024-0{chance.randrange(1, 10)}-1{chance.randrange(10)}\n"
        for _ in range(20_000)
    ]
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w") as file:
        written = file.write("id,age,income,plan,churn,email,day\n")
        first = 0
        while written < size * 1_000_000:
            written += file.write("".join([f"{first + n},{rest}" for n, rest in enumerate(block)]))
            first += len(block)
    unfinished.rename(path)
    return path


def _environment() -> Path:
    folder = CACHE / "pandera"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"installing {PANDERA[0]}", file=sys.stderr)
        for command in (
            ["venv", "-q", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "-q", "--python", str(python), *PANDERA],
        ):
            subprocess.run([uv.find_uv_bin(), *command], check=True)
        (folder / "installed").touch()
    return python


def _timed(python: Path, program: str, path: Path) -> tuple[float, float, int]:
    """Seconds of the process, those of all processors together, and the rows that it counted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run([str(python), "-c", program, str(path)], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"ended with {done.returncode}\n{program}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, processor, int(done.stdout)


if __name__ == "__main__":
    main()
