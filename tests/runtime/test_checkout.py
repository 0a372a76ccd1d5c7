"""Looking at files that others are at right now."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.runtime import checkout, tree, walking
from mlflowc.runtime.checkout import Checkout
from mlflowc.runtime.hashing import hash_bytes, hash_file
from mlflowc.runtime.index import StatIndex


def test_a_file_that_is_put_in_place_again_while_it_is_read_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another process does that has the same result."""
    (tmp_path / "a").write_bytes(b"content")

    (tmp_path / "b").write_bytes(b"content")

    def replacing(path: str) -> str:
        digest = hash_file(path)
        if (tmp_path / "b").exists():
            (tmp_path / "b").replace(path)
        return digest

    monkeypatch.setattr(checkout, "hash_file", replacing)
    seen = Checkout(tmp_path, StatIndex(None)).look("a")
    assert seen is not None
    assert seen.hash == hash_bytes(b"content")


def test_a_file_that_somebody_keeps_writing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"content")

    def writing(path: str) -> str:
        digest = hash_file(path)
        with open(path, "ab") as file:
            file.write(b".")
        return digest

    monkeypatch.setattr(checkout, "hash_file", writing)
    with pytest.raises(Failure, match="`a` changed while it was read"):
        Checkout(tmp_path, StatIndex(None)).look("a")


def test_what_is_learnt_of_a_restored_folder_is_of_one_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written behind it, even into the place of a file, is not taken for what was restored."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name in "bc":
        (folder / name).write_text(name)
    entries = [tree.Entry(n, "f", hash_bytes(n.encode()), 1) for n in "bc"]
    digest = hash_bytes(tree.encode(entries))
    look_through = walking.look_through

    def writing(where: str, ignore: frozenset[str] = frozenset()) -> walking.Walk:
        found = look_through(where, ignore)
        (tmp_path / "new").write_text("x")
        (tmp_path / "new").replace(folder / "b")
        (folder / "a").write_text("a")
        return found

    index = StatIndex(None)
    monkeypatch.setattr(walking, "look_through", writing)
    assert Checkout(tmp_path, index).learn_restored("out", digest, entries)
    monkeypatch.undo()
    seen = Checkout(tmp_path, index).look("out", source=False)
    assert seen is not None
    assert seen.hash == hash_bytes(tree.encode(tree.scan(str(folder)))) != digest
