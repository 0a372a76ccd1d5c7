"""Bundles: what goes in comes out, equal bytes for equal results, and nothing bad is ever taken."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflowc.runtime import bundle, tree
from mlflowc.runtime.bundle import Bundle, BundleError
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.records import OutputRecord, Record, encode
from mlflowc.runtime.store import Store
from tests.support.stores import put_bytes

FS = LocalFileSystem()


def a_store(folder: Path) -> Store:
    return Store(folder / "cache", FS, StatIndex(folder / "index.db"))


def a_result(store: Store, content: bytes = b"model") -> tuple[Record, Record]:
    """The records of a stage with a file and a folder, and of one before it, whose content is not there."""
    file = put_bytes(store, content)
    inner = put_bytes(store, b"inner")
    folder = store.put_listing([tree.Entry("a/b.txt", "f", inner, 5), tree.Entry("empty", "d")])
    own = Record(
        "a" * 64,
        "train",
        {"command": "x"},
        (
            OutputRecord("model", "m.bin", "file", file, len(content)),
            OutputRecord("plots", "plots", "dir", folder, 5),
        ),
        metrics={"scores": {"auc": 0.5}},
        log=put_bytes(store, b"log"),
    )
    before = Record("b" * 64, "load", {}, (OutputRecord("raw", "raw.csv", "file", "c" * 64, 3),))
    return own, before


def a_bundle(folder: Path) -> Path:
    store = a_store(folder)
    own, before = a_result(store)
    path = folder / "train.tar"
    bundle.write(Bundle("train", (own,), (before,), {"train": "d" * 64}), path, store)
    return path


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = a_bundle(tmp_path / "one")
    store = a_store(tmp_path / "two")
    imported = bundle.read(path, store, FS)
    assert imported == (
        "train",
        {"train": "d" * 64},
        {"load": "b" * 64, "train": "a" * 64},
        ("train", "load"),
        2,
        (),
        {},
        (),
    )
    own = store.record("a" * 64)
    assert own is not None and own.metrics == {"scores": {"auc": 0.5}}
    assert all(store.has_output(o) for o in own.outputs)
    assert own.log is not None and store.object_path(own.log).read_bytes() == b"log"
    assert store.restore(own.outputs[1], tmp_path / "plots")
    assert (tmp_path / "plots/a/b.txt").read_text() == "inner"
    before = store.record("b" * 64)
    assert before is not None and not store.has_output(before.outputs[0])


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    assert a_bundle(tmp_path / "one").read_bytes() == a_bundle(tmp_path / "two").read_bytes()


def test_a_bundle_without_content_is_not_written(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    own, before = a_result(store)
    with pytest.raises(BundleError, match=r"lost content of `raw\.csv` of `load`"):
        bundle.write(Bundle("train", (own, before)), tmp_path / "x.tar", store)
    assert not list(tmp_path.glob("*.tar*"))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.8, 0.9])
def test_a_cut_off_bundle_counts_for_nothing(tmp_path: Path, part: float) -> None:
    path = a_bundle(tmp_path / "one")
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: int(len(data) * part)])
    store = a_store(tmp_path / "two")
    with pytest.raises(BundleError):
        bundle.read(path, store, FS)
    assert list(store.records()) == []


def test_every_changed_byte_of_content_is_noticed(tmp_path: Path) -> None:
    path = a_bundle(tmp_path / "one")
    good = path.read_bytes()
    with tarfile.open(path) as tar:
        spans = [(m.offset_data, m.size) for m in tar]
    for n, (start, size) in enumerate(spans):
        for offset in {0, size // 2, size - 1}:
            bad = bytearray(good)
            bad[start + offset] ^= 1
            path.write_bytes(bad)
            store = a_store(tmp_path / f"{n}-{offset}")
            with pytest.raises(BundleError):
                bundle.read(path, store, FS)
            assert list(store.records()) == []


def crafted(
    path: Path, members: list[tuple[tarfile.TarInfo, bytes]], listed: list[str] | None = None
) -> Path:
    """A bundle whose manifest is right for `members`, whatever they are."""
    names = [info.name for info, _ in members] if listed is None else listed
    body = json.dumps({"version": 1, "job": "evil", "deep": {}, "keys": {}, "members": names}).encode()
    with tarfile.open(path, "w") as tar:
        for info, data in [
            (tarfile.TarInfo("mlpipe-bundle"), hash_bytes(body).encode() + b"\n" + body),
            *members,
        ]:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _outside(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo("../../outside"), b"x")]


def _absolute(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(str(tmp_path / "outside")), b"x")]


def _link(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    info = tarfile.TarInfo("objects/" + "a" * 64)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [(info, b"")]


def _wrong_content(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo("objects/" + "a" * 64), b"not that")]


def _wrong_record(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo("records/" + "a" * 64), encode(Record("b" * 64, "x", {}, ())))]


def _folder_that_climbs(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    data = f'mlpipe-tree 1\nf {"a" * 64} 1 "../x"\n'.encode()
    return [(tarfile.TarInfo("trees/" + hash_bytes(data)), data)]


def _file_below_a_link(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    data = f'mlpipe-tree 1\nl "/tmp" "a"\nf {"a" * 64} 1 "a/b"\n'.encode()
    return [(tarfile.TarInfo("trees/" + hash_bytes(data)), data)]


def _path_twice(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    data = f'mlpipe-tree 1\nl "/tmp" "a"\nf {"a" * 64} 1 "a"\n'.encode()
    return [(tarfile.TarInfo("trees/" + hash_bytes(data)), data)]


def _hash_that_climbs(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    made = OutputRecord("o", "o", "file", "../../../outside", 1)
    return [(tarfile.TarInfo("records/" + "a" * 64), encode(Record("a" * 64, "x", {}, (made,))))]


def _log_that_climbs(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    record = Record("a" * 64, "x", {}, (), log="../../../outside")
    return [(tarfile.TarInfo("records/" + "a" * 64), encode(record))]


def _file_whose_hash_climbs(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    data = b'mlpipe-tree 1\nf ../../../outside 1 "a"\n'
    return [(tarfile.TarInfo("trees/" + hash_bytes(data)), data)]


def _strange(**changed: object) -> list[tuple[tarfile.TarInfo, bytes]]:
    made = OutputRecord("o", "o", "file", "b" * 64, 1)
    body = json.loads(encode(Record("a" * 64, "x", {}, (made,))).partition(b"\n")[2])
    text = json.dumps({**body, **changed}).encode()
    return [(tarfile.TarInfo("records/" + "a" * 64), hash_bytes(text).encode() + b"\n" + text + b"\n")]


@pytest.mark.parametrize(
    "changed",
    [
        {"metrics": {"m": {"auc": "high"}}},
        {"metrics": {"m": {"auc": float("nan")}}},
        {"metrics": {"m": [1]}},
        {"metrics": 1},
        {"outputs": {}},
        {"outputs": [5]},
        {"outputs": [{"name": "o", "path": "o", "kind": "file", "hash": "b", "size": "1", "exec": False}]},
        {"components": []},
        {"params": "x"},
        {"started": "now"},
        {"commit": 5},
        {"stage": None},
        {"checked": [1]},
        {"log": 3},
    ],
)
def test_a_record_with_values_of_other_types_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    store = a_store(tmp_path / "store")
    with pytest.raises(BundleError):
        bundle.read(crafted(tmp_path / "evil.tar", _strange(**changed)), store, FS)
    assert list(store.records()) == []
    assert bundle.read(crafted(tmp_path / "good.tar", _strange()), store, FS).new == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"job": 5}, {"job": ["x"]}, {"deep": "x"}, {"deep": {"s": ["x"]}}, {"keys": []}, {"keys": {"s": {}}},
        {"members": [5]}, {"pins": {"f": 5}}, {"pins": [1]}, {"pins": {"f": {"hash": "../x"}}}, {"fresh": 5},
    ],
)  # fmt: skip
def test_a_manifest_with_values_of_other_types_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    body = {"version": 1, "job": "evil", "deep": {}, "keys": {}, "members": [], **changed}
    text = json.dumps(body).encode()
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info, data = tarfile.TarInfo("mlpipe-bundle"), hash_bytes(text).encode() + b"\n" + text
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    with pytest.raises(BundleError):
        bundle.read(tmp_path / "evil.tar", a_store(tmp_path / "store"), FS)


@pytest.mark.parametrize(
    "members",
    [
        _outside,
        _absolute,
        _link,
        _wrong_content,
        _wrong_record,
        _folder_that_climbs,
        _file_below_a_link,
        _path_twice,
        _hash_that_climbs,
        _log_that_climbs,
        _file_whose_hash_climbs,
    ],
)
def test_a_made_up_bundle_is_refused(
    tmp_path: Path, members: Callable[[Path], list[tuple[tarfile.TarInfo, bytes]]]
) -> None:
    good = Record("e" * 64, "x", {}, ())
    path = crafted(
        tmp_path / "evil.tar", [*members(tmp_path), (tarfile.TarInfo("records/" + "e" * 64), encode(good))]
    )
    store = a_store(tmp_path / "store")
    with pytest.raises(BundleError):
        bundle.read(path, store, FS)
    assert list(store.records()) == []
    assert not (tmp_path / "outside").exists()


def test_something_unlisted_is_refused(tmp_path: Path) -> None:
    record = tarfile.TarInfo("records/" + "e" * 64)
    path = crafted(tmp_path / "evil.tar", [(record, encode(Record("e" * 64, "x", {}, ())))], listed=[])
    store = a_store(tmp_path / "store")
    with pytest.raises(BundleError, match="does not list"):
        bundle.read(path, store, FS)
    assert list(store.records()) == []


def test_a_record_with_its_content_stays_when_another_comes_without(tmp_path: Path) -> None:
    here = a_store(tmp_path / "here")
    mine, _ = a_result(here, b"made here")
    here.put_record(mine)
    there = a_store(tmp_path / "there")
    theirs, _ = a_result(there, b"made there")
    path = tmp_path / "x.tar"
    bundle.write(Bundle("x", (), (theirs,)), path, there)
    assert bundle.read(path, here, FS).new == 0
    assert here.record("a" * 64) == mine
    empty = a_store(tmp_path / "empty")
    assert bundle.read(path, empty, FS).new == 1
    assert empty.record("a" * 64) == theirs


def test_what_a_killed_process_left_beside_it_goes(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    old, fresh, other = (folder / f".{n}.tmp" for n in ("train.tar.1", "train.tar.2", "other.tar.1"))
    for path in (old, fresh, other):
        path.write_bytes(b"part")
    for path in (old, other):
        os.utime(path, (0, 0))
    a_bundle(folder)
    assert [p.exists() for p in (old, fresh, other)] == [False, True, True]
