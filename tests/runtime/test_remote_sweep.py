"""Clearing up a remote: what a result needs stays, whoever pushes meanwhile and wherever it breaks off."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.runtime.collect import Limits
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.records import Record
from mlflowc.runtime.remotes import condemned, entries, names
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.sweep import Sweeper, Swept
from mlflowc.runtime.remotes.transport import Found, RemoteError
from tests.conftest import EXAMPLES
from tests.runtime.test_remote_engine import Memory, Side

DAY = 24 * 3600.0
BIG = b"big" * 500_000


class Shelf(Memory):
    """A remote that knows when things were written, and fails for good at request number `fails_at`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000 * DAY
        self.times: dict[str, float] = {}
        self.fails_at: int | None = None
        self.requests = 0

    def _ask(self, what: str, name: str) -> str:
        self.requests += 1
        if self.fails_at is not None and self.requests >= self.fails_at:
            raise RemoteError("the line is cut")
        return super()._ask(what, name)

    def write(self, name: str, content: bytes | Path, *, fresh: bool = False) -> bool:
        done = super().write(name, content, fresh=fresh)
        if done:
            # No two at the same moment, as a clock with a fine tick has it.
            self.now += 0.001
            self.times[name] = self.now
        return done

    def names(self, prefix: str) -> Iterator[Found]:
        for name, size, _ in super().names(prefix):
            yield Found(name, size, self.times[name])


class World:
    """A remote, a machine that makes results, collectors. Checks are by machines with empty caches."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shelf = Shelf()
        self.maker = Side(root / "maker", self.shelf)
        self.made: dict[str, Record] = {}
        self.fresh = itertools.count()

    def make(self, name: str, files: dict[str, bytes], file: bytes = b"") -> Record:
        """A result in the remote."""
        self.made[name] = self.maker.make(name, files, file)
        self.maker.push(self.made[name])
        return self.made[name]

    def sweep(
        self,
        limits: Limits | None = None,
        *,
        pinned: tuple[str, ...] = (),
        grace: float = DAY,
        dry: bool = False,
    ) -> Swept:
        """By a machine of its own."""
        side = Side(self.root / f"gc{next(self.fresh)}", self.shelf)
        keys = [hash_bytes(n.encode()) for n in pinned]
        sweeper = Sweeper(
            side.engine,
            side.fetcher,
            side.library,
            ["trusted"],
            [],
            pinned=keys,
            now=self.shelf.now,
            grace=grace,
        )
        return sweeper.sweep(limits or Limits(), dry=dry)

    def whole(self, name: str) -> bool:
        """Whether an empty machine can fetch the result."""
        return Side(self.root / f"other{next(self.fresh)}", self.shelf).pull(hash_bytes(name.encode()))

    def recorded(self, name: str) -> bool:
        return names.record("trusted", hash_bytes(name.encode())) in self.shelf.files

    def kinds(self) -> dict[str, int]:
        """How many files of each kind there are."""
        found: dict[str, int] = {}
        for name in self.shelf.files:
            kind = name.split("/")[2]
            found[kind] = found.get(kind, 0) + 1
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty one."""
    return World(tmp_path)


def files(seed: str, number: int = 5) -> dict[str, bytes]:
    """Small files."""
    return {f"{n}.txt": f"{seed} {n}\n".encode() * 300 for n in range(number)}


def test_old_results_go_and_their_content_after_the_grace_period(world: World) -> None:
    world.make("old", files("old"), BIG + b"1")
    world.shelf.now += 40 * DAY
    world.make("new", files("new"), BIG + b"2")
    tried = world.sweep(Limits(keep=30 * DAY), dry=True)
    assert (tried.records, tried.files) == (1, 0)
    assert tried.later > len(BIG)
    before = dict(world.shelf.files)
    assert world.recorded("old")
    first = world.sweep(Limits(keep=30 * DAY))
    assert (first.records, first.files, first.later) == (1, 0, tried.later)
    assert not world.recorded("old")
    assert set(before) - set(world.shelf.files) == {names.record("trusted", hash_bytes(b"old"))}
    assert world.sweep().files == 0, "the grace period is not over"
    world.shelf.now += 2 * DAY
    again = world.sweep()
    assert (again.files, again.later) == (3, 0), "the pack, its index and the large file"
    assert again.bytes > len(BIG)
    assert world.kinds() == {"records": 1, "packs": 1, "index": 1, "objects": 1}
    assert world.whole("new")


def test_what_a_lock_names_stays(world: World) -> None:
    world.make("pinned", files("a"))
    world.make("other", files("b"))
    world.shelf.now += 400 * DAY
    assert world.sweep(Limits(keep=DAY, most=0), pinned=("pinned",)).records == 1
    assert (world.whole("pinned"), world.recorded("other")) == (True, False)


def test_to_a_size_the_oldest_go_first(world: World) -> None:
    for n in range(4):
        world.make(f"r{n}", {}, BIG + bytes([n]))
        world.shelf.now += 10 * DAY
    assert world.sweep(Limits(most=2 * len(BIG) + 100)).records == 2
    assert [world.recorded(f"r{n}") for n in range(4)] == [False, False, True, True]


def test_what_was_just_written_stays(world: World) -> None:
    world.make("running", files("a"), BIG)
    assert world.sweep(Limits(keep=1.0, most=0)).records == 0
    assert world.whole("running")


