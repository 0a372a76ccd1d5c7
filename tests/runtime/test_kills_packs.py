"""As `test_kills`, where the cache holds many small files: killed, or on a disk that fails, at any change.

What is hit: storing, restoring, checking and clearing up packs, also the writing anew of one that is bad or
half unused. `MLPIPEC_TEST_EXAMPLES` (see `make torture`) tries every change, not a sample.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import Signature, StatIndex
from mlflowc.runtime.remotes import packs
from tests.conftest import EXAMPLES
from tests.support import kills
from tests.support.faulty import Faults

STEPS = 4 if EXAMPLES <= 100 else 10_000

PIPELINE = """\
mlpipe 1

pipeline kills

params "params.yaml"

stage many {
  param p.x
  out d: dir = "out/many"
  run = \"\"\"
  mkdir -p {{d}}
  for i in $(seq 0 69); do if [ $i -lt 30 ]; then echo $i; else echo $i {{params.p.x}}; fi > {{d}}/$i; done
  \"\"\"
}

stage all {
  in d = many.d
  out o: file = "out/all"
  run = "cat {{d}}/* > {{o}}"
}
"""


class World(kills.World):
    """With many small files, and so with packs."""

    @property
    def packs(self) -> Path:
        return self.project / ".mlpipe/cache/packs"

    def check(self) -> None:
        """What the outputs must hold."""
        p = (self.project / "params.yaml").read_text().split()[-1]
        found = {f.name: f.read_text() for f in (self.project / "out/many").iterdir()}
        assert found == {str(i): f"{i}\n" if i < 30 else f"{i} {p}\n" for i in range(70)}
        assert (self.project / "out/all").read_text() == "".join(found[n] for n in sorted(found))


# --- situations: what is there, and the command that is hit


def _first(world: World) -> list[str]:
    world.project.mkdir(parents=True)
    (world.project / "pipeline.mlpipe").write_text(PIPELINE)
    world.set(1)
    return ["run"]


def _restore(world: World) -> list[str]:
    world.call(*_first(world))
    world.forget("out")
    return ["run"]


def _restore_damaged(world: World) -> list[str]:
    """Of the pack, one content is bad: the rest of it goes into another."""
    _restore(world)
    (pack,) = world.packs.glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[7] ^= 1
    pack.write_bytes(data)
    return ["run"]


def _verify(world: World) -> list[str]:
    _restore_damaged(world)
    return ["cache", "verify"]


def _gc(world: World) -> list[str]:
    """Most of the pack is not needed any more: it is written anew."""
    world.call(*_first(world))
    world.set(2)
    world.call("run")
    world.call("cache", "gc", "--keep", "0s", "--dry")
    return ["cache", "gc", "--keep", "0s"]


def _gc_all(world: World) -> list[str]:
    _gc(world)
    (world.project / "mlpipe.lock").unlink()
    return ["cache", "gc", "--max-size", "0B"]


def _pull(world: World) -> list[str]:
    world.call(*_first(world))
    world.call("cache", "push", "--remote", "../remote")
    world.forget("out", ".mlpipe")
    return ["cache", "pull", "--remote", "../remote"]


SITUATIONS = (_first, _restore, _restore_damaged, _verify, _gc, _gc_all, _pull)


# --- what must hold


def believed(world: World) -> None:
    """Of each pack that the index takes for good, all contents are what the pack's index says."""
    index = StatIndex(world.project / ".mlpipe/index.db")
    for path in world.packs.glob("*.index"):
        pack = path.with_suffix(".pack")
        if hash_bytes(path.read_bytes()) != path.stem or not pack.exists():
            continue
        if index.known_object(path.stem) == Signature.of(pack.stat()):
            data = pack.read_bytes()
            for member in packs.Index(path.read_bytes()):
                assert hash_bytes(data[member.start : member.start + member.length]) == member.digest
    index.close()


def sound(world: World, words: list[str], make: Callable[[World], list[str]]) -> None:
    """After a fault."""
    believed(world)
    world.call(*words, code=None)
    world.call("run")
    world.check()
    believed(world)
    world.forget("out")
    said = world.call("run").out
    # What the command had made again, before it could be stored, is in its place as the lock says.
    assert "2 restored" in said or make in (_restore_damaged, _verify), said
    world.check()
    assert "0 damaged" in world.call("cache", "verify").out
    believed(world)


def _prepared(make: Callable[[World], list[str]], root: Path, faults: Faults) -> tuple[World, list[str], int]:
    world = World(root / "prepared", faults)
    words = make(world)
    assert make in (_first, _pull) or list(world.packs.glob("*.pack"))
    before = {p.name for p in world.packs.glob("*")}
    counted = world.copy(root / "counted")
    done = faults.call(counted.project, words, root=counted.root)
    assert done.code == (1 if make is _verify else 0), done
    assert done.changes > 2, done
    assert make is _restore or {p.name for p in counted.packs.glob("*")} != before
    sound(counted, words, make)
    return world, words, done.changes


@pytest.mark.parametrize("make", SITUATIONS, ids=lambda f: f.__name__[1:])
def test_killed_at_any_change(tmp_path: Path, faults: Faults, make: Callable[[World], list[str]]) -> None:
    prepared, words, changes = _prepared(make, tmp_path, faults)
    for n, at in enumerate(kills.sample(changes, f"{make.__name__} kill", STEPS)):
        world = prepared.copy(tmp_path / str(at))
        how = "torn" if n % 2 else "kill"
        done = faults.call(world.project, words, root=world.root, at=at, how=how)
        # Threads may have been quicker this time.
        assert done.killed or done.changes < at, done
        sound(world, words, make)


@pytest.mark.parametrize("make", SITUATIONS, ids=lambda f: f.__name__[1:])
def test_a_disk_that_fails_at_any_change(
    tmp_path: Path, faults: Faults, make: Callable[[World], list[str]]
) -> None:
    prepared, words, changes = _prepared(make, tmp_path, faults)
    kinds = [("once", errno.ENOSPC), ("once", errno.EIO), ("always", errno.ENOSPC), ("always", errno.EROFS)]
    for n, at in enumerate(kills.sample(changes, f"{make.__name__} fail", STEPS)):
        world = prepared.copy(tmp_path / str(at))
        how, number = kinds[n % len(kinds)]
        done = faults.call(world.project, words, root=world.root, at=at, how=how, number=number)
        kills.said_well(done)
        if done.code == 0 and words[0] == "run":
            world.check()
        sound(world, words, make)
