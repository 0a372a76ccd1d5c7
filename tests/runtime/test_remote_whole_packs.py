"""Packs that go into a remote and come from it as they are, and what is looked at on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.packstore import Piece
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes import names, packs
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.packs import Index, Sized
from mlflowc.runtime.remotes.transport import AbsentError, RemoteError
from tests.runtime.test_remote_engine import Memory, Side


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs are full at 4 kB."""
    monkeypatch.setattr(packs, "FULL", 4096)


@pytest.fixture
def memory() -> Memory:
    """An empty remote."""
    return Memory()


def contents(number: int, seed: str = "") -> list[bytes]:
    """So many contents of 40 bytes."""
    return [f"{seed}{n} ".encode().ljust(40, b".") for n in range(number)]


def folder(side: Side, wanted: list[bytes]) -> Record:
    """A result: a folder of these files. They are in the store in packs, in that order."""
    side.store.put_pieces([Piece(hash_bytes(c), c) for c in wanted if not side.store.has(hash_bytes(c))])
    entries = [tree.Entry(f"{n:05}.txt", "f", hash_bytes(c), len(c)) for n, c in enumerate(wanted)]
    digest = side.store.put_listing(entries)
    made = Record(hash_bytes(digest.encode()), "make", {}, (OutputRecord("d", "d", "dir", digest, 1),))
    side.store.put_record(made)
    return made


def local(side: Side) -> dict[str, bytes]:
    """The packs of a store by the hash of their contents."""
    found = [p.read_bytes() for p in (side.store.root / "packs").glob("*.pack")]
    return {hash_bytes(data): data for data in found}


def remote(memory: Memory, kind: str = "packs") -> dict[str, bytes]:
    """What is in the remote, by the last part of its name."""
    prefix = names.folder("trusted", kind)
    return {n.rpartition("/")[2]: data for n, data in memory.files.items() if n.startswith(prefix)}


