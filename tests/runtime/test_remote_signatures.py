"""Signed results: who demands signatures takes nothing that its keys did not sign, for that place."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.records import encode as encode_record
from mlflowc.runtime.remotes import entries, names, signing
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.hub import Hub
from mlflowc.runtime.remotes.link import Link
from mlflowc.runtime.remotes.place import Place
from mlflowc.runtime.remotes.signing import Demand, Signer
from mlflowc.runtime.remotes.trust import Trust
from mlflowc.runtime.store import Store
from tests.support.remote_project import Checkout, results

ON_MAIN = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}

KEYS = [hash_bytes(f"key {n}".encode()) for n in range(3)]
OWN = "untrusted/pr-1"


def made_key() -> tuple[str, Signer]:
    """A new key: its secret text, and the signer."""
    secret, _ = signing.new()
    signer = signing.signer({signing.VARIABLE: secret})
    assert signer is not None
    return secret, signer


def record_of(key: str, content: bytes) -> Record:
    """A result with one file."""
    output = OutputRecord("o", "o.bin", "file", hash_bytes(content), len(content))
    return Record(key, "train", {}, (output,))


def signed(signer: Signer, record: Record, namespace: str = names.TRUSTED) -> Entry:
    """The entry of a record, signed for a namespace."""
    text = encode_record(record)
    return Entry(record, (), namespace, {signer.public: signer.sign(namespace, record.key, text)}, text)


# --- the parts


def test_a_signature_is_for_one_record_key_and_place() -> None:
    _, signer = made_key()
    good = signer.sign("trusted", KEYS[0], b"record")
    assert signing.verifies(signer.public, good, "trusted", KEYS[0], b"record")
    assert not signing.verifies(signer.public, good, "trusted", KEYS[1], b"record")
    assert not signing.verifies(signer.public, good, "trusted", KEYS[0], b"recorD")
    assert not signing.verifies(signer.public, good, OWN, KEYS[0], b"record")
    assert not signing.verifies(made_key()[1].public, good, "trusted", KEYS[0], b"record")
    assert not signing.verifies(signer.public, "no base64!", "trusted", KEYS[0], b"record")
    assert not signing.verifies("ed25519:AAAA", good, "trusted", KEYS[0], b"record")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e, other: replace(e, signatures={}), "is not signed"),
        (lambda e, other: signed(other, e.record), "signed by a key that is not known"),
        (lambda e, other: replace(e, text=encode_record(record_of(KEYS[0], b"evil"))), "signature is wrong"),
        (lambda e, other: replace(e, signatures={next(iter(e.signatures)): "AAAA"}), "signature is wrong"),
        (
            lambda e, other: replace(e, signatures={**signed(other, e.record).signatures, **e.signatures}),
            None,
        ),
    ],
    ids=["stripped", "another key", "altered", "garbled", "a second signature"],
)
def test_what_is_believed(change: Callable[[Entry, Signer], Entry], says: str | None) -> None:
    signer, other = made_key()[1], made_key()[1]
    demand = Demand((signer.public,), required=True)
    entry = signed(signer, record_of(KEYS[0], b"good"))
    assert demand.objection("trusted", KEYS[0], entry.text, entry.signatures) is None
    changed = change(entry, other)
    found = demand.objection("trusted", KEYS[0], changed.text, changed.signatures)
    assert found is None if says is None else (found is not None and says in found)
    lax = Demand((signer.public,), required=False)
    still = lax.objection("trusted", KEYS[0], changed.text, changed.signatures)
    assert (still is not None) == (says == "signature is wrong"), "a wrong one is never believed"


def test_an_entry_keeps_its_signatures() -> None:
    entry = signed(made_key()[1], record_of(KEYS[0], b"x"))
    again = entries.decode(entries.encode(entry), KEYS[0], "trusted")
    assert (again.signatures, again.text) == (entry.signatures, entry.text)
    assert entries.encode(again) == entries.encode(entry)


# --- an attacker who may write anything anywhere, and has no key


class World:
    """A remote; a signer who makes honest results, a reader that demands signatures."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.signer = made_key()[1]
        self.evil = made_key()[1]
        self.demand = Demand((self.signer.public,), required=True)
        self.jobs = 0
        self.doubts: list[str] = []
        self.seen: list[Entry] = []
        self.hub = Hub(self.place(), self.store())

    def place(self, trust: Trust | None = None) -> Place:
        self.jobs += 1
        trust = trust or Trust((names.TRUSTED,), names.TRUSTED, True, "main")
        return Place(
            str(self.root / "remote"), self.root, self.root / f"job{self.jobs}", {}, trust, self.demand
        )

    def store(self) -> Store:
        return Store(self.root / f"cache{self.jobs}", LocalFileSystem(), StatIndex(None))

    def write(self, entry: Entry, content: bytes, namespace: str = names.TRUSTED, key: str = "") -> None:
        digest = hash_bytes(content)
        self.hub.engine.write(f"v1/{namespace}/objects/{digest[:2]}/{digest[2:]}", content)
        self.hub.engine.write(names.record(namespace, key or entry.record.key), entries.encode(entry))

    def honest(self, key: str) -> None:
        entry = signed(self.signer, record_of(key, self.good(key)))
        self.seen.append(entry)
        self.write(entry, self.good(key))

    @staticmethod
    def good(key: str) -> bytes:
        return f"good {key}".encode()

    def read(self, key: str, trust: Trust | None = None) -> bytes | None:
        store = self.store()
        link = Link(self.place(trust), store, self.refuse, doubt=lambda m, h: self.doubts.append(m))
        record = link.record(key)
        if record is None or not link.fetch(record.outputs):
            return None
        return store.object_path(record.outputs[0].hash).read_bytes()

    @staticmethod
    def refuse(message: str, help: str) -> None:
        raise AssertionError(message)


