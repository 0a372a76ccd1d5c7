"""Files are replaced whole, and stay what they were in all else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.overwrite import overwrite


def test_a_new_file_gets_its_folder_and_the_usual_mode(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.write_bytes(b"")
    path = tmp_path / "a/b/new.txt"
    overwrite(path, b"text\n")
    assert path.read_bytes() == b"text\n"
    assert path.stat().st_mode == usual.stat().st_mode
    assert [p.name for p in path.parent.iterdir()] == ["new.txt"]


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o750)
    link.symlink_to("real")
    overwrite(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o7777 == 0o750


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Failure, match=r"cannot write `.*folder`: Is a directory"):
        overwrite(tmp_path / "folder", b"x")
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    with pytest.raises(Failure, match="cannot write"):
        overwrite(circle, b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["circle", "folder"]
