"""The figures' program works: with two tools that are here anyway, on a small graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import CHECKOUT


def test_the_comparison_runs(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"
    command = [
        sys.executable,
        "bench/compare.py",
        "--stages",
        "12",
        "--tools",
        "mlpipec",
        "make",
        "--repeat",
        "1",
    ]
    done = subprocess.run([*command, "--json", str(report)], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())["figures"]
    assert [(figure["tool"], figure["stages"]) for figure in figures] == [("make", 12), ("mlpipec", 12)]
    assert all(figure["first"] > 0 and figure["nothing"] > 0 for figure in figures)
    assert "12 stages" in done.stdout


def test_the_figures_of_checking_data_are_of_the_same_rows(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"
    command = [sys.executable, "bench/validate.py", "--size", "2", "--repeat", "1", "--json", str(report)]
    done = subprocess.run(
        [*command, "--tools", "mlpipec", "duckdb"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())
    assert figures["megabytes"] >= 2
    assert set(figures["seconds"]) == {"duckdb", "mlpipec"} and min(figures["seconds"].values()) > 0
