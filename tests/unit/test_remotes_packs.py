"""Packs: what goes in comes out, in few requests; entries and namespaces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.remotes import entries, names, packs
from mlflowc.runtime.remotes.entries import Entry
from mlflowc.runtime.remotes.packs import Member, Sized

CONTENTS = st.lists(st.binary(max_size=300), max_size=60, unique=True)


@given(CONTENTS)
def test_an_index_says_where_everything_is(contents: list[bytes]) -> None:
    body = b"".join(contents)
    index = packs.encode_index([Sized(hash_bytes(c), len(c)) for c in contents])
    members = packs.Index(index)
    assert [body[m.start : m.start + m.length] for m in members] == contents
    assert [m.digest for m in members] == [hash_bytes(c) for c in contents]


@given(CONTENTS.filter(bool), st.data())
def test_an_index_that_was_changed_is_none(contents: list[bytes], data: st.DataObject) -> None:
    index = packs.encode_index([Sized(hash_bytes(c), len(c)) for c in contents])
    at = data.draw(st.integers(0, len(index) - 1))
    changed = index[:at] + bytes([index[at] ^ data.draw(st.integers(1, 255))]) + index[at + 1 :]
    for wrong in (changed, index[:at], index + b"x"):
        with pytest.raises(ValueError, match="not the index"):
            packs.Index(wrong)


@given(st.lists(st.integers(0, packs.FULL // 2), max_size=40))
def test_packs_hold_everything_once_and_are_not_too_full(sizes: list[int]) -> None:
    contents = [Sized(f"{n:064x}", size) for n, size in enumerate(sizes)]
    groups = list(packs.groups(contents))
    assert [c for g in groups for c in g] == contents
    assert all(sum(c.length for c in g) <= packs.FULL for g in groups)
    # Neighbours would not fit together: there are no more packs than it takes.
    for first, second in itertools.pairwise(groups):
        assert sum(c.length for c in first) + second[0].length > packs.FULL


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=60), st.data())
def test_spans_cover_what_is_wanted_and_little_else(sizes: list[int], data: st.DataObject) -> None:
    members, at = [], 0
    for n, size in enumerate(sizes):
        members.append(Member(f"{n:064x}", at, size))
        at += size
    wanted = data.draw(st.lists(st.sampled_from(members), unique=True))
    spans = packs.spans(wanted)
    assert sorted(m for s in spans for m in s.members) == sorted(wanted)
    for span in spans:
        assert span.length <= packs.FULL
        for m in span.members:
            assert span.start <= m.start
            assert m.start + m.length <= span.start + span.length


def test_a_hundred_thousand_small_files_are_tens_of_requests() -> None:
    contents = [Sized(f"{n:064x}", 1000) for n in range(100_000)]
    groups = list(packs.groups(contents))
    requests = 0
    for group in groups:
        index = packs.Index(packs.encode_index(group))
        requests += 2 + len(packs.spans(index))  # written: pack and index; read: stretches
    assert requests < 50


RECORD = Record("a" * 64, "train", {"command": "x"}, (OutputRecord("o", "o.txt", "file", "b" * 64, 3),))


def test_an_entry_comes_back() -> None:
    entry = Entry(RECORD, (("trusted", "c" * 64), ("untrusted/pr-1", "d" * 64)), "untrusted/pr-1")
    assert entries.decode(entries.encode(entry), RECORD.key, "untrusted/pr-1") == entry


@given(st.data())
def test_an_entry_that_was_changed_is_none(data: st.DataObject) -> None:
    good = entries.encode(Entry(RECORD))
    at = data.draw(st.integers(0, len(good) - 2))  # the newline at the end says nothing
    wrong = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    for changed in (wrong, good[:at]):
        with pytest.raises(ValueError, match=r"entry|record|damaged"):
            entries.decode(changed, RECORD.key, "trusted")


@pytest.mark.parametrize(
    ("packs_named", "why"),
    [
        ((("elsewhere", "c" * 64),), "pack"),
        ((("trusted", "../../x"),), "pack"),
        ((("untrusted/..", "c" * 64),), "pack"),
    ],
)
def test_an_entry_leads_nowhere_else(packs_named: tuple[tuple[str, str], ...], why: str) -> None:
    data = entries.encode(Entry(RECORD, packs_named))
    with pytest.raises(ValueError, match=why):
        entries.decode(data, RECORD.key, "trusted")


def test_an_entry_of_another_key_is_none() -> None:
    with pytest.raises(ValueError, match="another key"):
        entries.decode(entries.encode(Entry(RECORD)), "f" * 64, "trusted")


@given(st.text(max_size=120), st.text(max_size=120))
def test_different_refs_have_different_namespaces(a: str, b: str) -> None:
    first, second = names.untrusted(a), names.untrusted(b)
    assert names.is_namespace(first)
    assert (first == second) == (a == b)
    assert ".." not in first.split("/")