def test_packs_go_and_come_as_they_are(tmp_path: Path, memory: Memory) -> None:
    maker, taker = Side(tmp_path / "maker", memory), Side(tmp_path / "taker", memory)
    made = folder(maker, contents(250))
    assert len(local(maker)) == 3
    assert maker.push(made).new == 1
    full = {i: data for i, data in local(maker).items() if len(data) >= packs.FULL // 2}
    assert len(full) == 2
    assert full.items() <= remote(memory).items()
    assert all(Index(remote(memory, "index")[i]).is_of(data) for i, data in full.items())
    assert taker.pull(made.key)
    assert full.items() <= local(taker).items()
    assert taker.store.packs.check() == []


def test_what_nobody_pushes_stays_here(tmp_path: Path, memory: Memory) -> None:
    maker = Side(tmp_path / "maker", memory)
    secret = contents(60, "secret")
    maker.store.put_pieces([Piece(hash_bytes(c), c) for c in (*secret, *contents(60))])
    made = folder(maker, contents(120))
    assert maker.push(made).new == 1
    assert not any(b"secret" in data for data in memory.files.values())
    assert Side(tmp_path / "taker", memory).pull(made.key)


def test_what_is_there_is_not_sent_again(tmp_path: Path, memory: Memory) -> None:
    maker = Side(tmp_path / "maker", memory)
    maker.push(folder(maker, contents(1200)))
    before = set(remote(memory))
    again = folder(maker, contents(1200) + contents(5, "new"))
    assert maker.push(again).new == 1
    sent = [data for i, data in remote(memory).items() if i not in before]
    assert any(contents(5, "new")[0] in data for data in sent)
    assert not any(contents(1)[0] in data for data in sent)
    assert Side(tmp_path / "taker", memory).pull(again.key)


@pytest.mark.parametrize("when", ["before it is asked", "while it is sent"])
def test_a_pack_that_was_spoiled_is_not_sent(
    tmp_path: Path, memory: Memory, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Side(tmp_path / "maker", memory)
    made = folder(maker, contents(300))

    def spoil() -> None:
        for path in (maker.store.root / "packs").glob("*.pack"):
            path.write_bytes(path.read_bytes().replace(b"7 ....", b"7 spoi"))

    if when == "while it is sent":
        ask = maker.store.packs.whole

        def whole(wanted: set[str]) -> list[tuple[str, Index]]:
            found = ask(wanted)
            spoil()
            return found

        monkeypatch.setattr(maker.store.packs, "whole", whole)
    else:
        spoil()
    done = maker.push(made)
    assert (done.new, done.lost) == (0, ["make"])
    assert not any(b"spoi" in data for data in memory.files.values())


def test_a_pack_that_was_spoiled_there_gives_the_rest(tmp_path: Path, memory: Memory) -> None:
    maker, taker = Side(tmp_path / "maker", memory), Side(tmp_path / "taker", memory)
    made = folder(maker, contents(300))
    maker.push(made)
    bad = hash_bytes(contents(8)[7])
    for name in [n for n in memory.files if "/packs/" in n]:
        memory.files[name] = memory.files[name].replace(contents(8)[7], b"spoilt".ljust(40))
    assert not taker.pull(made.key)
    assert bad in taker.fetcher.bad
    there = [c for c in contents(300) if taker.store.has(hash_bytes(c))]
    assert len(there) == 299
    assert taker.store.packs.check() == []
    # Who makes it again mends the remote.
    taker.store.put_pieces([Piece(bad, contents(8)[7])])
    folder(taker, contents(300))
    assert taker.push(made).new == 1
    assert Side(tmp_path / "third", memory).pull(made.key)


def test_an_index_that_lies_puts_nothing_in(tmp_path: Path, memory: Memory) -> None:
    maker, taker = Side(tmp_path / "maker", memory), Side(tmp_path / "taker", memory)
    made = folder(maker, contents(300))
    maker.push(made)
    for name in [n for n in memory.files if "/index/" in n]:
        index = Index(memory.files[name])
        turned = [Sized(d, n) for d, n in zip(reversed(index.digests), index.lengths, strict=True)]
        memory.files[name] = packs.encode_index(turned)
    assert not taker.pull(made.key)
    assert all(
        hash_bytes(data) == digest for digest, data in taker.store.contents(map(hash_bytes, contents(300)))
    )
    assert taker.store.packs.check() == []


class AtOnceMemory(Memory):
    """A remote that can give a stretch in one piece, but for what `answers` says."""

    def __init__(self, answers: Iterator[object]) -> None:
        super().__init__()
        self.answers = answers

    def at_once(self, name: str, start: int, length: int) -> memoryview | None:
        """See `AtOnce`."""
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        if name not in self.files:
            raise AbsentError(name)
        data = memoryview(self.files[name])[start : start + length]
        return None if answer is None else data[: len(data) - int(str(answer))]


def test_a_stretch_in_one_piece_or_in_several() -> None:
    broken = RemoteError("the connection broke", transient=True)
    answers = [0, 3, None, broken, RemoteError("no"), 0]
    remote = AtOnceMemory(iter(answers))
    remote.files["x"] = bytes(range(100))
    engine = Engine(remote, sleep=lambda seconds: None)
    for _ in range(4):
        assert bytes(engine.read_stretch("x", 10, 50)) == bytes(range(10, 60))
    with pytest.raises(RemoteError, match="no"):
        engine.read_stretch("x", 10, 50)
    with pytest.raises(AbsentError):
        engine.read_stretch("y", 10, 50)
    assert bytes(engine.read_stretch("x", 10, 0)) == b""


def test_many_files_of_their_own_are_found(tmp_path: Path, memory: Memory) -> None:
    side = Side(tmp_path, memory)
    wanted = [hash_bytes(c) for c in contents(1500)]
    assert side.store.missing(wanted) == wanted
    for digest, content in zip(wanted[:700], contents(700), strict=True):
        side.store.put_checked(digest, content)
    side.store.put_pieces([Piece(d, c) for d, c in zip(wanted[700:900], contents(900)[700:], strict=True)])
    assert side.store.missing(wanted) == wanted[900:]
    # What others keep there does not hide anything.
    for n in range(4000):
        path = side.store.object_path(hash_bytes(b"other %d" % n))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert side.store.missing(wanted) == wanted[900:]
    shutil.rmtree(side.store.root / "objects")
    assert side.store.missing(wanted) == wanted[:700] + wanted[900:]
