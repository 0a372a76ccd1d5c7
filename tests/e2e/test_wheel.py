"""The package as a user gets it: built, looked into, installed outside the checkout, used."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

from tests.conftest import CHECKOUT

pytestmark = pytest.mark.e2e

# What the code reads at run time, by the folder of the checkout that it comes from.
DATA = {
    "grammar": ("mlflowc/grammar", ("*.lark",)),
    "stdlib": ("mlflowc/stdlib", ("*.mlpipe", "*.py")),
    "backends/templates": ("mlflowc/backends/templates", ("*.j2",)),
    "backends/schemas": ("mlflowc/backends/schemas", ("*.json", "*.sha256")),
    "mlflowc/ir": ("mlflowc/ir", ("*.json",)),
}


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("folder", DATA)
def test_data_is_inside(folder: str, names: set[str]) -> None:
    target, patterns = DATA[folder]
    files = [path for pattern in patterns for path in (CHECKOUT / folder).glob(pattern)]
    assert files, f"{folder} holds nothing that a wheel could lack"
    assert {f"{target}/{path.name}" for path in files} <= names


def test_every_module_is_inside(names: set[str]) -> None:
    sources = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "mlflowc").rglob("*.py")}
    for folder in ("backends", "grammar", "stdlib"):
        sources |= {f"mlflowc/{path.relative_to(CHECKOUT)}" for path in (CHECKOUT / folder).rglob("*.py")}
    assert sources <= names
    assert "mlflowc/py.typed" in names


def test_nothing_else_is_inside(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mlflowc"}
    assert not [name for name in names if "__pycache__" in name]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_installed_outside_the_checkout_it_works(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    python = str(environment / "bin" / "python")
    quiet = [uv.find_uv_bin(), "-q"]
    subprocess.run([*quiet, "venv", "--python", sys.executable, str(environment)], check=True)
    subprocess.run([*quiet, "pip", "install", "--python", python, str(wheel)], check=True)
    project = tmp_path / "project"
    project.mkdir()
    env = {**os.environ, "PATH": f"{environment / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"}

    def mlpipec(*arguments: str) -> str:
        command = [str(environment / "bin" / "mlpipec"), *arguments]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    where = subprocess.run(
        [python, "-c", "import mlflowc; print(mlflowc.__file__)"], cwd=project, capture_output=True, text=True
    )
    assert where.stdout.startswith(str(environment))
    assert mlpipec("--version").startswith("mlpipec ")
    mlpipec("init")
    mlpipec("check")
    mlpipec("run")
    assert (project / "mlpipe.lock").exists()
    for target in ("github", "gitlab", "bitbucket", "make"):
        assert "mlpipec" in mlpipec("build", "--target", target, "--stdout")
