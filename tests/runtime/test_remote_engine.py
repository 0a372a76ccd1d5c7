"""Transfers over a bad line, by a transport that fails as it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes import names
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.fetch import Fetcher
from mlflowc.runtime.remotes.library import Library
from mlflowc.runtime.remotes.push import Pushed, Pusher, Writer
from mlflowc.runtime.remotes.transport import AbsentError, Found, RemoteError
from mlflowc.runtime.store import Store
from tests.support.stores import put_bytes


class Memory:
    """Names and bytes in memory. `faults` are taken one a request, whatever it is; "" means none."""

    shown = "memory://"
    width = 4
    writable = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.served = 0

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        fault = self._ask("read", name)
        if name not in self.files:
            raise AbsentError(name)
        data = self.files[name][start : None if length is None else start + length]
        if fault == "corrupt" and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        if fault == "short":
            data = data[: len(data) // 2]
        for at in range(0, len(data), 100_000):
            chunk = data[at : at + 100_000]
            if fault == "drop" and at > 0:
                raise RemoteError("the connection broke", transient=True)
            self.served += len(chunk)
            yield chunk

    def size(self, name: str) -> int | None:
        self._ask("size", name)
        return len(self.files[name]) if name in self.files else None

    def write(self, name: str, content: bytes | Path, *, fresh: bool = False) -> bool:
        self._ask("write", name)
        if fresh and name in self.files:
            return False
        self.files[name] = content if isinstance(content, bytes) else content.read_bytes()
        return True

    def names(self, prefix: str) -> Iterator[Found]:
        self._ask("names", prefix)
        yield from [Found(n, len(d), 0.0) for n, d in self.files.items() if n.startswith(prefix)]

    def remove(self, name: str) -> None:
        self._ask("remove", name)
        self.files.pop(name, None)

    def close(self) -> None:
        """Nothing is open."""

    def _ask(self, what: str, name: str) -> str:
        self.asked.append((what, name))
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "500":
            raise RemoteError("500 Internal Server Error", transient=True)
        if fault == "403":
            raise RemoteError("it refuses these credentials")
        return fault


class Side:
    """One machine: a store, and a way to the remote that never really waits."""

    def __init__(self, root: Path, memory: Memory, namespace: str = "trusted") -> None:
        self.pauses: list[float] = []
        self.memory = memory
        self.engine = Engine(memory, sleep=self.pauses.append)
        self.store = Store(root / "cache", LocalFileSystem(), StatIndex(None))
        self.library = Library(self.engine, root / "remotes")
        self.fetcher = Fetcher(self.engine, self.store, (namespace,), self.library)
        self.namespace = namespace

    def push(self, *made: Record) -> Pushed:
        reads = (self.namespace,)
        writer = Writer(reads, self.namespace)
        pusher = Pusher(self.engine, self.store, writer, self.library, self.fetcher.bad)
        return pusher.push(made)

    def pull(self, key: str) -> bool:
        entry = self.fetcher.entry(key)
        if entry is None or not self.fetcher.outputs(entry, entry.record.outputs):
            return False
        return all(self.store.has_output(o) for o in entry.record.outputs)

    def make(self, key: str, files: dict[str, bytes], file: bytes = b"") -> Record:
        """A result: a folder of files, and a file."""
        entries = [tree.Entry(n, "f", put_bytes(self.store, d), len(d)) for n, d in files.items()]
        outputs = (
            OutputRecord("d", "out/d", "dir", self.store.put_listing(entries), sum(map(len, files.values()))),
            OutputRecord("f", "out/f", "file", put_bytes(self.store, file), len(file)),
        )
        made = Record(hash_bytes(key.encode()), key, {}, outputs)
        self.store.put_record(made)
        return made


LARGE = bytes(range(256)) * 8000  # 2 MB


@pytest.fixture
def memory() -> Memory:
    """An empty remote."""
    return Memory()


def small(number: int, seed: str = "") -> dict[str, bytes]:
    """Many small files, all different."""
    return {f"{n % 7}/{n}.txt": f"{seed}{n}\n".encode() * 10 for n in range(number)}


@pytest.fixture
def made(tmp_path: Path, memory: Memory) -> Record:
    """A result in the remote: 200 small files and one large."""
    side = Side(tmp_path / "maker", memory)
    record = side.make("train", small(200), LARGE)
    assert side.push(record).new == 1
    return record


def test_small_files_travel_together(tmp_path: Path, memory: Memory, made: Record) -> None:
    assert len(memory.asked) < 15
    memory.asked.clear()
    assert Side(tmp_path / "other", memory).pull(made.key)
    assert len(memory.asked) < 8


def test_the_record_comes_last(memory: Memory, made: Record) -> None:
    written = [name.split("/")[2] for what, name in memory.asked if what == "write"]
    assert written[-1] == "records"
    assert written.index("packs") < written.index("index")


@pytest.mark.parametrize("fault", ["drop", "500", "short", "corrupt"])
def test_one_fault_anywhere_is_got_over(tmp_path: Path, memory: Memory, made: Record, fault: str) -> None:
    for at in range(7):
        memory.faults = [""] * at + [fault]
        side = Side(tmp_path / f"{at}", memory)
        assert side.pull(made.key), f"request {at}"
        memory.faults = []


def test_a_broken_download_goes_on_where_it_broke(tmp_path: Path, memory: Memory, made: Record) -> None:
    name = names.content("trusted", "objects", made.outputs[1].hash)
    memory.served = 0
    memory.faults = ["drop"] * 4
    side = Side(tmp_path / "other", memory)
    assert b"".join(side.engine.read(name)) == LARGE
    assert memory.served == len(LARGE), "nothing was sent twice"
    assert len(side.pauses) == 4


def test_an_interrupted_download_is_taken_up_by_the_next_process(
    tmp_path: Path, memory: Memory, made: Record
) -> None:
    output = made.outputs[1]
    entry = Side(tmp_path / "asks", memory).fetcher.entry(made.key)
    assert entry
    first = Side(tmp_path / "other", memory)
    # The entry's packs are asked for first: their index is in one request.
    memory.faults = ["", "drop", "403"]
    with pytest.raises(RemoteError):
        first.fetcher.outputs(entry, [output])
    part = first.store.root / "tmp" / f"fetch-{output.hash}"
    there = part.stat().st_size
    assert 0 < there < len(LARGE)
    memory.served = 0
    second = Side(tmp_path / "other", memory)
    assert second.fetcher.outputs(entry, [output])
    assert second.store.has(output.hash)
    assert memory.served == len(LARGE) - there
    assert not part.exists()


def test_a_part_that_is_wrong_is_begun_anew(tmp_path: Path, memory: Memory, made: Record) -> None:
    side = Side(tmp_path / "other", memory)
    (side.store.root / "tmp").mkdir(parents=True)
    part = side.store.root / "tmp" / f"fetch-{made.outputs[1].hash}"
    for wrong in (b"something else", LARGE + b"more", bytes(len(LARGE))):
        part.write_bytes(wrong)
        assert side.pull(made.key)
        side.store.drop(made.outputs[1].hash)


def test_what_stays_wrong_is_a_miss_and_is_mended_by_the_next_push(
    tmp_path: Path, memory: Memory, made: Record
) -> None:
    for name in list(memory.files):
        if "/packs/" in name or "/objects/" in name:
            memory.files[name] = bytes(len(memory.files[name]))
    side = Side(tmp_path / "other", memory)
    assert not side.pull(made.key)
    assert side.fetcher.bad
    side.make("train", small(200), LARGE)
    assert side.push(made).new == 1
    assert Side(tmp_path / "third", memory).pull(made.key)


@pytest.mark.parametrize("kind", ["packs", "index", "objects", "records"])
def test_what_was_collected_is_a_miss(tmp_path: Path, memory: Memory, made: Record, kind: str) -> None:
    for name in [n for n in memory.files if f"/{kind}/" in n]:
        del memory.files[name]
    side = Side(tmp_path / "other", memory)
    entry = side.fetcher.entry(made.key)
    assert entry is None if kind == "records" else entry and not side.fetcher.present(entry, made.outputs)
    assert not side.pull(made.key)


def test_a_server_that_stays_away_is_given_up_soon(tmp_path: Path, memory: Memory, made: Record) -> None:
    memory.faults = ["500"] * 1000
    side = Side(tmp_path / "other", memory)
    with pytest.raises(RemoteError, match="500"):
        side.fetcher.entry(made.key)
    assert len(side.pauses) == 4
    assert all(0 < p <= 5 for p in side.pauses)
    assert side.pauses[-1] > side.pauses[0]


def test_refused_credentials_are_not_tried_again(tmp_path: Path, memory: Memory, made: Record) -> None:
    memory.faults = ["403"]
    side = Side(tmp_path / "other", memory)
    with pytest.raises(RemoteError, match="credentials"):
        side.fetcher.entry(made.key)
    assert side.pauses == []


def test_a_push_that_broke_off_leaves_no_record_and_goes_on(tmp_path: Path, memory: Memory) -> None:
    side = Side(tmp_path / "maker", memory)
    record = side.make("train", small(300), LARGE)
    for stop in range(1, 12):
        memory.faults = [""] * stop + ["403"] * 100
        try:
            side.push(record)
        except RemoteError:
            assert not any("/records/" in n for n in memory.files), f"stopped at request {stop}"
        memory.faults = []
        if any("/records/" in n for n in memory.files):
            break
    else:
        assert side.push(record).new == 1
    assert Side(tmp_path / "other", memory).pull(record.key)


def test_only_what_changed_is_sent(tmp_path: Path, memory: Memory) -> None:
    side = Side(tmp_path / "maker", memory)
    files = small(3000)
    side.push(side.make("one", files))
    files["0/0.txt"] = b"changed\n"
    elsewhere = Side(tmp_path / "elsewhere", memory)
    done = elsewhere.push(elsewhere.make("two", files))
    listing = len(tree.encode([tree.Entry(n, "f", hash_bytes(d), len(d)) for n, d in files.items()]))
    assert done.bytes < listing + 1000
    assert Side(tmp_path / "other", memory).pull(hash_bytes(b"two"))


def test_of_two_results_for_one_key_the_first_stays(tmp_path: Path, memory: Memory) -> None:
    one, two = Side(tmp_path / "1", memory), Side(tmp_path / "2", memory)
    first, second = one.make("train", small(3, "a")), two.make("train", small(3, "b"))
    assert one.push(first).new == 1
    done = two.push(second)
    assert (done.new, done.there, done.differs) == (0, 1, ["train"])
    other = Side(tmp_path / "other", memory)
    entry = other.fetcher.entry(first.key)
    assert entry
    assert entry.record.outputs == first.outputs


def test_what_the_cache_lost_is_not_sent(tmp_path: Path, memory: Memory) -> None:
    side = Side(tmp_path / "maker", memory)
    good, bad, large = (
        side.make("good", small(5, "g")),
        side.make("bad", small(5, "b")),
        side.make("l", {}, LARGE),
    )
    path = side.store.object_path(hash_bytes(small(5, "b")["1/1.txt"]))
    path.chmod(0o644)
    path.write_bytes(b"tampered")
    side.store.drop(large.outputs[1].hash)
    done = side.push(good, bad, large)
    assert (done.new, sorted(done.lost)) == (1, ["bad", "l"])
    assert Side(tmp_path / "other", memory).pull(good.key)
    assert not Side(tmp_path / "other", memory).pull(bad.key)


def test_a_listing_that_would_write_elsewhere_is_refused(tmp_path: Path, memory: Memory) -> None:
    side = Side(tmp_path / "maker", memory)
    evil = tree.encode(
        [tree.Entry("a", "l", "", 0, "/etc"), tree.Entry("a/b", "f", put_bytes(side.store, b"x"), 1)]
    )
    digest = hash_bytes(evil)
    path = side.store.root / "trees" / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(evil)
    record = Record(hash_bytes(b"k"), "k", {}, (OutputRecord("d", "d", "dir", digest, 1),))
    side.push(record)
    assert not Side(tmp_path / "other", memory).pull(record.key)


def test_a_full_disk_is_said(tmp_path: Path, memory: Memory, made: Record) -> None:
    class Full(LocalFileSystem):
        """No space for anything new."""

        def create(self, path: str, data: bytes | memoryview, mode: int):  # type: ignore[no-untyped-def]
            """Fails."""
            raise OSError(28, "No space left on device")

        def write(self, path: Path, data: bytes | memoryview, *, sync: bool = False) -> None:
            """Fails."""
            raise OSError(28, "No space left on device")

    side = Side(tmp_path / "other", memory)
    side.store._fs = side.store.listings._fs = Full()
    with pytest.raises(OSError, match="No space"):
        side.pull(made.key)
    side.store._fs = side.store.listings._fs = LocalFileSystem()
    assert side.pull(made.key), "and once there is space, it goes on"


def test_many_at_once_end_with_the_first_error(memory: Memory) -> None:
    engine = Engine(memory)
    begun: list[int] = []

    def work(n: int) -> int:
        begun.append(n)
        if n == 3:
            raise RemoteError("no")
        return n

    with pytest.raises(RemoteError, match="no"):
        engine.each(work, range(10_000))
    assert len(begun) < 10_000
    assert engine.each(lambda n: n * n, range(50)) == [n * n for n in range(50)]