ATTACKS = st.lists(
    st.tuples(
        st.sampled_from(["honest", "unsigned", "own key", "altered", "moved", "replayed", "stripped"]),
        st.sampled_from(KEYS),
    ),
    max_size=8,
)


def attack(world: World, kind: str, key: str, step: int) -> None:
    """What somebody without the key can write."""
    content = f"evil {step}".encode()
    evil = record_of(key, content)
    if kind == "honest":
        world.honest(key)
    elif kind == "unsigned":
        world.write(Entry(evil), content)
    elif kind == "own key":
        world.write(signed(world.evil, evil), content)
    elif kind == "altered" and world.seen:
        world.write(Entry(evil, (), "trusted", world.seen[-1].signatures), content)
    elif kind == "moved" and world.seen:
        # The record as it was signed, under another key; and once with its key changed.
        world.write(world.seen[-1], content, key=key)
        if world.seen[-1].record.key != key:
            renamed = replace(world.seen[-1].record, key=key)
            world.write(Entry(renamed, (), "trusted", world.seen[-1].signatures), content)
    elif kind == "replayed":
        # Signed by the right key, for another namespace.
        world.write(signed(world.signer, evil, OWN), content)
    elif kind == "stripped" and world.seen:
        world.write(replace(world.seen[-1], signatures={}, text=b""), content)


