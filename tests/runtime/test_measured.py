"""Numbers that a record, a bundle or the lock states, and the content has not: no gate passes on them."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mlflowc.commands import sharing
from mlflowc.project import load
from mlflowc.runtime import bundle, gates, records
from mlflowc.runtime.bundle import Bundle, BundleError
from mlflowc.runtime.execute import run
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.metrics import LARGEST
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import Record
from mlflowc.runtime.remotes import entries, names
from mlflowc.runtime.store import Store
from mlflowc.runtime.tree import Entry
from mlflowc.runtime.workspace import open_workspace
from tests.support.remote_project import Checkout

PIPELINE = """\
mlpipe 1
pipeline measured
CACHE
stage score {
  in  raw = "raw.txt"
  out scores: metrics { acc: float } = "out/scores.json"
  run = "echo score >> ../ran-$(basename $PWD).txt; echo '{\\"acc\\": 0.'$(wc -l < {{raw}})'}' > {{scores}}"
}
gate good { require score.scores.acc >= 0.9 }
on pull_request { run = [good] }
"""


def checkout(root: Path, cache: str = "") -> Checkout:
    made = Checkout(root)
    root.mkdir()
    (root / "pipeline.mlpipe").write_text(PIPELINE.replace("CACHE", cache))
    (root / "raw.txt").write_text("a\nb\nc\n")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    return checkout(tmp_path / "one")


def a_store(root: Path) -> Store:
    return Store(root / ".mlpipe/cache", LocalFileSystem(), StatIndex(None))


def forged(record: Record) -> Record:
    assert record.metrics == {"scores": {"acc": 0.3}}
    return replace(record, metrics={"scores": {"acc": 0.99}})


def test_a_lock_that_was_edited(project: Checkout) -> None:
    project("run", "score")
    lock = project.root / "mlpipe.lock"
    lock.write_text(lock.read_text().replace('"acc":0.3', '"acc":0.99'))
    assert "0.3" in project("run", "good", code=1)
    assert '"acc":0.3' in lock.read_text()
    assert project.ran == ["score"]


def test_gates_of_those_who_read_the_lock_alone(project: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    project("run", "score")
    lock = project.root / "mlpipe.lock"
    lock.write_text(lock.read_text().replace('"acc":0.3', '"acc":0.99'))
    monkeypatch.chdir(project.root)
    loaded = load(None)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        assert not gates.check(ws, loaded.pipeline.gates[0]).passed
    finally:
        ws.close()


def test_an_edited_lock_is_verified_and_reported(project: Checkout) -> None:
    pipeline = project.root / "pipeline.mlpipe"
    pipeline.write_text(pipeline.read_text() + "report all { metrics score.scores }\n")
    project("run", "score")
    assert "agrees" in project("verify")
    lock = project.root / "mlpipe.lock"
    lock.write_text(lock.read_text().replace('"acc":0.3', '"acc":0.99'))
    said = project("report")
    assert "0.3" in said and "0.99" not in said
    assert "other numbers of `out/scores.json` than are in it" in project("verify", code=1)
    # Without the file there is nothing to compare with.
    project.forget()
    assert "0.99" in project("report")
    assert "agrees" in project("verify")


def test_a_record_of_the_cache(project: Checkout) -> None:
    project("run", "score")
    store = a_store(project.root)
    (record,) = store.records()
    store.put_record(forged(record))
    (project.root / "mlpipe.lock").unlink()
    assert "0.3" in project("run", "good", code=1)
    assert project.ran == ["score"]


def test_a_bundle(project: Checkout) -> None:
    project("exec", "score", "--on", "pull-request")
    path = project.root / "mlpipe-bundles/score.tar"
    store = a_store(project.root)
    (record,) = store.records()
    bundle.write(Bundle("score", (forged(record),), (), {}), path, store)
    shutil.rmtree(project.root / ".mlpipe")
    (project.root / "mlpipe.lock").unlink(missing_ok=True)
    said = project("exec", "check", "--on", "pull-request", code=1)
    assert "other numbers of `out/scores.json` than are in it; it is left out" in said
    assert "the job `score` makes it" in said
    assert "passed" not in said


def test_a_bundle_that_says_the_file_is_too_large_to_be_read(project: Checkout) -> None:
    project("exec", "score", "--on", "pull-request")
    store = a_store(project.root)
    (record,) = store.records()
    outputs = tuple(replace(o, size=LARGEST + 1) for o in record.outputs)
    path = project.root / "made-up.tar"
    bundle.write(Bundle("score", (replace(forged(record), outputs=outputs),), (), {}), path, store)
    with pytest.raises(BundleError, match="other numbers"):
        bundle.read(path, store, LocalFileSystem())


def test_a_bundle_that_says_numbers_of_a_folder(project: Checkout) -> None:
    project("exec", "score", "--on", "pull-request")
    store = a_store(project.root)
    (record,) = store.records()
    listing = store.put_listing([Entry("a", "f", record.outputs[0].hash, record.outputs[0].size)])
    outputs = tuple(replace(o, kind="dir", hash=listing) for o in record.outputs)
    path = project.root / "made-up.tar"
    bundle.write(Bundle("score", (replace(forged(record), outputs=outputs),), (), {}), path, store)
    with pytest.raises(BundleError, match=r"says numbers of `out/scores.json`, and that is no file"):
        bundle.read(path, store, LocalFileSystem())


@pytest.mark.parametrize("whole", [False, True])
def test_a_bundle_of_a_later_job(project: Checkout, whole: bool) -> None:
    """It speaks of earlier results without their contents."""
    project("exec", "score", "--on", "pull-request")
    path = project.root / "mlpipe-bundles/a.tar"
    store = a_store(project.root)
    (record,) = store.records()
    bundle.write(Bundle("a", (), (forged(record),), {}), path, store)
    if not whole:
        (project.root / "mlpipe-bundles/score.tar").unlink()
    for gone in (".mlpipe", "out"):
        shutil.rmtree(project.root / gone)
    (project.root / "mlpipe.lock").unlink(missing_ok=True)
    said = project("exec", "check", "--on", "pull-request", code=1)
    if whole:
        assert "0.3" in said and "0.99" not in said
    else:
        assert "`out/scores.json` of `score` is not here, so its numbers cannot be checked" in said


def test_a_record_of_a_remote(tmp_path: Path) -> None:
    cache = 'cache { remote = "../remote", write = all }'
    one, two = checkout(tmp_path / "one", cache), checkout(tmp_path / "two", cache)
    one("run", "score")
    one.ran  # noqa: B018 - it forgets
    (key,) = [r.key for r in a_store(one.root).records()]
    path = tmp_path / "remote" / names.record("trusted", key)
    entry = entries.decode(path.read_bytes(), key, "trusted")
    lying = forged(entry.record)
    data = entries.encode(replace(entry, record=lying, text=records.encode(lying)))
    path.chmod(0o644)
    path.write_bytes(data)
    said = two("run", "good", code=1)
    assert "of `score` in the remote is not used: it says other numbers of `out/scores.json`" in said
    assert two.ran == ["score"]
    # Whoever made it again has put it right.
    three = checkout(tmp_path / "three", cache)
    assert "not used" not in three("run", "good", code=1)
    assert three.ran == []


def test_a_push_puts_numbers_right(tmp_path: Path) -> None:
    cache = 'cache { remote = "../remote", write = all }'
    one = checkout(tmp_path / "one", cache)
    one("run", "score")
    (record,) = a_store(one.root).records()
    path = tmp_path / "remote" / names.record("trusted", record.key)
    entry = entries.decode(path.read_bytes(), record.key, "trusted")
    good = path.read_bytes()
    lying = forged(entry.record)
    path.chmod(0o644)
    path.write_bytes(entries.encode(replace(entry, record=lying, text=records.encode(lying))))
    one("cache", "push")
    assert path.read_bytes() == good


class FullOnce(LocalFileSystem):
    """The first record does not fit on the disk."""

    full = True

    def write(self, path: Path, data: bytes | memoryview, *, sync: bool = False) -> None:
        if self.full and "/records/" in str(path):
            self.full = False
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        super().write(path, data, sync=sync)


def test_a_result_whose_record_did_not_fit_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = checkout(tmp_path / "one"), checkout(tmp_path / "two")
    one("run", "score")
    one("cache", "push", "--remote", "../remote")
    assert one.ran == ["score"]
    monkeypatch.chdir(two.root)
    loaded = load(None)
    fs = FullOnce()
    ws = open_workspace(loaded.root, loaded.pipeline, fs=fs)
    sharing.attach(ws, "../remote")
    try:
        assert run(ws, sharing.plan(ws, ["score"])).ok
    finally:
        ws.close()
    assert not fs.full
    shutil.rmtree(two.root / "out")
    assert "1 restored" in two("run", "score", "--no-remote")
    assert two.ran == []
