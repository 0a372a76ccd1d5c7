"""Runs mypy and import-linter on the package as it is when installed.

Three of its packages (`backends`, `grammar`, `stdlib`) are folders beside `mlflowc` in the checkout, where
neither finds them; so both look at a copy that is laid out like a wheel.

    python tests/support/layers.py [types] [layers]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CHECKS: dict[str, list[str]] = {
    "types": ["mypy", "--cache-dir", str(CHECKOUT / ".cache" / "mypy")],
    "layers": ["lint-imports", "--no-cache", "--config"],
}


def lay_out(folder: Path) -> None:
    """Copies the packages to where an installed wheel has them. Keeps their times, for mypy's cache."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package, source in sorted(settings["package-dir"].items()):
        target = folder.joinpath(*package.split("."))
        shutil.copytree(CHECKOUT / source, target, ignore=shutil.ignore_patterns("__pycache__"))


def main(names: list[str]) -> int:
    """The first exit code that is not 0."""
    with tempfile.TemporaryDirectory() as name:
        lay_out(Path(name))
        config = str(CHECKOUT / "pyproject.toml")
        for check in names or CHECKS:
            program, *arguments = CHECKS[check]
            arguments += ["--config-file", config] if check == "types" else [config]
            command = [str(Path(sys.executable).with_name(program)), *arguments]
            done = subprocess.run(command, cwd=name, env={**os.environ, "PYTHONPATH": name})
            if done.returncode:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
