"""Looking at files that others are at right now."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.runtime import checkout
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
