"""What tests of sources share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Data, FileType, Place, Value
from mlflowc.sources.port import Version
from mlflowc.sources.table import open_source
from tests.e2e.conftest import absent
from tests.e2e.harness import dvc as harness


@dataclass
class Taker:
    """A project folder in which sources are opened, as the commands do."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    seen: list[tuple[int, int | None]] = field(default_factory=list)

    def open(self, source: str, **args: Value):  # type: ignore[no-untyped-def]
        given = tuple(sorted(args.items()))
        return open_source(
            Data("x", Place("p.mlpipe", 1, 1), FileType("path"), source, given), self.root, self.env
        )

    def take(
        self, source: str, into: str = "got/x", version: Version | None = None, **args: Value
    ) -> tuple[Path, Version]:
        """Looks (but for a `version`), and fetches."""
        opened = self.open(source, **args)
        wanted = version if version is not None else opened.look(None).version
        target = self.root / into
        target.parent.mkdir(parents=True, exist_ok=True)
        got = opened.fetch(wanted, target, lambda done, total: self.seen.append((done, total)))
        assert {**got, **wanted} == got, "a fetched version holds all that was asked for"
        assert not [p for p in target.parent.iterdir() if p != target], "nothing is left beside it"
        return target, got

    def refused(self, source: str, version: Version | None = None, **args: Value) -> Failure:
        """What is said where it cannot be had; nothing has been written."""
        with pytest.raises(Failure) as e:
            self.take(source, "refused/x", version, **args)
        assert not (self.root / "refused/x").exists()
        assert e.value.help
        return e.value


def content(path: Path) -> Mapping[str, str] | str:
    """A file's text, or a folder's files."""
    if path.is_file():
        return path.read_text()
    return {p.relative_to(path).as_posix(): p.read_text() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.fixture
def taker(tmp_path: Path) -> Taker:
    """An empty project folder."""
    (tmp_path / "project").mkdir()
    return Taker(tmp_path / "project")


@pytest.fixture(scope="session")
def dvc() -> Path:
    """The program `dvc`."""
    found = harness.program()
    if found is None:
        absent(f"{harness.REQUIREMENT} cannot be installed")
    assert found
    return found
