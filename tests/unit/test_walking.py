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
        plain = walking.walk_plain(folder)
        found = walking.walk(folder)
        assert found == plain
        assert walking.walk_hash(found) == walking.walk_hash(plain)
        hashes = {f.path: hash_file(Path(folder, f.path)) for f in found if f.kind in "fx"}
        for exact in (True, False):
            entries = [tree.to_entry(folder, f, hashes.get(f.path, ""), exact=exact) for f in found]
            if len({e.path for e in entries}) == len(entries):
                assert tree.encode_walk(folder, plain, hashes, exact=exact) == tree.encode(entries)


def test_a_mark_does_not_mind_a_link_to_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("1")
    before = walking.walk_plain(str(folder))
    os.link(folder / "a", tmp_path / "b")
    after = walking.walk_plain(str(folder))
    assert walking.mark_hash(before) == walking.mark_hash(after)
    (folder / "a").write_text("22")
    assert walking.mark_hash(walking.walk_plain(str(folder))) != walking.mark_hash(after)
