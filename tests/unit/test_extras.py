"""The command that adds an optional part is the one that installed mlpipec."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from mlflowc import extras
from tests.conftest import CHECKOUT


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("pyvenv.cfg", "pip install 'mlflowc[data]'"),
        ("uv-receipt.toml", "uv tool install 'mlflowc[data]'"),
        ("pipx_metadata.json", "pipx install --force 'mlflowc[data]'"),
    ],
)
def test_by_what_is_in_the_environment(
    file: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert extras.install("data") == command


def test_all_that_are_named_are_there() -> None:
    known = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set()
    for path in (CHECKOUT / "mlflowc").rglob("*.py"):
        for part in path.read_text().split("extras.install(")[1:]:
            if part[0] in "'\"":
                named.add(part[1:].partition(part[0])[0])
    assert len(named) >= 5 and named <= set(known)
