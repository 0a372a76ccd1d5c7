"""Real processes, killed for good or on a disk that fails, at any change that a command makes to any file.

`tests.support.faulty` counts the changes of a command and makes it die, or fail, at one of them. Whatever was
hit: `mlpipe.lock` can be read, nothing wrong is believed, the same command given again does what it should, a
run gives what a run of a clean copy gives, restored or made, and the next `cache gc` leaves no leftovers.
`MLPIPEC_TEST_EXAMPLES` (see `make torture`) tries every change, not a sample.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflowc.runtime.collect import Collector, Limits
from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.index import Signature, StatIndex
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.store import Store
from tests.conftest import EXAMPLES
from tests.support import kills
from tests.support.faulty import Faults

STEPS = 3 if EXAMPLES <= 100 else 10_000

PIPELINE = """\
mlpipe 1

pipeline kills

params "params.yaml"

data raw = "raw.txt"

stage large {
  in    raw     = raw
  param p.x
  out o: file   = "out/large"
  run = "{ cat {{raw}}; head -c 70000 /dev/zero; echo {{params.p.x}}; } > {{o}}"
}

stage folder {
  in    large   = large.o
  param p.x
  out d: dir    = "out/d"
  run = \"\"\"
  mkdir -p {{d}}/empty
  cp {{large}} {{d}}/large
  echo {{params.p.x}} > {{d}}/small
  chmod +x {{d}}/small
  ln -s small {{d}}/link
  \"\"\"
}

stage both {
  in  large     = large.o
  in  folder    = folder.d
  out o: file   = "both"
  out n: metrics { size: int } = "count.json"
  run = \"\"\"
  cat {{large}} {{folder}}/large {{folder}}/link > {{o}}
  echo '{"size": '$(wc -c < {{o}})'}' > {{n}}
  \"\"\"
}

on push("main") { run = [both] }
"""


class World(kills.World):
    """With the project above."""

    def begin(self, p: int = 1) -> None:
        """The project's own files."""
        self.project.mkdir(parents=True, exist_ok=True)
        (self.project / "pipeline.mlpipe").write_text(PIPELINE)
        (self.project / "raw.txt").write_text("raw\n")
        self.set(p)

    def fresh(self) -> None:
        """As a fresh clone: no state, no outputs."""
        self.forget(".mlpipe", "out", "both", "count.json")


def check(world: World) -> None:
    """What the outputs must hold."""
    root = world.project
    p = (root / "params.yaml").read_text().split()[-1]
    large = b"raw\n" + b"\0" * 70_000 + f"{p}\n".encode()
    assert (root / "out/large").read_bytes() == large
    assert (root / "out/d/large").read_bytes() == large
    assert (root / "out/d/small").read_text() == f"{p}\n"
    assert (root / "out/d/small").stat().st_mode & 0o100
    assert (root / "out/d/link").readlink() == Path("small")
    assert (root / "out/d/empty").is_dir()
    assert len(list((root / "out/d").iterdir())) == 4
    both = large + large + f"{p}\n".encode()
    assert (root / "both").read_bytes() == both
    assert json.loads((root / "count.json").read_text()) == {"size": len(both)}


# --- situations: what is there, and the command that is hit


def _first(world: World) -> list[str]:
    world.begin()
    (world.project / "both").write_text("by hand\n")
    return ["run"]


def _again(world: World) -> list[str]:
    world.begin()
    world.call("run")
    world.set(2)
    return ["run", "-j", "1"]


def _restore(world: World) -> list[str]:
    world.begin()
    world.call("run")
    world.forget("out", "both")
    return ["run"]


def _gc(world: World) -> list[str]:
    _again(world)
    world.call("run")
    return ["cache", "gc", "--keep", "0s"]


def _gc_all(world: World) -> list[str]:
    _again(world)
    world.call("run")
    world.forget("mlpipe.lock")
    return ["cache", "gc", "--max-size", "0B"]


def _push(world: World) -> list[str]:
    world.begin()
    world.call("run")
    return ["cache", "push", "--remote", "../remote"]


def _pull(world: World) -> list[str]:
    world.call(*_push(world))
    world.fresh()
    return ["cache", "pull", "--remote", "../remote"]


def _run_by_remote(world: World) -> list[str]:
    world.call(*_push(world))
    world.fresh()
    return ["run", "--remote", "../remote"]


def _export(world: World) -> list[str]:
    world.begin()
    world.call("run")
    return ["cache", "export", "../results.tar"]


def _import(world: World) -> list[str]:
    world.call(*_export(world))
    world.fresh()
    return ["cache", "import", "../results.tar"]


def _job(world: World) -> list[str]:
    world.begin()
    return ["exec", "both", "--on", "push-main"]


def _job_with_bundles(world: World) -> list[str]:
    world.call(*_job(world))
    world.fresh()
    return ["exec", "both", "--on", "push-main"]


def _resolve(world: World) -> list[str]:
    world.begin()
    world.call("run")
    ours = (world.project / "mlpipe.lock").read_text()
    world.set(2)
    world.call("run")
    theirs = (world.project / "mlpipe.lock").read_text()
    conflict = f"<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> other\n"
    (world.project / "mlpipe.lock").write_text(conflict)
    return ["lock", "--resolve"]


def _verify(world: World) -> list[str]:
    world.begin()
    world.call("run")
    for path in sorted((world.project / ".mlpipe/cache/objects").glob("??/*"))[::2]:
        path.chmod(0o644)
        path.write_text("spoilt")
    world.forget("both", "out")
    return ["cache", "verify"]


