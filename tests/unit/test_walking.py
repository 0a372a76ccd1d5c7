"""Walks through folders: plain and named, what they say of links, and listings made of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.runtime import tree, walking
from mlflowc.runtime.hashing import hash_file

names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda n: n not in (".", "..") and len(n.encode()) < 200)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(paths, st.sampled_from(["", "one", "two", "exec", "link", "out"]), max_size=8))
def test_a_listing_of_a_walk_is_that_of_its_entries(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            place = Path(folder, path)
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                if content in ("link", "out"):
                    place.symlink_to("elsewhere" if content == "link" else "/etc/hostname")
                else:
                    place.write_text(content)
                    place.chmod(0o755 if content == "exec" else 0o644)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
        walk = walking.look_through(folder)
        found = walking.walk(folder)
        assert sorted(walk.found()) == found
        assert len(walk) == len(found)
        assert walk.hash == walking.look_through(folder).hash
        digests = b"".join(
            bytes.fromhex(hash_file(Path(folder, f.path))) if f.kind in "fx" else bytes(32)
            for f in walk.found()
        )
        for exact in (True, False):
            entries = tree.entries(folder, walk, digests, exact=exact)
            if len({e.path for e in entries}) == len(entries):
                assert tree.encode_walk(folder, walk, digests, exact=exact) == tree.encode(entries)


def test_a_mark_does_not_mind_a_link_to_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("1")
    before = walking.look_through(str(folder))
    os.link(folder / "a", tmp_path / "b")
    after = walking.look_through(str(folder))
    assert before.mark() == after.mark()
    assert before.hash != after.hash
    (folder / "a").write_text("22")
    assert walking.look_through(str(folder)).mark() != after.mark()
