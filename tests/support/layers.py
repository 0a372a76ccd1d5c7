"""Runs import-linter on the package as it is when installed.

Three of its packages (`backends`, `grammar`, `stdlib`) are folders beside `mlflowc` in the checkout, where
the linter does not find them; so it looks at a copy that is laid out like a wheel.
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


def main() -> int:
    """The exit code of import-linter."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    with tempfile.TemporaryDirectory() as folder:
        for package, source in sorted(settings["package-dir"].items()):
            target = Path(folder, *package.split("."))
            shutil.copytree(CHECKOUT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        program = Path(sys.executable).with_name("lint-imports")
        command = [str(program), "--config", str(CHECKOUT / "pyproject.toml"), "--no-cache"]
        return subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": folder}).returncode


if __name__ == "__main__":
    sys.exit(main())
