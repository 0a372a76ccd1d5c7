"""A project that has results in its own cache, and uses a shared one now; what `cache stat` and `gc` say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.remote_project import Checkout


@pytest.fixture
def moved(tmp_path: Path) -> Checkout:
    """A project that has run, and names a shared cache since."""
    made = Checkout(tmp_path / "a" / "p").make()
    made("run")
    assert made.ran == ["load", "split", "score"]
    return made.make('cache { folder = "../../shared" }')


def test_results_are_taken_over(moved: Checkout, tmp_path: Path) -> None:
    said = moved("cache", "stat")
    assert "`.mlpipe/cache` still holds 3 results of before the shared cache" in said
    assert "`mlpipec cache import .mlpipe/cache` takes them over" in said
    assert f"cache (shared, `{tmp_path / 'shared'}`): 0 results, objects and packs: 0" in said
    said = moved("cache", "export", "../all.tar", code=1)
    assert "not in the cache: load, split, score" in said and "takes them over" in said
    assert "3 results, 3 new" in moved("cache", "import", ".mlpipe/cache")
    assert "still holds" not in moved("cache", "stat")
    assert "3 results, 0 new" in moved("cache", "import", ".mlpipe/cache")
    assert "0 damaged" in moved("cache", "verify")
    want = moved.outputs()
    # Nothing leads into the old cache any more; here, and in another checkout.
    shutil.rmtree(moved.root / ".mlpipe")
    shutil.rmtree(moved.root / "out")
    moved("run")
    assert (moved.ran, moved.outputs()) == ([], want)
    other = Checkout(tmp_path / "b" / "p").make('cache { folder = "../../shared" }')
    assert "3 restored" in other("run")
    assert (other.ran, other.outputs()) == ([], want)


def test_no_file_is_in_both_caches(moved: Checkout, tmp_path: Path) -> None:
    moved("cache", "import", ".mlpipe/cache")
    old = {p.stat().st_ino for p in (moved.root / ".mlpipe" / "cache").rglob("*") if p.is_file()}
    new = {p.stat().st_ino for p in (tmp_path / "shared").rglob("*") if p.is_file()}
    assert new
    assert not old & new


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_what_is_not_whole_is_left_out(moved: Checkout, tmp_path: Path, damage: str) -> None:
    cache = moved.root / ".mlpipe" / "cache"
    (big,) = (p for p in cache.glob("objects/??/*") if p.stat().st_size == 1_500_000)
    big.chmod(0o644)
    if damage == "gone":
        big.unlink()
    else:
        content = big.read_bytes()
        big.write_bytes(b"y" + content[1:])
    said = json.loads(moved("cache", "import", ".mlpipe/cache", "--json"))
    assert (said["lost"], said["new"]) == (["load"], 2)
    assert "0 damaged" in moved("cache", "verify")
    moved.forget()
    moved("run")
    assert moved.ran == ["load"]


def test_a_damaged_pack_or_record_is_left_out(moved: Checkout) -> None:
    cache = moved.root / ".mlpipe" / "cache"
    for path in [*cache.glob("packs/*"), *list(cache.glob("records/??/*"))[:1]]:
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    said = json.loads(moved("cache", "import", ".mlpipe/cache", "--json"))
    assert said["new"] < 3
    assert "0 damaged" in moved("cache", "verify")
    moved.forget()
    moved("run")
    assert moved.ran


def test_a_folder_that_is_no_cache(moved: Checkout, tmp_path: Path) -> None:
    assert "`src` is not a cache" in _import(moved, "src")
    moved("cache", "import", ".mlpipe/cache")
    assert "is the cache that is in use here" in moved("cache", "import", "../../shared", code=1)
    # Back from the shared one.
    own = Checkout(tmp_path / "c" / "p").make()
    assert "3 results, 3 new" in own("cache", "import", "../../shared")
    own("run")
    assert own.ran == []


def _import(checkout: Checkout, folder: str) -> str:
    (checkout.root / folder).mkdir()
    return checkout("cache", "import", folder, code=1)


def test_an_empty_remote_is_told(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    made = Checkout(tmp_path / "a" / "p").make(f'cache {{ remote = "{tmp_path / "remote"}" }}')
    assert f"{tmp_path / 'remote'}: empty" in made("cache", "stat")


def test_a_limit_that_the_lock_does_not_let_keep(moved: Checkout) -> None:
    moved.make()
    assert "more than 1.0 kB: `mlpipe.lock` names 1.5 MB of it" in moved("cache", "gc", "--max-size", "1KB")
    assert "more than" not in moved("cache", "gc", "--max-size", "1GB")
    assert "more than" not in moved("cache", "gc")