@settings(max_examples=60, deadline=None)
@given(ATTACKS)
def test_nobody_without_the_key_makes_a_reader_believe_anything(attacks: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for step, (kind, key) in enumerate(attacks):
            attack(world, kind, key, step)
            got = world.read(key)
            assert got in (None, world.good(key)), f"{kind}: {got!r}"
            if kind == "honest":
                assert got == world.good(key)


def test_a_trusted_signature_means_nothing_in_a_pull_requests_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.honest(KEYS[0])
    pull = Trust((names.TRUSTED, OWN), OWN, True, "pr-1")
    world.write(world.seen[0], world.good(KEYS[0]), OWN)
    world.hub.engine.remove(names.record("trusted", KEYS[0]))
    assert world.read(KEYS[0], pull) is None
    assert world.doubts == ["a result of `train` in the remote is not used: its signature is wrong"]
    own = record_of(KEYS[1], b"own")
    world.write(Entry(own, (), OWN), b"own", OWN)
    assert world.read(KEYS[1], pull) == b"own", "its own results need no signature: only it reads them"


# --- the command line


def test_signed_results_from_key_to_key(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    checkout = Checkout(tmp_path / "maker" / "p").make()
    told = checkout("cache", "key", "new", "--out", str(secret))
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in told
    assert "exists already" in checkout("cache", "key", "new", "--out", str(secret), code=1)
    public = next(line for line in told.splitlines() if "keys = " in line).strip()
    remote = f'remote = "{tmp_path / "remote"}", write = all'
    block, signs = f"cache {{ {remote}, {public} }}", {signing.FILE_VARIABLE: str(secret)}
    maker = checkout.make(block)
    assert maker("cache", "key", "show", env=signs).strip() in public
    refused = maker("run")
    assert "there is no signing key here" in refused
    assert "nothing is pushed, and the results stay here" in refused
    assert "cache key new" in refused
    assert "`write = trusted` there keeps a person's runs from pushing" in refused
    foreign = tmp_path / "foreign"
    checkout("cache", "key", "new", "--out", str(foreign))
    unlisted = maker("cache", "push", code=1, env={signing.FILE_VARIABLE: str(foreign)})
    assert "the signing key here is `ed25519:" in unlisted
    assert "who maintains `keys` in the `cache` block has to add it" in unlisted
    assert "cache key new" not in unlisted
    in_ci = maker("cache", "push", code=1, env=ON_MAIN)
    assert "there is no signing key here" in in_ci
    assert "a person's runs" not in in_ci
    assert results(refused) == 0
    assert "3 results pushed" in maker("cache", "push", env=signs)
    other = Checkout(tmp_path / "other" / "p").make(block)
    assert "3 restored" in other("run")
    assert other.ran == []
    assert "3 results signed" in maker("cache", "verify", "--in-remote")

    # Somebody strips the signatures: misses that say so, and the next signed push mends it.
    for path in (tmp_path / "remote").rglob("records/??/*"):
        key = path.parent.name + path.name
        entry = entries.decode(path.read_bytes(), key, "trusted")
        path.write_bytes(entries.encode(replace(entry, signatures={})))
    bad = maker("cache", "verify", "--in-remote", code=1)
    assert bad.count("not believed: v1/trusted/records") == 3
    assert "it is not signed" in bad
    assert len(json.loads(maker("cache", "verify", "--in-remote", "--json", code=1))["doubtful"]) == 3
    late = Checkout(tmp_path / "late" / "p").make(block)
    text = late("run")
    assert "is not used: it is not signed" in text
    assert late.ran == ["load", "split", "score"]
    assert "3 results pushed" in maker("cache", "push", env=signs)
    late.forget()
    assert "3 restored" in late("run")
    assert late.outputs() == maker.outputs()


def test_a_lax_reader_takes_what_is_not_signed(tmp_path: Path) -> None:
    _, public = signing.new()
    keys = f'keys = "{public}", require_signature = false'
    block = f'cache {{ remote = "{tmp_path / "remote"}", write = all, {keys} }}'
    maker = Checkout(tmp_path / "maker" / "p").make(block)
    assert results(maker("run")) == 3
    assert "3 restored" in Checkout(tmp_path / "other" / "p").make(block)("run")


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("ed25519:AAAA", 0o600, "holds a public key"),
        ("hello", 0o600, "holds no signing key"),
        ("mlpipe-secret-ed25519:AAAA", 0o600, "holds no signing key"),
        ("mlpipe-secret-ed25519:AAAA", 0o644, "can be read by others"),
    ],
)
def test_keys_that_are_none(tmp_path: Path, content: str, mode: int, says: str) -> None:
    (tmp_path / "key").write_text(content)
    (tmp_path / "key").chmod(mode)
    checkout = Checkout(tmp_path / "p").make()
    assert says in checkout(
        "cache", "key", "show", code=1, env={signing.FILE_VARIABLE: str(tmp_path / "key")}
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('keys = "ed25519:AAAA"', "a public key is wanted here"),
        ('keys = ["mlpipe-secret-ed25519:AAAA"]', "not the secret one"),
        ("require_signature = true", "says nothing without `keys`"),
        ('require_signature = "yes"', "wanted here"),
        ('secrets = ["A-B"]', "the name of a secret"),
        ("secrets = [TOKEN]", "says nothing without `remote`"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: str, says: str) -> None:
    assert says in Checkout(tmp_path / "p").make(f"cache {{ {settings} }}")("check", code=1)
