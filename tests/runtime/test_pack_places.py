"""Something else than a file where a pack or its index should be: the results are made again, and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PIPELINE = """\
mlpipe 1
pipeline p
stage many {
  out d: dir = "many"
  run = "mkdir {{d}}; for i in $(seq 80); do echo $i > {{d}}/$i; done"
}
"""


def _call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Whoever opens a named pipe to read it waits for ever.
    return subprocess.run(
        [sys.executable, "-m", "mlflowc", *words], cwd=folder, capture_output=True, text=True, timeout=60
    )


def _full_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("x")


def _to_itself(path: Path) -> None:
    path.symlink_to(path.name)


# Each is what a backup, a sync tool or a hand may leave.
THINGS = (Path.mkdir, _full_folder, os.mkfifo, _to_itself)


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("kind", ["pack", "index"])
def test_it_is_in_nobodys_way(tmp_path: Path, kind: str, thing: Callable[[Path], None]) -> None:
    (tmp_path / "pipeline.mlpipe").write_text(PIPELINE)
    assert _call(tmp_path, "run").returncode == 0
    (path,) = (tmp_path / ".mlpipe/cache/packs").glob(f"*.{kind}")
    path.unlink()
    thing(path)
    shutil.rmtree(tmp_path / "many")
    done = _call(tmp_path, "run")
    assert done.returncode == 0, done
    assert len(list((tmp_path / "many").iterdir())) == 80
    shutil.rmtree(tmp_path / "many")
    assert "1 restored" in _call(tmp_path, "run").stdout
    checked = _call(tmp_path, "cache", "verify")
    assert (checked.returncode, "0 damaged" in checked.stdout) == (0, True), checked
