"""However many pull requests write whatever they like where they may: no trusted job takes any of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes import entries, names, packs
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.hub import Hub
from mlflowc.runtime.remotes.link import Link
from mlflowc.runtime.remotes.packs import Sized
from mlflowc.runtime.remotes.place import Place
from mlflowc.runtime.remotes.trust import Trust, decide
from mlflowc.runtime.store import Store
from tests.support.stores import put_bytes

KEYS = [hash_bytes(f"key {n}".encode()) for n in range(3)]
MAIN = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}


def pull(number: int) -> dict[str, str]:
    """The variables of a pull request's job."""
    ref = f"refs/pull/{number}/merge"
    return {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": ref}


class World:
    """One remote in a folder, and jobs that each have an empty cache, as in CI."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = 0

    def place(self, trust: Trust) -> Place:
        self.jobs += 1
        return Place(str(self.root / "remote"), self.root, self.root / f"job{self.jobs}", {}, trust)

    def honest(self, env: dict[str, str], key: str, content: bytes) -> bytes:
        """A job: takes the result of a key from the remote, or makes `content`, and pushes it."""
        trust = decide(env, "trusted", "main")
        place = self.place(trust)
        store = Store(place.state / "cache", LocalFileSystem(), StatIndex(None))
        link = Link(place, store, self.refuse)
        record = link.record(key)
        if record is not None and link.available(key, record.outputs) and link.fetch(record.outputs):
            assert all(store.has_output(o) for o in record.outputs)
            return store.object_path(record.outputs[0].hash).read_bytes()
        digest = put_bytes(store, content)
        made = Record(key, "train", {}, (OutputRecord("o", "o.bin", "file", digest, len(content)),))
        store.put_record(made)
        assert link.push([made]) is not None
        return content

    def evil(self, number: int, name: str, data: bytes) -> None:
        """A pull request's job writes what it likes; the remote's rules let it do so in its own folder."""
        trust = decide(pull(number), "trusted", "main")
        hub = Hub(self.place(trust), Store(self.root / "x", LocalFileSystem(), StatIndex(None)))
        assert trust.writes is not None
        assert trust.writes.startswith("untrusted/")
        hub.engine.write(f"v1/{trust.writes}/{name}", data)

    @staticmethod
    def refuse(message: str, help: str) -> None:
        raise AssertionError(message)


def forged(key: str, content: bytes) -> list[tuple[str, bytes]]:
    """A result made up for a key: pack, index, record, and the same content under its own name."""
    digest, pack = hash_bytes(content), hash_bytes(content)
    record = Record(key, "train", {}, (OutputRecord("o", "o.bin", "file", digest, len(content)),))
    places = (("trusted", pack), ("untrusted/pr-1", pack), ("untrusted/pr-2", pack))
    return [
        (f"packs/{pack}", content),
        (f"index/{pack}", packs.encode_index([Sized(digest, len(content))])),
        (f"objects/{digest[:2]}/{digest[2:]}", content),
        (f"records/{key[:2]}/{key[2:]}", entries.encode(Entry(record, places))),
    ]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("main"), st.sampled_from(KEYS)),
        st.tuples(st.just("pull"), st.integers(1, 2), st.sampled_from(KEYS)),
        st.tuples(st.just("forge"), st.integers(1, 2), st.sampled_from(KEYS)),
        st.tuples(st.just("poison"), st.integers(1, 2), st.sampled_from(KEYS)),
        st.tuples(st.just("climb"), st.integers(1, 2), st.sampled_from(KEYS)),
    ),
    max_size=12,
)


def do(world: World, step: int, action: tuple[object, ...]) -> tuple[str, bytes]:
    """Carries out an action; who did it, and what a job ended up with."""
    kind, key = action[0], str(action[-1])
    if kind == "main":
        return "main", world.honest(MAIN, key, f"main made {key}".encode())
    number = int(str(action[1]))
    if kind == "pull":
        return "pull", world.honest(pull(number), key, f"pull {number} made {key} in step {step}".encode())
    if kind == "forge":
        for name, data in forged(key, f"forged {step}".encode()):
            world.evil(number, name, data)
    elif kind == "poison":
        # Contents under the names of those that main makes, and an index that points to others.
        good = f"main made {key}".encode()
        pack = hash_bytes(good)
        world.evil(number, f"packs/{pack}", b"poison")
        world.evil(number, f"index/{pack}", packs.encode_index([Sized(hash_bytes(good), 6)]))
        world.evil(number, f"objects/{pack[:2]}/{pack[2:]}", b"poison")
    else:
        # Names that would lead out of its folder are no namespaces: whoever follows them finds nothing.
        record = Record(key, "train", {}, (OutputRecord("o", "../o", "file", "0" * 64, 1),))
        raw = entries.encode(Entry(record, (("untrusted/../trusted", "0" * 64),)))
        world.evil(number, f"records/{key[:2]}/{key[2:]}", raw)
    return "evil", b""


@settings(max_examples=60)
@given(ACTIONS)
def test_no_pull_request_reaches_a_trusted_job(actions: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for step, action in enumerate(actions):
            who, got = do(world, step, action)
            if who == "main":
                assert got == f"main made {action[-1]}".encode()
            if who == "pull":
                # Never what another pull request made or forged.
                other = f"pull {3 - int(str(action[1]))} made".encode()
                assert not got.startswith(other)
                assert got != b"poison"
        trusted = Path(folder, "remote", "v1", "trusted")
        for path in trusted.rglob("records/??/*"):
            key = path.parent.name + path.name
            record = entries.decode(path.read_bytes(), key, names.TRUSTED).record
            assert record.outputs[0].hash == hash_bytes(f"main made {key}".encode())


def test_a_pull_request_reads_what_main_made(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.honest(MAIN, KEYS[0], f"main made {KEYS[0]}".encode())
    assert world.honest(pull(1), KEYS[0], b"other") == f"main made {KEYS[0]}".encode()
    assert world.honest(pull(1), KEYS[1], b"own") == b"own"
    assert world.honest(pull(1), KEYS[1], b"again") == b"own", "its own comes back to it"
    assert world.honest(pull(2), KEYS[1], b"theirs") == b"theirs", "and to nobody else"
    assert world.honest(MAIN, KEYS[1], b"main") == b"main"
