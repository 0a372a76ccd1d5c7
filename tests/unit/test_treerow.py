"""What is remembered of folders: what is made of earlier memory is what is made without it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.runtime import statx, tree, treerow, walking
from mlflowc.runtime.hashing import hash_below, hash_bytes

NAMES = st.sampled_from(["a", "a.b", "a-b", "b/c", "b/d", "b/e/f", "b.x", 'q"', "\\", " x", "ä", "n\nl"])
STATES = st.dictionaries(NAMES, st.sampled_from(["", "1", "22", "x", "link", "away", "folder"]), max_size=8)


def _make(folder: Path, state: dict[str, str]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif state.get(str(path.relative_to(folder))) is None or path.is_symlink():
            path.unlink()
    for name, what in state.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            continue
        if what in ("link", "away", "folder"):
            place.unlink(missing_ok=True)
            if what == "folder":
                place.mkdir()
            else:
                place.symlink_to("a" if what == "link" else "/etc/hostname")
        elif not place.exists() or place.read_text() != what:
            place.write_text(what)
            place.chmod(0o755 if what == "x" else 0o644)


def _row(folder: str, known: treerow.TreeRow | None, exact: bool) -> tuple[treerow.TreeRow, int]:
    asked: list[bytes] = []

    def hashed(files: Sequence[tuple[bytes, int]]) -> list[bytes]:
        asked.extend(path for path, _ in files)
        return hash_below(folder, files)

    walk = walking.look_through(folder)
    return treerow.of_walk(folder, walk, known, hashed, exact=exact), len(asked)


@settings(max_examples=80, deadline=None)
@given(st.lists(STATES, min_size=1, max_size=4), st.booleans())
def test_what_is_known_of_before_changes_nothing(states: list[dict[str, str]], exact: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "folder")
        folder.mkdir()
        known: treerow.TreeRow | None = None
        for state in states:
            _make(folder, state)
            anew, _ = _row(str(folder), None, exact)
            mended, _ = _row(str(folder), known, exact)
            assert mended.listing == anew.listing
            assert mended.listing == tree.encode(
                tree.entries(str(folder), walking.look_through(str(folder)), bytes(anew.digests), exact=exact)
            )
            assert (mended.hash, mended.size) == (hash_bytes(anew.listing), anew.size)
            assert (bytes(mended.digests), mended.walk) == (bytes(anew.digests), anew.walk)
            known = treerow.decode(mended.encode())
            assert known.encode() == mended.encode()
            assert _row(str(folder), known, exact)[1] == 0


def test_a_damaged_row_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    data = _row(str(tmp_path), None, True)[0].encode()
    for n in range(0, len(data), 7):
        with pytest.raises(ValueError, match="damaged"):
            treerow.decode(data[:n] + bytes([data[n] ^ 1]) + data[n + 1 :])
    for n in range(0, len(data), 7):
        with pytest.raises(ValueError, match="damaged"):
            treerow.decode(data[:n])


@given(st.binary(max_size=40), st.integers(1, 9), st.data())
def test_differences(one: bytes, width: int, data: st.DataObject) -> None:
    one = one[: len(one) // width * width] * 100
    other = bytearray(one)
    for n in data.draw(st.lists(st.integers(0, max(0, len(one) - 1)), max_size=5)) if one else ():
        other[n] ^= 1
    expected = [n for n in range(len(one) // width) if one[n * width :][:width] != other[n * width :][:width]]
    assert list(treerow.differences(one, bytes(other), width)) == expected


def test_both_ways_of_asking_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(1500):
        (tmp_path / f"{n}").write_text("x" * (n % 7))
    os.utime(tmp_path / "3", ns=(-1_500_000_000, -1_500_000_000))
    (tmp_path / "folder" / "empty").mkdir(parents=True)
    (tmp_path / "link").symlink_to("3")
    quick = walking.look_through(str(tmp_path))
    monkeypatch.setattr(statx, "_found", [None])
    slow = walking.look_through(str(tmp_path))
    assert quick == slow
    found = {f.path: f for f in slow.found()}
    st_ = (tmp_path / "3").stat()
    assert found["3"].mtime_ns == st_.st_mtime_ns == -1_500_000_000
    assert found["3"].inode == st_.st_ino
    assert found["folder/empty"].kind == "d"
    assert found["link"].target == "3"
