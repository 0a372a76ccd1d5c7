"""The store under writers, readers, restores, collections, bundles, damage and crashes, beside a model.

Several *hands* work on one cache folder, each with a store and an index of its own, as processes have. The
model knows what each key's result was. Whatever the order, and wherever a hand dies or the disk fails:

- what is restored is byte for byte what the record that names it was made with, or it is a miss;
- a result that a lock names, and that nobody damaged, is never collected;
- an index never believes an object whose content is another.

`MLPIPEC_TEST_EXAMPLES` sets the number of series (`make torture`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mlflowc.runtime import bundle, packstore, survey, tree
from mlflowc.runtime.bundle import Bundle, BundleError
from mlflowc.runtime.collect import Collector, Limits
from mlflowc.runtime.hashing import hash_bytes, hash_file
from mlflowc.runtime.index import Signature, StatIndex
from mlflowc.runtime.lockfile import LockFile, StageEntry
from mlflowc.runtime.packstore import Piece
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes import packs
from mlflowc.runtime.store import Store
from tests.conftest import EXAMPLES
from tests.runtime.test_faults import Faulty, KilledError

_HOUR = 3600.0
# Small ones are copied, large ones cloned or linked.
_CONTENTS = [b"", b"one\n", b"two\n", b"x" * 70_000, b"y" * 70_000]
_HANDS = st.integers(0, 2)
_KEYS = st.integers(0, 2)


def _at(most: int) -> st.SearchStrategy[int]:
    """The change that is hit; more often none."""
    return st.one_of(st.just(0), st.integers(0, most))


@dataclass
class _Hand:
    """One process: it dies, and another comes in its place."""

    folder: Path
    fs: Faulty
    index: StatIndex
    store: Store

    @classmethod
    def new(cls, root: Path, name: int) -> _Hand:
        fs = Faulty(-1, "before")
        index = StatIndex(root / f"index{name}.db")
        store = Store(root / "cache", fs, index)  # type: ignore[arg-type]
        return cls(root / f"work{name}", fs, index, store)


@dataclass(frozen=True)
class _Made:
    """What a key's command writes: a file, or a folder of files."""

    files: tuple[tuple[str, bytes, bool], ...]
    is_folder: bool
    record: Record | None = field(default=None, compare=False)


def _content(path: Path) -> tuple[tuple[str, bytes, bool], ...]:
    if path.is_dir():
        return tuple(
            (p.relative_to(path).as_posix(), p.read_bytes(), bool(p.stat().st_mode & 0o100))
            for p in sorted(path.rglob("*"))
            if p.is_file()
        )
    return (("", path.read_bytes(), bool(path.stat().st_mode & 0o100)),)


class StoreMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="mlpipec-store-"))
        self.hands = [_Hand.new(self.root, n) for n in range(3)]
        # All that was ever made of a key, by the hash of the output: what a record may stand for.
        self.made: dict[str, dict[str, tuple[tuple[str, bytes, bool], ...]]] = {}
        # Keys whose result was stored to the end, is pinned by the lock, and was not damaged since.
        self.certain: set[str] = set()
        self.pinned: dict[str, StageEntry] = {}
        self.bundles: list[Path] = []
        self.now = time.time()
        # Folders of two small files are packed, those of one or of large ones are not.
        self.few = mock.patch.object(packstore, "FEWEST", 2)
        self.few.start()

    def teardown(self) -> None:
        self.few.stop()
        for hand in self.hands:
            hand.index.close()
        shutil.rmtree(self.root, ignore_errors=True)

    # --- the world

    def armed(self, hand: int, at: int, how: str) -> _Hand:
        """A hand whose `at`-th change fails so; 0: none."""
        found = self.hands[hand]
        found.fs.at = found.fs.done + at if at else -1
        found.fs.how = how
        found.fs.number = errno.ENOSPC
        return found

    def after(self, hand: int, *, died: bool) -> None:
        """Whoever died comes anew; others go on, with no more faults."""
        found = self.hands[hand]
        found.fs.at = -1
        if died:
            with mock.patch.object(StatIndex, "flush"):
                found.index.close()
            self.hands[hand] = _Hand.new(self.root, hand)

    # --- writers

    @rule(
        hand=_HANDS,
        key=_KEYS,
        one=st.sampled_from(_CONTENTS),
        two=st.sampled_from(_CONTENTS),
        is_folder=st.booleans(),
        executable=st.booleans(),
        at=_at(14),
        how=st.sampled_from(["before", "after", "torn", "once", "always"]),
    )
    def write(
        self,
        hand: int,
        key: int,
        one: bytes,
        two: bytes,
        is_folder: bool,
        executable: bool,
        at: int,
        how: str,
    ) -> None:
        """A stage's result: objects, listing, record; perhaps not to the end."""
        name = hash_bytes(str(key).encode())
        writer = self.armed(hand, at, how)
        target = writer.folder / "out"
        shutil.rmtree(writer.folder, ignore_errors=True)
        writer.folder.mkdir()
        if is_folder:
            (target / "in").mkdir(parents=True)
            (target / "a").write_bytes(one)
            (target / "in/b").write_bytes(two)
        else:
            target.write_bytes(one)
        executed = target / "a" if is_folder else target
        executed.chmod(0o755 if executable else 0o644)
        try:
            output = self.stored(writer.store, target)
            self.made.setdefault(name, {})[output.hash + str(output.executable)] = _content(target)
            writer.store.put_record(Record(name, f"s{key}", {}, (output,), started=self.now))
        except KilledError:
            self.after(hand, died=True)
        except OSError:
            self.after(hand, died=False)
        else:
            self.certain.add(name)
            self.after(hand, died=False)
        if name in self.pinned and name in self.certain:
            self.pinned[name] = self.entry(name)

    def stored(self, store: Store, target: Path) -> OutputRecord:
        if target.is_file():
            st_ = target.stat()
            digest = hash_file(target)
            executable = bool(st_.st_mode & 0o100)
            assert store.put_output_file(target, digest, executable, st_.st_mtime_ns)
            return OutputRecord("o", "out", "file", digest, st_.st_size, executable)
        entries = []
        for name, data, executable in _content(target):
            entries.append(tree.Entry(name, "x" if executable else "f", hash_bytes(data), len(data)))
        times = [(e, (target / e.path).stat().st_mtime_ns) for e in entries]
        assert store.put_output_files(str(target), times)
        return OutputRecord("o", "out", "dir", store.put_listing(entries), tree.total_size(entries))

    def entry(self, name: str) -> StageEntry:
        record = self.hands[0].store.record(name)
        assert record is not None
        return StageEntry(name, record.outputs)

    # --- readers

    @rule(hand=_HANDS, key=_KEYS, at=_at(8), how=st.sampled_from(["before", "after", "torn", "once"]))
    def restore(self, hand: int, key: int, at: int, how: str) -> None:
        """What comes back is what was made, or nothing does."""
        name = hash_bytes(str(key).encode())
        reader = self.armed(hand, at, how)
        record = reader.store.record(name)
        if record is None:
            assert name not in self.certain
            self.after(hand, died=False)
            return
        target = reader.folder / "back"
        shutil.rmtree(reader.folder, ignore_errors=True)
        reader.folder.mkdir()
        (output,) = record.outputs
        assert name in self.made
        try:
            done = reader.store.restore(output, target)
        except KilledError:
            self.after(hand, died=True)
            return
        except OSError:
            assert not os.path.lexists(target)
            self.after(hand, died=False)
            return
        self.after(hand, died=False)
        if done:
            assert _content(target) == self.made[name][output.hash + str(output.executable)]
        else:
            assert not os.path.lexists(target)
            assert name not in self.certain

    @rule(hand=_HANDS)
    def write_through_what_was_restored(self, hand: int) -> None:
        """Somebody changes a file that may be a link to an object, and sets the time back."""
        folder = self.hands[hand].folder
        for path in (folder / "back", folder / "out", folder / "out/a"):
            if path.is_file() and path.stat().st_size:
                before = path.stat()
                linked = before.st_nlink > 1
                path.chmod(0o644)
                with path.open("r+b") as file:
                    file.write(b"#")
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                path.chmod(before.st_mode)
                if linked:
                    self.certain.clear()
        self.look()

    @rule(hand=_HANDS)
    def flush(self, hand: int) -> None:
        """What a hand learned is written, as at its end."""
        self.hands[hand].store.sync()
        self.hands[hand].index.flush()

    @rule(
        hand=_HANDS,
        number=st.integers(1, 4),
        at=_at(4),
        how=st.sampled_from(["before", "after", "torn", "once"]),
    )
    def fetch(self, hand: int, number: int, at: int, how: str) -> None:
        """Contents come from a remote, as far as they do."""
        taker = self.armed(hand, at, how)
        pieces = [Piece(hash_bytes(c), c) for c in _CONTENTS[:number]]
        try:
            taker.store.put_pieces([p for p in pieces if not taker.store.has(p.digest)])
        except KilledError:
            self.after(hand, died=True)
        except OSError:
            self.after(hand, died=False)
        else:
            self.after(hand, died=False)
            found = dict(taker.store.contents(p.digest for p in pieces))
            assert {d: bytes(c) for d, c in found.items()} == dict(pieces)

    @rule(hand=_HANDS, content=st.sampled_from(_CONTENTS))
    def drop(self, hand: int, content: bytes) -> None:
        """A content is found to be wrong: nobody has it then, and the others stay."""
        store = self.hands[hand].store
        others = [hash_bytes(c) for c in _CONTENTS if c != content]
        before = store.missing(others)
        store.drop(hash_bytes(content))
        self.certain.clear()
        assert not any(h.store.has(hash_bytes(content)) for h in self.hands)
        assert store.missing(others) == before

    @rule(hand=_HANDS, content=st.sampled_from(_CONTENTS))
    def unpack(self, hand: int, content: bytes) -> None:
        """A content as a file of its own."""
        path = self.hands[hand].store.file(hash_bytes(content))
        assert path is None or path.read_bytes() == content

    @rule(hand=_HANDS)
    def lose_index(self, hand: int) -> None:
        self.hands[hand].index.close()
        for suffix in ("", "-wal", "-shm"):
            Path(self.root / f"index{hand}.db{suffix}").unlink(missing_ok=True)
        self.hands[hand] = _Hand.new(self.root, hand)

    # --- clearing up

    @rule(key=_KEYS)
    def pin(self, key: int) -> None:
        """The lock names the result."""
        name = hash_bytes(str(key).encode())
        assume(name in self.certain)
        self.pinned[name] = self.entry(name)

    @rule()
    def forget_pins(self) -> None:
        self.pinned.clear()

    @rule(
        hand=_HANDS,
        keep=st.sampled_from([None, 0.0, _HOUR]),
        most=st.sampled_from([None, 0, 100_000]),
        later=st.sampled_from([0.0, 2 * _HOUR, 48 * _HOUR]),
        at=_at(12),
        how=st.sampled_from(["before", "after", "once"]),
    )
    def collect(
        self, hand: int, keep: float | None, most: int | None, later: float, at: int, how: str
    ) -> None:
        """What is pinned stays, wherever it dies."""
        collector = self.armed(hand, at, how)
        lock = LockFile().with_stages({f"s{name}": entry for name, entry in self.pinned.items()})
        died = False
        try:
            # As the command does: others are kept away meanwhile, so no hand is in the middle of anything.
            Collector(
                collector.store,
                collector.index,
                collector.fs,
                [lock],
                self.now + later,
                self.root,  # type: ignore[arg-type]
            ).collect(Limits(keep, most))
        except KilledError:
            died = True
        except OSError:
            pass
        self.after(hand, died=died)
        self.certain &= set(self.pinned)
        self.look()

    # --- bundles

    @rule(hand=_HANDS, keys=st.sets(_KEYS, min_size=1, max_size=3))
    def carry_out(self, hand: int, keys: set[int]) -> None:
        store = self.hands[hand].store
        records = [r for k in sorted(keys) if (r := store.record(hash_bytes(str(k).encode()))) is not None]
        path = self.root / f"bundle{len(self.bundles)}.tar"
        try:
            bundle.write(Bundle("job", tuple(records)), path, store)
        except BundleError:
            assert not path.exists()
            assert any(r.key not in self.certain for r in records)
        else:
            self.bundles.append(path)

    @rule(
        hand=_HANDS,
        n=st.integers(0, 9),
        at=_at(12),
        how=st.sampled_from(["before", "after", "once"]),
    )
    def carry_in(self, hand: int, n: int, at: int, how: str) -> None:
        assume(self.bundles)
        taker = self.armed(hand, at, how)
        try:
            bundle.read(self.bundles[n % len(self.bundles)], taker.store, taker.fs)  # type: ignore[arg-type]
        except KilledError:
            self.after(hand, died=True)
        except BundleError:
            assert at
            self.after(hand, died=False)
        else:
            self.after(hand, died=False)

    @rule(n=st.integers(0, 9), cut=st.floats(0, 1))
    def carry_in_a_part(self, n: int, cut: float) -> None:
        """A bundle that was cut off, or changed on its way, brings nothing wrong."""
        assume(self.bundles)
        data = bytearray(self.bundles[n % len(self.bundles)].read_bytes())
        path = self.root / "part.tar"
        where = int(cut * (len(data) - 1))
        data[where] ^= 1
        path.write_bytes(bytes(data) if n % 2 else bytes(data[:where]))
        with contextlib.suppress(BundleError):
            bundle.read(path, self.hands[0].store, self.hands[0].fs)  # type: ignore[arg-type]

    # --- damage

    @rule(hand=_HANDS)
    def verify(self, hand: int) -> None:
        """Whoever looks at everything again finds a store that has what it says."""
        store = self.hands[hand].store
        incomplete = set(survey.verify(store).incomplete)
        assert not incomplete & self.certain
        again = survey.verify(store)
        assert again.damaged == []
        assert set(again.incomplete) == incomplete

    @rule(
        kind=st.sampled_from(["objects", "trees", "records", "packs"]),
        n=st.integers(0, 20),
        how=st.integers(0, 3),
    )
    def damage(self, kind: str, n: int, how: int) -> None:
        files = sorted(
            p for p in (self.root / "cache" / kind).glob("*" if kind == "packs" else "??/*") if p.is_file()
        )
        assume(files)
        path, data = files[n % len(files)], files[n % len(files)].read_bytes()
        self.certain.clear()
        path.chmod(0o644)
        if how == 0:
            path.unlink()
        elif how == 1:
            path.write_bytes(data[: len(data) // 2])
        elif how == 2 and data:
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        elif how == 3:
            path.write_bytes(files[(n + 1) % len(files)].read_bytes())
        self.look()

    # --- always

    def look(self) -> None:
        """Every hand is asked for every key: it gives what was made, or nothing."""
        for hand in self.hands:
            for key in range(3):
                name = hash_bytes(str(key).encode())
                record = hand.store.record(name)
                assert record is not None or name not in self.certain
                if record is None:
                    continue
                target = self.root / "looked"
                (output,) = record.outputs
                done = hand.store.restore(output, target)
                assert done or name not in self.certain
                assert done == os.path.lexists(target)
                if done:
                    assert _content(target) == self.made[name][output.hash + str(output.executable)]
                    hand.fs.remove(target)

    @invariant()
    def nothing_wrong_is_believed(self) -> None:
        for hand in self.hands:
            for path in (self.root / "cache/objects").glob("??/*"):
                digest = path.parent.name + path.name
                if len(path.name) == 62 and hand.index.known_object(digest) == Signature.of(path.stat()):
                    assert hash_file(path) == digest
            for path in (self.root / "cache/packs").glob("*.pack"):
                index = path.with_suffix(".index")
                known = hand.index.known_object(path.stem) == Signature.of(path.stat())
                if known and index.exists() and hash_bytes(index.read_bytes()) == path.stem:
                    body = path.read_bytes()
                    for digest, start, length in packs.Index(index.read_bytes()):
                        assert hash_bytes(body[start : start + length]) == digest


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=EXAMPLES * 10,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_a_pack_whose_index_somebody_removed_is_not_there() -> None:
    """Who removes a pack may die between its two files, and others know it by heart."""
    state = StoreMachine()
    try:
        state.fetch(at=0, hand=0, how="before", number=2)
        state.collect(at=1, hand=1, how="after", keep=None, later=7200.0, most=None)
        state.fetch(at=0, hand=0, how="before", number=1)
    finally:
        state.teardown()


def test_a_pack_whose_index_was_damaged_in_place_is_not_there() -> None:
    """Who knows it by heart sees that, too: all who share a cache believe the same."""
    state = StoreMachine()
    try:
        state.fetch(at=0, hand=0, how="before", number=2)
        (index,) = (state.root / "cache/packs").glob("*.index")
        index.write_bytes(index.read_bytes()[:40])
        state.drop(content=b"", hand=1)
    finally:
        state.teardown()