def test_a_pack_of_mostly_nothing_is_written_anew(world: World) -> None:
    shared = files("shared", 2)
    world.make("fat", {**shared, **{f"x{n}": f"{n}".encode() * 5000 for n in range(100)}})
    world.shelf.now += 40 * DAY
    # So much that it is worth looking which contents are there already.
    more = {f"y{n}": f"{n}-".encode() * 3000 for n in range(400)}
    world.make("thin", {**shared, **more})
    entry = entries.decode(
        world.shelf.files[names.record("trusted", world.made["thin"].key)], world.made["thin"].key, "trusted"
    )
    assert len(entry.packs) == 2, "some of it is in the pack of the other"
    assert world.sweep(Limits(keep=30 * DAY), dry=True).repacked == 1, "a dry run tells"
    done = world.sweep(Limits(keep=30 * DAY))
    assert (done.records, done.repacked) == (1, 1)
    assert world.whole("thin")
    world.shelf.now += 2 * DAY
    sizes = sum(map(len, world.shelf.files.values()))
    assert world.sweep().files > 0
    assert sum(map(len, world.shelf.files.values())) < sizes - 100_000
    assert world.whole("thin")


def test_a_push_that_began_before_is_not_robbed(world: World) -> None:
    """It found a content there, which is condemned before its record is written."""
    world.make("old", {}, BIG)
    world.shelf.now += 40 * DAY
    world.sweep(Limits(keep=30 * DAY))
    assert condemned.all_of(world.maker.engine, ["trusted"])
    world.make("late", {}, BIG)
    world.shelf.now += 2 * DAY
    world.sweep()
    assert world.whole("late")


def test_what_is_condemned_is_sent_again(world: World) -> None:
    many = {f"{n}": f"{n}-".encode() * 3000 for n in range(400)}
    world.make("old", many, BIG)
    world.shelf.now += 40 * DAY
    world.sweep(Limits(keep=30 * DAY))
    world.shelf.now += 2 * DAY
    # The next collector is about to remove it: a push must not count on what is there.
    world.shelf.asked.clear()
    world.make("again", many, BIG)
    sent = [n for what, n in world.shelf.asked if what == "write"]
    assert any("/objects/" in n for n in sent)
    assert any("/packs/" in n for n in sent)
    world.sweep()
    assert world.whole("again")


def test_other_namespaces_keep_what_they_need(world: World) -> None:
    world.make("base", {}, BIG)
    pull = Side(world.root / "pull", world.shelf, "untrusted/pr-1")
    record = world.maker.make("theirs", {}, BIG)
    text = entries.encode(Entry(record, ()))
    world.shelf.write(names.record("untrusted/pr-1", record.key), text)
    world.shelf.now += 400 * DAY
    for _ in range(2):
        side = Side(world.root / "gc", world.shelf)
        sweeper = Sweeper(
            side.engine, side.fetcher, side.library, ["trusted"], ["untrusted/pr-1"],
            pinned=[], now=world.shelf.now, grace=DAY,
        )  # fmt: skip
        sweeper.sweep(Limits(keep=30 * DAY))
        world.shelf.now += 2 * DAY
    large = hash_bytes(BIG)
    assert names.content("trusted", "objects", large) in world.shelf.files
    assert pull.fetcher.entry(record.key) is not None


@pytest.mark.parametrize("step", range(1, 60, 3))
def test_broken_off_anywhere_it_leaves_results_whole_or_gone(tmp_path: Path, step: int) -> None:
    world = World(tmp_path)
    shared = files("shared", 2)
    fat = {f"x{n}": f"{n}".encode() * 5000 for n in range(100)}
    world.make("fat", {**shared, **fat}, BIG)
    world.shelf.now += 40 * DAY
    world.make("thin", {**shared, **{f"y{n}": f"{n}-".encode() * 3000 for n in range(400)}}, BIG + b"2")
    world.sweep(Limits(keep=30 * DAY))
    world.shelf.now += 40 * DAY
    world.make("last", fat, BIG)
    world.shelf.requests, world.shelf.fails_at = 0, step
    try:
        world.sweep(Limits(keep=30 * DAY))
    except RemoteError:
        pass
    finally:
        world.shelf.fails_at = None
    for name in ("fat", "thin", "last"):
        assert not world.recorded(name) or world.whole(name), name
    assert world.whole("last")


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("sweep"), st.integers(0, 40)),
        st.tuples(st.just("fit"), st.integers(0, 4)),
        st.tuples(st.just("break"), st.integers(1, 60)),
    ),
    max_size=14,
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(ACTIONS)
def test_a_record_that_is_there_can_be_fetched(actions: list[tuple[str, int]]) -> None:
    """Whatever is made, waited for, collected and broken off, in whatever order."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for kind, number in actions:
            if kind == "make":
                # Results share some of their contents, small and large.
                own = {f"{n}": f"{n}-".encode() * 3000 for n in range(number * 80, number * 80 + 160)}
                world.make(f"r{number}", own, BIG + bytes([number // 2]))
            elif kind == "wait":
                world.shelf.now += number * DAY / 4
            elif kind == "sweep":
                world.sweep(Limits(keep=number * DAY))
            elif kind == "fit":
                world.sweep(Limits(most=number * len(BIG)))
            else:
                world.shelf.requests, world.shelf.fails_at = 0, number
                try:
                    world.sweep(Limits(keep=5 * DAY))
                except RemoteError:
                    pass
                finally:
                    world.shelf.fails_at = None
            for name in world.made:
                assert not world.recorded(name) or world.whole(name), (kind, number, name)
