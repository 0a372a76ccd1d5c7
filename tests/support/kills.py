"""A project in which commands are killed, or meet a disk that fails: what tests of that share."""

from __future__ import annotations

import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.faulty import Ended, Faults


@dataclass
class World:
    """A project in `project`, and what is beside it: a remote, files, another checkout."""

    root: Path
    faults: Faults = field(repr=False)

    @property
    def project(self) -> Path:
        return self.root / "project"

    def set(self, p: int) -> None:
        (self.project / "params.yaml").write_text(f"p:\n  x: {p}\n")

    def call(self, *words: str, code: int | None = 0) -> Ended:
        """A command without a fault."""
        done = self.faults.call(self.project, words)
        assert code is None or done.code == code, done
        assert done.code in (0, 1, 2), done
        return done

    def forget(self, *names: str) -> None:
        """Removes files and folders of the project."""
        for name in names:
            path = self.project / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def copy(self, root: Path) -> Self:
        # With its hard links and times.
        subprocess.run(["cp", "-a", str(self.root), str(root)], check=True)
        return type(self)(root, self.faults)


def sample(changes: int, salt: str, most: int) -> list[int]:
    """All changes, or `most` of them: the same in every run of the tests."""
    return sorted(random.Random(salt).sample(range(1, changes + 1), min(most, changes)))


def said_well(done: Ended) -> None:
    """Whatever was hit: the program says so, as it says such things."""
    assert done.code in (0, 1), done
    assert "Traceback" not in done.err, done
    assert "this is a bug" not in done.err, done
