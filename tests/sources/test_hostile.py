"""Sources made to do harm: names that lead out of the project, options where a commit should be."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from mlflowc.ir import feeds
from mlflowc.ir.model import Data, FileType, Place
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.sources.folder import Local
from mlflowc.sources.huggingface import HubSource
from tests.sources.conftest import Taker
from tests.support.git_repos import commit, git

Entry = tuple[str, str, str]


def _object(repo: Path, kind: str, data: bytes) -> str:
    made = subprocess.run(
        ["git", "hash-object", "-t", kind, "--literally", "-w", "--stdin"],
        cwd=repo, input=data, capture_output=True, check=True,
    )  # fmt: skip
    return made.stdout.decode().strip()


def _tree(repo: Path, *entries: Entry) -> str:
    rows = (f"{mode} {name}\0".encode() + bytes.fromhex(digest) for mode, name, digest in entries)
    return _object(repo, "tree", b"".join(rows))


def _head(repo: Path, tree: str) -> None:
    """Makes `main` a commit of that tree, which git itself would not write."""
    git(repo, "update-ref", "refs/heads/main", git(repo, "commit-tree", tree, "-m", "x"))


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A repository to be filled."""
    commit(tmp_path / "evil")
    return tmp_path / "evil"


@pytest.mark.parametrize("name", ["..", ".git"])
def test_a_commit_with_names_that_lead_out(taker: Taker, evil: Path, name: str) -> None:
    blob = _object(evil, "blob", b"x")
    inner = _tree(evil, ("100644", "planted", blob))
    for _ in range(4):
        inner = _tree(evil, ("40000", name, inner))
    _head(evil, _tree(evil, ("40000", "d", _tree(evil, ("40000", name, inner), ("100644", "good", blob)))))
    for path in ("d", "."):
        failure = taker.refused("git", url="../evil", path=path)
        assert "leads out of it" in failure.message
        taker.refused("registry", url="../evil", path=path)
    assert not [*taker.root.parent.rglob("planted")]


def test_a_commit_with_a_file_below_a_link(taker: Taker, evil: Path) -> None:
    blob = _object(evil, "blob", b"x")
    up, far = (_object(evil, "blob", t) for t in (b"../..", b"l1/../../.."))
    links = [("120000", "l1", up), ("120000", "l2", far)]
    below = ("40000", "l2", _tree(evil, ("100644", "planted", blob)))

    def put(entries: list[Entry]) -> None:
        x = _tree(evil, ("40000", "y", _tree(evil, *entries)))
        _head(evil, _tree(evil, ("40000", "d", _tree(evil, ("40000", "x", x)))))

    put([*links, below])
    assert "`d/x/y/l2` twice" in taker.refused("git", url="../evil", path="d").message
    assert not [*taker.root.parent.rglob("planted")]
    # By its words `l1/../../..` is `d`; by way of `l1` it is far outside.
    put(links)
    assert "outside of what is fetched" in taker.refused("git", url="../evil", path="d").message


def test_an_import_that_names_an_option_of_git_as_its_commit(taker: Taker, evil: Path) -> None:
    planted = taker.root.parent / "planted"
    pointer = f"""
deps:
- path: x
  repo:
    url: {evil}
    rev_lock: --upload-pack=touch {planted};git-upload-pack
outs:
- md5: {"0" * 32}
  path: x.csv
  hash: md5
"""
    commit(evil, {".dvc/config": "[core]\n", "x.csv.dvc": pointer})
    assert "is no commit" in taker.refused("registry", url="../evil", path="x.csv").message
    wanted = {"commit": f"--upload-pack=touch {planted};git-upload-pack"}
    assert "is no commit" in taker.refused("git", wanted, url="../evil", path="x.csv.dvc").message
    assert not planted.exists()


def test_a_registry_with_an_output_elsewhere(taker: Taker, evil: Path) -> None:
    digest = hashlib.md5(b"x").hexdigest()
    store = taker.root.parent / "store/files/md5" / digest[:2] / digest[2:]
    store.parent.mkdir(parents=True)
    store.write_bytes(b"x")
    config = f"[core]\n    remote = s\n['remote \"s\"']\n    url = {taker.root.parent}/store\n"

    def pointer(path: str) -> str:
        return f"outs:\n- md5: {digest}\n  path: {path}\n  hash: md5\n"

    commit(
        evil,
        {
            ".dvc/config": config,
            "d/a.dvc": pointer("../../../../planted"),
            "d/b.dvc": pointer("inside"),
            "d/c.dvc": pointer("/tmp/planted"),
            "d/plain": "y",
        },
    )
    got, _ = taker.take("registry", url="../evil", path=".")
    assert sorted(p.relative_to(got).as_posix() for p in got.rglob("*") if p.is_file()) == [
        ".dvc/config",
        "d/inside",
        "d/plain",
    ]
    assert not [*taker.root.parent.rglob("planted")]


def test_a_full_disk_is_said_and_not_left_full(taker: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
    (taker.root.parent / "data.csv").write_text("id\n1\n")

    def full(self: Local, into: Path, size: int, progress: object) -> None:
        into.write_text("id")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Local, "_copy", full)
    monkeypatch.setattr(LocalFileSystem, "clone", lambda self, source, target: False)
    failure = taker.refused("url", url="file:../data.csv")
    assert "No space left" in failure.message and "needs space" in failure.help
    assert not list((taker.root / "refused").iterdir())


@pytest.mark.parametrize("url", ["file:../srv/x.csv", "file:///srv/x.csv", "https://example.org/a/x.csv?v=1"])
def test_data_has_the_name_of_its_file(url: str) -> None:
    data = Data("d", Place("p.mlpipe", 1, 1), FileType("csv"), "url", (("url", url),))
    assert feeds.standing(data) == ".mlpipe/data/d/x.csv"


_BLOB = hashlib.sha1(b"blob 1\0x").hexdigest()


@pytest.mark.parametrize(
    ("paths", "following"),
    [
        (["../../x"], None), (["/x"], None), (["a\0b"], None), (["a", "a"], None), (["a", "a/b"], None),
        (["./a"], None), ([""], None), (["\ud800"], None), (["a"], "same"), (["a"], "https://example.org/next"),
    ],
)  # fmt: skip
def test_a_listing_of_a_hub(
    taker: Taker, monkeypatch: pytest.MonkeyPatch, paths: list[str], following: str | None
) -> None:
    def answer(self: object, url: str, revision: str) -> tuple[object, str | None]:
        assert url.startswith("http://127.0.0.1:9/"), "a token goes to the hub alone"
        rows = [{"type": "file", "path": p, "size": 1, "oid": _BLOB} for p in paths]
        return rows, url if following == "same" else following

    monkeypatch.setattr(HubSource, "_json", answer)
    taker.env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "secret"}
    said = taker.refused("huggingface", {"commit": "a" * 40}, name="acme/net").message
    assert "does not answer as a hub does" in said


def test_two_names_that_are_one_here(taker: Taker, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = _object(evil, "blob", b"x")
    _head(evil, _tree(evil, ("100644", "A", blob), ("100644", "a", blob)))
    monkeypatch.setattr(Path, "exists", lambda self: self.with_name(self.name.upper()).is_file())
    assert "capital letters do not count" in taker.refused("git", url="../evil", path=".").message
