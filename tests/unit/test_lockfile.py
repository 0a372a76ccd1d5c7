"""`mlpipe.lock`: there and back, a line an entry."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.errors import Failure
from mlflowc.runtime.lockfile import LockFile, StageEntry
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord

text = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
numbers = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
kinds = st.sampled_from(["file", "dir"])
hashes = st.text("0123456789abcdef", min_size=1, max_size=64)
outputs = st.lists(
    st.builds(
        OutputRecord, text, text, st.sampled_from(["file", "dir"]), hashes, st.integers(0, 9), st.booleans()
    ),
    max_size=3,
    unique_by=lambda o: o.name,
).map(tuple)
stages = st.dictionaries(
    text,
    st.builds(
        StageEntry,
        hashes,
        outputs,
        st.dictionaries(text, st.dictionaries(text, numbers, max_size=2), max_size=2),
        st.dictionaries(text, numbers | text, max_size=2),
    ),
    max_size=4,
)


@given(stages)
def test_there_and_back(entries: dict[str, StageEntry]) -> None:
    lock = LockFile().with_stages(entries)
    again = LockFile.parse(lock.render())
    assert again.stages().keys() == entries.keys()
    for name, entry in entries.items():
        found = again.stage(name)
        assert found is not None
        assert (found.key, found.metrics, found.params) == (entry.key, entry.metrics, entry.params)
        assert sorted(found.outputs, key=repr) == sorted(entry.outputs, key=repr)
    assert again.render() == lock.render()


@given(stages)
def test_one_line_an_entry_sorted(entries: dict[str, StageEntry]) -> None:
    lines = LockFile().with_stages(entries).render().split("\n")
    assert lines[0].startswith("#")
    assert lines[-1] == ""
    assert len(lines) == len(entries) + 2
    assert lines[1:-1] == sorted(lines[1:-1])


@given(st.text(max_size=40))
def test_anything_else_is_a_failure_or_a_lock(content: str) -> None:
    try:
        LockFile.parse(content)
    except Failure as e:
        assert "damaged at line" in e.message


@pytest.mark.parametrize("path", ["../../x", "/x", "ab/cd", ".", "", "é"])
def test_a_hash_that_is_a_path(path: str) -> None:
    """It would be put behind the folder of the cache, and what is there not have that hash: it would be
    removed."""
    pin = {"from": "url", "source": {}, "version": {}, "kind": "file", "hash": path, "size": 1}
    made = {"path": "o", "kind": "file", "hash": path, "size": 1}
    for line in (
        f"data d {json.dumps(pin)}",
        f"stage s {json.dumps({'key': 'ab', 'outputs': {'o': made}})}",
        f"stage s {json.dumps({'key': path, 'outputs': {}})}",
    ):
        with pytest.raises(Failure, match="damaged at line 1"):
            LockFile.parse(line)
    LockFile.parse(f"data d {json.dumps({**pin, 'hash': 'ab'})}")


def entry(key: str) -> StageEntry:
    return StageEntry(key, (OutputRecord("o", "o", "file", "h", 1),))


def test_changes_of_different_stages_merge(tmp_path: Path) -> None:
    # Git merges hunks that do not touch: between changed lines must be one that is not.
    names = [f"s{n}" for n in range(6)]
    base = LockFile().with_stages({n: entry("1") for n in names})
    ours, theirs = base.with_stages({"s0": entry("2")}), base.with_stages({"s4": entry("3")})
    paths = []
    for name, lock in (("ours", ours), ("base", base), ("theirs", theirs)):
        paths.append(str(tmp_path / name))
        (tmp_path / name).write_text(lock.render())
    merged = subprocess.run(["git", "merge-file", "-p", *paths], capture_output=True, text=True, check=True)
    lock = LockFile.parse(merged.stdout)
    assert {n: e.key for n, e in lock.stages().items()} == {
        **dict.fromkeys(names, "1"),
        "s0": "2",
        "s4": "3",
    }


def test_entries_of_other_kinds_stay(tmp_path: Path) -> None:
    lock = LockFile().with_("env", "py", {"pins": [1]}).with_stages({"a": entry("1"), "b": entry("2")})
    lock = lock.keeping("stage", ["a"])
    lock.write(tmp_path, LocalFileSystem())
    again = LockFile.read(tmp_path)
    assert again.get("env", "py") == {"pins": [1]}
    assert set(again.stages()) == {"a"}


def test_no_file_is_an_empty_lock(tmp_path: Path) -> None:
    assert LockFile.read(tmp_path) == LockFile()


def test_a_folder_in_its_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "mlpipe.lock").mkdir()
    with pytest.raises(Failure, match="cannot read"):
        LockFile.read(tmp_path)