def _take_over(world: World) -> list[str]:
    """DVC's results become ours."""
    world.project.mkdir(parents=True)
    content = b"a\n1\n" * 20_000
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    # As DVC leaves it with `cache.type = symlink`.
    cached = world.project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    for path in (cached, world.project / "data.csv"):
        path.write_bytes(content)
    (world.project / "copy.csv").symlink_to(cached.relative_to(world.project))
    stage = {"cmd": "cp data.csv copy.csv", "deps": ["data.csv"], "outs": ["copy.csv"]}
    (world.project / "dvc.yaml").write_text(json.dumps({"stages": {"copy": stage}}))
    pins = [{"path": n, "md5": md5, "hash": "md5", "size": len(content)} for n in ("data.csv", "copy.csv")]
    locked = {"cmd": stage["cmd"], "deps": pins[:1], "outs": pins[1:]}
    (world.project / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"copy": locked}}))
    return ["import", "--cache", "--force"]


SITUATIONS = (
    _first, _again, _restore, _gc, _gc_all, _push, _pull, _run_by_remote, _export, _import, _job,
    _job_with_bundles, _resolve, _verify, _take_over,
)  # fmt: skip
# Exit code 1 is what they say of what they find.
_FINDS = {_verify}


# --- what must hold


def believed(root: Path) -> None:
    """Of each object that the index takes for good, the content is what its name says."""
    index = StatIndex(root / "project/.mlpipe/index.db")
    for path in (root / "project/.mlpipe/cache/objects").glob("??/*"):
        digest = path.parent.name + path.name
        if len(path.name) == 62 and index.known_object(digest) == Signature.of(path.stat()):
            assert hash_file(path) == digest
    index.close()


def sound(world: World, words: list[str], make: Callable[[World], list[str]]) -> None:
    """After a fault."""
    believed(world.root)
    if make is not _resolve:
        LockFile.read(world.project)
    if (world.root / "remote").exists():
        world.call("cache", "verify", "--in-remote", "--remote", "../remote")
    if (world.root / "results.tar").exists() and make is _export:
        world.call("cache", "import", "../results.tar")
    world.call(*words, code=None if make in _FINDS else 0)
    world.call("run")
    if make is _take_over:
        assert not (world.project / "copy.csv").is_symlink()
        assert (world.project / "copy.csv").read_bytes() == (world.project / "data.csv").read_bytes()
    else:
        check(world)
        assert json.loads(world.call("status", "--json").out)["idle"]
        world.forget("out", "both", "count.json")
        said = world.call("run").out
        # Where a disk failed, what came from a remote may be in its place and not in the cache: a miss.
        assert "3 restored" in said or make is _run_by_remote, said
        check(world)
    believed(world.root)
    tidy(world)


def tidy(world: World) -> None:
    """What was left behind goes with the next clearing up, a day later."""
    state = world.project / ".mlpipe"
    index, fs = StatIndex(state / "index.db"), LocalFileSystem()
    later = time.time() + 2 * 86400
    locks = [LockFile.read(world.project)]
    store = Store(state / "cache", fs, index)
    Collector(store, index, fs, locks, later, world.project).collect(Limits())
    index.close()
    assert all(store.has_output(o) for e in locks[0].stages().values() for o in e.outputs)
    left = [p for p in world.root.rglob("*") if p.name.endswith(".tmp") or p.parent.name == "tmp"]
    # What lies beside the file of an export goes with the next one of that name.
    left = [p for p in left if "remote" not in p.relative_to(world.root).parts]
    left = [p for p in left if not p.name.startswith(".results.tar.")]
    assert left == []
    assert not list((state / "aside").glob("*"))


def _prepared(make: Callable[[World], list[str]], root: Path, faults: Faults) -> tuple[World, list[str], int]:
    """The world in its situation, to be copied; the command; and how many changes it makes there."""
    world = World(root / "prepared", faults)
    words = make(world)
    counted = world.copy(root / "counted")
    done = faults.call(counted.project, words, root=counted.root)
    assert done.code == (1 if make in _FINDS else 0), done
    assert done.changes > 2, done
    sound(counted, words, make)
    return world, words, done.changes


@pytest.mark.parametrize("make", SITUATIONS, ids=lambda f: f.__name__[1:])
def test_killed_at_any_change(tmp_path: Path, faults: Faults, make: Callable[[World], list[str]]) -> None:
    prepared, words, changes = _prepared(make, tmp_path, faults)
    for n, at in enumerate(kills.sample(changes, f"{make.__name__} kill", STEPS)):
        world = prepared.copy(tmp_path / str(at))
        how = "torn" if n % 2 else "kill"
        done = faults.call(world.project, words, root=world.root, at=at, how=how)
        # Threads may have been quicker this time, or the last changes fewer.
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
            check(world)
        sound(world, words, make)


@pytest.mark.parametrize("make", SITUATIONS, ids=lambda f: f.__name__[1:])
def test_writes_that_are_cut_short(
    tmp_path: Path, faults: Faults, make: Callable[[World], list[str]]
) -> None:
    """A write may take less than it was given; and a file may not grow beyond a limit."""
    prepared, words, _ = _prepared(make, tmp_path, faults)
    world = prepared.copy(tmp_path / "short")
    done = faults.call(world.project, words, root=world.root, how="short")
    assert done.code == (1 if make in _FINDS else 0), done
    sound(world, words, make)
    for limit in (0, 1000, 71_000):
        world = prepared.copy(tmp_path / f"full{limit}")
        kills.said_well(faults.call(world.project, words, root=world.root, at=limit, how="full"))
        sound(world, words, make)
