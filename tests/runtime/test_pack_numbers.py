"""What people are told of a cache with packs adds up, and what they ask for happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.remote_project import Checkout

PIPELINE = """\
mlpipe 1
pipeline numbers
param n = 1
stage make {
  param n
  out parts: dir = "out/parts/"
  run = \"\"\"
  mkdir -p {{parts}}
  for i in $(seq 200); do printf '%01000d' $i > {{parts}}/$i; done
  for i in $(seq $(({{params.n}} * 20))); do printf '%01000d' 1{{params.n}}$i > {{parts}}/own-$i; done
  \"\"\"
}
stage count {
  in  parts = make.parts
  out n = "out/n.txt"
  run = "ls {{parts}} | wc -l > {{n}}; head -c 100000 /dev/zero >> {{n}}"
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "one")
    made.root.mkdir()
    (made.root / "pipeline.mlpipe").write_text(PIPELINE)
    for n in (1, 2, 3, 4, 5):
        made("run", "--set", f"n={n}")
    return made


def there(project: Checkout) -> int:
    """The bytes of all files of the cache."""
    return sum(p.stat().st_size for p in (project.root / ".mlpipe/cache").rglob("*") if p.is_file())


def test_numbers_add_up(project: Checkout) -> None:
    assert list((project.root / ".mlpipe/cache/packs").iterdir())
    before = there(project)
    stat = json.loads(project("cache", "stat", "--json"))["cache"]
    assert stat["bytes"] == before and stat["results"] == 10
    verified = json.loads(project("cache", "verify", "--json"))
    assert (verified["bytes"], verified["damaged"]) == (before, [])
    for most in (1_000_000, 600_000, 500_000, 450_000):
        dry = json.loads(project("cache", "gc", "--max-size", f"{most}B", "--dry", "--json"))
        done = json.loads(project("cache", "gc", "--max-size", f"{most}B", "--json"))
        assert {**dry, "dry": False} == done
        now = there(project)
        assert done["left"] == now <= most, most
        assert before - now == done["bytes"]
        before = now
    assert json.loads(project("cache", "stat", "--json"))["cache"]["bytes"] == before
    assert "0 damaged" in project("cache", "verify")
    # What the lock names stays, whatever the limit.
    project("cache", "gc", "--max-size", "1B")
    assert "nothing to do" in project("run", "--set", "n=5")


def test_a_flipped_byte_in_a_pack_is_found_and_mended(project: Checkout) -> None:
    for pack in (project.root / ".mlpipe/cache/packs").glob("*.pack"):
        data = bytearray(pack.read_bytes())
        data[1500] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(data)
    said = project("cache", "verify", code=1)
    assert "damaged, and dropped: objects/" in said
    assert "0 damaged" not in said
    (project.root / "out/parts/2").unlink()
    assert "1 ran" in project("run", "--set", "n=5", "make")
    assert (project.root / "out/parts/2").stat().st_size == 1000
    assert "0 damaged" in project("cache", "verify")


def test_out_of_one_cache_and_into_another(project: Checkout, tmp_path: Path) -> None:
    project("cache", "export", str(tmp_path / "all.tar"), "--all")
    two = Checkout(tmp_path / "two")
    two.root.mkdir()
    (two.root / "pipeline.mlpipe").write_text(PIPELINE)
    (two.root / "mlpipe.lock").write_bytes((project.root / "mlpipe.lock").read_bytes())
    two("cache", "import", str(tmp_path / "all.tar"))
    assert list((two.root / ".mlpipe/cache/packs").iterdir()), "small files come in packs, too"
    assert "2 restored" in two("run", "--set", "n=5")
    assert two.outputs() == project.outputs()
    two("cache", "export", str(tmp_path / "again.tar"), "--all")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "all.tar").read_bytes()
