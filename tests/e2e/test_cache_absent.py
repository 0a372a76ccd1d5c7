"""What `mlpipec cache push`, `pull` and `export` say of results that are not in the cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.remote_project import Checkout


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """A project that has run, and writes to a remote when told."""
    made = Checkout(tmp_path / "a" / "p").make(f'cache {{ remote = "{tmp_path / "remote"}" }}')
    made("run", "--no-remote")
    assert made.ran == ["load", "split", "score"]
    return made


def lose(checkout: Checkout, output: str) -> None:
    """Takes the content of one output from the cache and from its place."""
    for path in (checkout.root / ".mlpipe" / "cache" / "objects").glob("??/*"):
        if path.read_bytes() == (checkout.root / output).read_bytes():
            path.unlink()
    (checkout.root / output).unlink()


def test_outputs_in_place_that_the_cache_lacks(project: Checkout, tmp_path: Path) -> None:
    shutil.rmtree(project.root / ".mlpipe")
    assert "nothing to do" in project("run", "--no-remote")
    for words in (["push"], ["export", "../all.tar"]):
        said = project("cache", *words, code=1)
        assert "in place, but not in the cache: load, split, score" in said
        assert "`mlpipec run --force load split score`" in said
        assert "no result here" not in said
    assert "not written" in said and not (tmp_path / "a" / "all.tar").exists()
    assert json.loads(project("cache", "push", "--json", code=1))["in_place"] == ["load", "split", "score"]
    # And what it advises helps.
    project("run", "--no-remote", "--force", "load", "split", "score")
    assert "3 results" in project("cache", "export", "../all.tar")
    assert "3 results pushed" in project("cache", "push")


def test_nothing_here_at_all(project: Checkout, tmp_path: Path) -> None:
    project.forget()
    said = project("cache", "export", "../all.tar", code=1)
    assert "no result here: load, split, score" in said
    assert not (tmp_path / "a" / "all.tar").exists()
    assert "no result here: load, split, score" in project("cache", "push", code=1)
    assert "not written" in project("cache", "export", "../all.tar", "--all", code=1)
    # Without the lock nobody knows what follows.
    (project.root / "mlpipe.lock").unlink()
    said = project("cache", "push", code=1)
    assert "no result here: load\n" in said
    assert "not known: split, score (follow what `load` will make)" in said


def test_one_lost_result_does_not_hide_those_behind_it(project: Checkout, tmp_path: Path) -> None:
    lose(project, "out/big.bin")
    said = project("cache", "push")
    assert "no result here: load\n" in said and "2 results pushed" in said
    assert "no result here: load\n" in project("cache", "push", "load", code=1)
    assert "no result here: load\n" in project("cache", "push", "score")
    assert "2 results" in project("cache", "export", "../two.tar")
    # What was pushed is found, although the first is nowhere: only that is made again.
    other = Checkout(tmp_path / "b" / "p").make(f'cache {{ remote = "{tmp_path / "remote"}" }}')
    shutil.copy(project.root / "mlpipe.lock", other.root)
    said = json.loads(other("cache", "pull", "--json"))
    assert (said["missing"], sorted(said["fetched"] + said["here"])) == (["load"], ["score", "split"])
    assert "not in the remote: load\n" in other("cache", "pull", "load", code=1)
    other("run", "score", "--no-remote")
    assert (other.ran, (other.root / "out/scores.json").is_file()) == (["load"], True)


def test_a_changed_stage_hides_those_behind_it(project: Checkout) -> None:
    (project.root / "raw.txt").write_text("other\n")
    said = project("cache", "push", "score", code=1)
    assert "no result here: load\n" in said
    assert "not known: split, score (follow what `load` will make)" in said
