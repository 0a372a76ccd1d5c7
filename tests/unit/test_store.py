"""The store and the index: what goes in comes out, or nothing does."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.runtime import index as index_module
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import Run, Signature, StatIndex, racy
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord, Record, decode, encode
from mlflowc.runtime.store import Store
from mlflowc.runtime.tree import Entry


@pytest.fixture
def index(tmp_path: Path) -> StatIndex:
    return StatIndex(tmp_path / "index.db")


@pytest.fixture
def store(tmp_path: Path, index: StatIndex) -> Store:
    return Store(tmp_path / "cache", LocalFileSystem(), index)


class NoClone(LocalFileSystem):
    """A file system that cannot share blocks."""

    def clone(self, source: Path, target: Path) -> bool:
        """It cannot."""
        return False


def put(store: Store, path: Path, data: bytes, *, executable: bool = False) -> OutputRecord:
    path.write_bytes(data)
    digest = hash_bytes(data)
    assert store.put_output_file(path, digest, executable, path.stat().st_mtime_ns)
    return OutputRecord("o", path.name, "file", digest, len(data), executable)


@pytest.mark.parametrize("size", [0, 10, 64 * 1024, 64 * 1024 + 1, 1_000_000])
@pytest.mark.parametrize("executable", [False, True])
def test_files_come_back(tmp_path: Path, store: Store, size: int, executable: bool) -> None:
    output = put(store, tmp_path / "a", b"x" * size, executable=executable)
    assert store.restore(output, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x" * size
    assert os.access(tmp_path / "b", os.X_OK) == executable or not executable
    assert bool((tmp_path / "b").stat().st_mode & 0o100) == executable


def test_where_blocks_cannot_be_shared_large_files_are_linked(tmp_path: Path, index: StatIndex) -> None:
    store = Store(tmp_path / "cache", NoClone(), index)
    output = put(store, tmp_path / "a", b"x" * 100_000)
    assert store.restore(output, tmp_path / "b")
    assert (tmp_path / "b").stat().st_ino == store.object_path(output.hash).stat().st_ino
    assert not (tmp_path / "b").stat().st_mode & 0o222
    small = put(store, tmp_path / "c", b"x")
    assert store.restore(small, tmp_path / "d")
    assert (tmp_path / "d").stat().st_nlink == 1
    # Another exec bit than the object's: a link would share the mode.
    assert store.restore(OutputRecord("o", "e", "file", output.hash, 100_000, True), tmp_path / "e")
    assert (tmp_path / "e").stat().st_nlink == 1


def test_writing_through_a_link_spoils_nothing(tmp_path: Path, index: StatIndex) -> None:
    store = Store(tmp_path / "cache", NoClone(), index)
    output = put(store, tmp_path / "a", b"x" * 100_000)
    (tmp_path / "a").chmod(0o644)
    with (tmp_path / "a").open("r+b") as file:
        file.write(b"evil")
    assert not store.has(output.hash)
    assert not store.restore(output, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert not store.object_path(output.hash).exists()


def test_a_touched_object_is_looked_at_again_and_kept(tmp_path: Path, store: Store) -> None:
    output = put(store, tmp_path / "a", b"content")
    os.utime(store.object_path(output.hash), ns=(1, 1))
    assert store.has(output.hash)


def test_objects_of_before_a_power_cut_are_looked_at(
    tmp_path: Path, store: Store, index: StatIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = put(store, tmp_path / "a", b"never reached the disk")
    safe = put(store, tmp_path / "b", b"reached the disk")
    index.objects_are_durable([safe.hash])
    index.close()
    # Not flushed, the file came back as zeros: same size; say that even its times are the same.
    path = store.object_path(lost.hash)
    st = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"\0" * st.st_size)
    again = StatIndex(tmp_path / "index.db")
    with sqlite3.connect(tmp_path / "index.db") as db:
        now = Signature.of(path.stat())
        db.execute("UPDATE object SET mtime = ?, ctime = ? WHERE hash = ?", (now[1], now[2], lost.hash))
    db.close()
    assert again.known_object(lost.hash) == now
    monkeypatch.setattr(index_module, "boot_id", lambda: "another boot")
    after = StatIndex(tmp_path / "index.db")
    cold = Store(tmp_path / "cache", LocalFileSystem(), after)
    assert after.known_object(lost.hash) is None
    assert after.known_object(safe.hash) is not None
    assert not cold.has(lost.hash)
    assert cold.has(safe.hash)


def test_sync_makes_objects_durable(tmp_path: Path, store: Store, index: StatIndex) -> None:
    put(store, tmp_path / "a", b"1")
    assert index.volatile_objects()
    store.sync()
    assert index.volatile_objects() == []


def test_a_folder_whose_object_is_gone_leaves_nothing(tmp_path: Path, store: Store) -> None:
    a, b = put(store, tmp_path / "a", b"1"), put(store, tmp_path / "b", b"2")
    digest = store.put_listing([Entry("x", "f", a.hash, 1), Entry("y/z", "x", b.hash, 1), Entry("e", "d")])
    folder = OutputRecord("d", "d", "dir", digest, 2)
    assert store.has_output(folder)
    assert store.restore(folder, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["e", "x", "y", "z"]
    store.object_path(b.hash).unlink()
    assert not store.has_output(folder)
    assert not store.restore(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()


records = st.builds(
    Record,
    key=st.just("ab" * 32),
    stage=st.text(max_size=5),
    components=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3),
    outputs=st.just((OutputRecord("o", "p", "file", "cd" * 32, 3, True),)),
    metrics=st.just({"m": {"a.b": 0.1, "n": 3}}),
    params=st.just({"a": [1, "x", None], "b": 1.0}),
    started=st.floats(0, 1e10),
    seconds=st.floats(0, 1e6),
    log=st.none() | st.just("ef" * 32),
)


@given(records)
def test_records_there_and_back(record: Record) -> None:
    assert decode(encode(record)) == record


@given(records, st.data())
def test_a_record_with_any_byte_changed_is_refused(record: Record, data: st.DataObject) -> None:
    content = encode(record)
    at = data.draw(st.integers(0, len(content) - 2))
    changed = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    with pytest.raises(ValueError):
        decode(changed)
    with pytest.raises(ValueError):
        decode(content[:at])


def test_a_record_under_the_key_of_another_is_a_miss(store: Store) -> None:
    record = Record("ab" * 32, "s", {}, ())
    store.put_record(record)
    assert store.record("ab" * 32) == record
    assert list(store.records()) == [record]
    other = store.root / "records/cd" / ("cd" * 31)
    other.parent.mkdir()
    other.write_bytes(encode(record))
    assert store.record("cd" * 32) is None
    assert not other.exists()


# --- the index


def signature(path: Path) -> Signature:
    return Signature.of(path.stat())


def test_the_index_remembers_what_can_be_believed(tmp_path: Path, index: StatIndex) -> None:
    path = tmp_path / "f"
    path.write_text("1")
    now = signature(path)
    index.remember_file("young", now, "h", now.ctime_ns + 1_000_000)
    index.remember_file("old", now, "h", now.ctime_ns + 1_000_000_000_000)
    index.remember_file("ours", now, "h", 0, ours=True)
    index.close()
    again = StatIndex(tmp_path / "index.db")
    assert again.file("young", now) is None
    assert again.file("old", now) == "h"
    assert again.file("ours", now) == "h"
    for n in range(4):
        other = Signature(*(v + (i == n) for i, v in enumerate(now)))
        assert again.file("old", other) is None


def test_racy_follows_the_clock_of_the_file_system() -> None:
    assert racy(1_000_000_000_123, 1_000_000_000_123)
    assert racy(1_000_000_000_123, 1_000_010_000_000)
    assert not racy(1_000_000_000_123, 1_000_100_000_000)
    # Whole seconds: the file system knows no better, so two of them must pass.
    assert racy(5_000_000_000, 6_000_000_000)
    # From the future: never believed.
    assert racy(9_000_000_000_123, 1_000_000_000_123)


def test_flush_waits_until_a_change_must_show(tmp_path: Path, index: StatIndex) -> None:
    path = tmp_path / "f"
    path.write_text("1")
    now = signature(path)
    index.remember_file("f", now, "h", 0, ours=True)
    index.flush()
    assert time.time_ns() >= now.ctime_ns + 20_000_000


def test_a_locked_index_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = StatIndex(tmp_path / "index.db")
    first.remember_run(Run("s", "k", 1.0, 2.0, "ran"))
    first.close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.01}))
    blocker = connect(tmp_path / "index.db", isolation_level=None)
    try:
        blocker.execute("BEGIN EXCLUSIVE")
        index = StatIndex(tmp_path / "index.db")
        index.remember_run(Run("s", "k2", 3.0, 4.0, "ran"))
        index.flush()
        assert [r.key for r in index.history("s")][:1] == ["k2"]
        blocker.execute("COMMIT")
        index.close()
    finally:
        blocker.close()
    assert [r.key for r in StatIndex(tmp_path / "index.db").history("s")] == ["k2", "k"]


def test_an_index_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = StatIndex(tmp_path / "file" / "index.db")
    index.remember_run(Run("s", "k", 1.0, 2.0, "ran"))
    index.close()
    assert index.file("x", Signature(0, 0, 0, 0)) is None


def test_two_processes_share_an_index(tmp_path: Path) -> None:
    def write(n: int) -> None:
        index = StatIndex(tmp_path / "index.db")
        for k in range(20):
            index.remember_run(Run(f"s{n}", str(k), 1.0, 2.0, "ran"))
            index.flush()
        index.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    index = StatIndex(tmp_path / "index.db")
    assert [len(index.history(f"s{n}")) for n in range(3)] == [20, 20, 20]


def test_nothing_outside_of_the_cache_is_dropped_or_believed(store: Store, tmp_path: Path) -> None:
    for kind in ("objects", "trees", "records"):
        (store.root / kind / "..").mkdir(parents=True, exist_ok=True)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for path in (f"../{os.path.relpath(victim, store.root)}", f"aa{victim}", f"..{victim}"):
        made = OutputRecord("o", "o", "file", path, 4)
        assert not store.has(path) and not store.has_output(made)
        assert not store.has_output(OutputRecord("o", "o", "dir", path, 4))
        assert store.listing(path) is None and store.record(path) is None
        store.drop(path)
    assert victim.read_text() == "mine"
