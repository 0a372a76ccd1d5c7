"""Listings of folders: one for each folder, and back."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.errors import Failure
from mlflowc.runtime import tree
from mlflowc.runtime.hashing import hash_bytes, hash_file, hash_files
from mlflowc.runtime.tree import Entry, decode, encode, harmless, scan, summary, total_size
from mlflowc.runtime.walking import DROPPINGS, walk

names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=5
).filter(lambda n: n not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join).map(lambda p: unicodedata.normalize("NFC", p))
digests = st.binary(min_size=1, max_size=4).map(hash_bytes)
entries = st.one_of(
    st.builds(Entry, paths, st.sampled_from("fx"), digests, st.integers(0, 2**50), st.just("")),
    st.builds(lambda p, t, h: Entry(p, "l", h, 0, t), paths, st.text(max_size=8), digests | st.just("")),
    st.builds(lambda p: Entry(p, "d"), paths),
)
listings = st.lists(entries, max_size=6, unique_by=lambda e: e.path)


@given(listings)
def test_there_and_back(listing: list[Entry]) -> None:
    assert decode(encode(listing)) == sorted(listing)


plain_names = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=4)
plain_files = st.builds(
    Entry,
    st.lists(plain_names, min_size=1, max_size=3).map("/".join),
    st.sampled_from("fx"),
    digests,
    st.integers(0, 2**50),
    st.just(""),
)


@given(st.lists(plain_files, max_size=5) | listings, st.binary(max_size=3), st.integers(0, 400))
def test_a_summary_says_what_the_entries_say(listing: list[Entry], noise: bytes, at: int) -> None:
    lines = [encode([e]).partition(b"\n")[2] for e in listing]
    good = b"mlpipe-tree 1\n" + b"".join(lines)
    for data in (good, good[:at] + noise + good[at + len(noise) :]):
        try:
            with mock.patch.object(tree, "_plain", return_value=None):
                entries = decode(data)
            assert decode(data) == entries
            found = harmless(entries)
        except ValueError:
            with pytest.raises(ValueError):
                summary(data)
            continue
        said = summary(data)
        files = [e for e in found if e.kind in "fx"]
        assert said.files == {e.hash: e.size for e in files}
        assert said.digests == [e.hash for e in files]
        assert said.links == tuple(e for e in found if e.kind == "l")


@given(listings, listings)
def test_different_folders_have_different_listings(a: list[Entry], b: list[Entry]) -> None:
    assert (encode(a) == encode(b)) == (sorted(a) == sorted(b))


@given(st.binary(max_size=60))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "", "./a"])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        decode(encode([Entry(path, "f", hash_bytes(b""), 0)]))


def test_everything_in_a_folder_counts(tmp_path: Path) -> None:
    def now() -> str:
        return hash_bytes(encode(scan(str(tmp_path))))

    seen = {now()}
    steps = [
        lambda: (tmp_path / "a").write_text("1"),
        lambda: (tmp_path / "a").write_text("2"),
        lambda: (tmp_path / "a").chmod(0o755),
        lambda: (tmp_path / "a").rename(tmp_path / "b"),
        lambda: (tmp_path / "empty").mkdir(),
        lambda: (tmp_path / "link").symlink_to("b"),
        lambda: ((tmp_path / "link").unlink(), (tmp_path / "link").symlink_to("nowhere")),
    ]
    for n, step in enumerate(steps, 2):
        step()
        seen.add(now())
        assert len(seen) == n


def test_names_are_normalised(tmp_path: Path) -> None:
    (tmp_path / "e\u0301").write_text("1")
    assert [e.path for e in scan(str(tmp_path))] == ["\u00e9"]
    (tmp_path / "\u00e9").write_text("2")
    if len(list(tmp_path.iterdir())) == 2:
        with pytest.raises(Failure, match="NFC"):
            encode(scan(str(tmp_path)))


def test_a_link_out_of_the_folder_counts_by_what_it_leads_to(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_text("1")
    (folder / "link").symlink_to("../outside")
    before = encode(scan(str(folder)))
    (tmp_path / "outside").write_text("2")
    assert encode(scan(str(folder))) != before
    (folder / "loop").symlink_to("..")
    assert scan(str(folder))


def test_droppings_are_left_out_when_asked(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/x.pyc").write_text("")
    (tmp_path / "keep").write_text("12")
    assert [f.path for f in walk(str(tmp_path), DROPPINGS)] == ["keep"]
    assert total_size(scan(str(tmp_path), DROPPINGS)) == 2


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Failure, match="neither a file"):
        walk(str(tmp_path))


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 9 * 1024 * 1024])
def test_files_of_all_sizes_hash_as_their_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    path = tmp_path / "f"
    path.write_bytes(data)
    assert hash_file(path) == hash_bytes(data)


def test_many_files_hash_in_their_order(tmp_path: Path) -> None:
    made = []
    for n in range(100):
        path = tmp_path / str(n)
        path.write_text(str(n))
        made.append(str(path))
    assert hash_files(made) == [hash_bytes(str(n).encode()) for n in range(100)]
    with pytest.raises(FileNotFoundError):
        hash_files([*made, str(tmp_path / "nowhere")])
