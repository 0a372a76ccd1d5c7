"""The process dies, or the disk fails, at each step of a run that changes a file.

Whatever happens, `mlpipe.lock` can be read, the next run gives what it should, and what is restored from the
cache afterwards is right. `MLPIPEC_TEST_EXAMPLES` (see `make torture`) tries every step, not a sample.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from mlflowc.errors import Failure
from mlflowc.runtime.execute import Options, run
from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.plan import make_plan
from mlflowc.runtime.ports import LocalFileSystem
from tests.conftest import EXAMPLES
from tests.runtime.lab import DIR, Lab, stage

STEPS = 6 if EXAMPLES <= 100 else 10_000
_CHANGES = frozenset(
    (
        "make_folder",
        "write",
        "create",
        "rename",
        "link",
        "clone",
        "copy",
        "chmod",
        "symlink",
        "remove",
        "sync",
    )
)


class KilledError(BaseException):
    """Nothing handles it, and from then on nothing is changed: as after a `kill -9`."""


class Faulty:
    """The real file system until its `at`-th change. Then it fails as `how` says:

    `before` and `after`: the process dies before or after that change. `torn`: when a part was written.
    `once`, `always`: the change, or each from then on, raises `number`.
    """

    def __init__(self, at: int, how: str, number: int = errno.ENOSPC) -> None:
        self._real = LocalFileSystem()
        self.at, self.how, self.number = at, how, number
        self.done = 0
        self.dead = False

    def __getattr__(self, name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(self._real, name)
        if name not in _CHANGES:
            return real
        return lambda *args, **kwargs: self._change(name, real, args, kwargs)

    def _change(
        self, name: str, real: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        if self.dead:
            raise KilledError
        self.done += 1
        if self.done == self.at or (self.how == "always" and self.done > self.at >= 0):
            if self.how in ("once", "always"):
                raise OSError(self.number, os.strerror(self.number), str(args[-1]))
            if self.how == "after":
                real(*args, **kwargs)
            elif self.how == "torn" and name == "write":
                path, data = args
                assert isinstance(data, bytes)
                Path(f"{path}.0123456789abcdef.tmp").write_bytes(data[: len(data) // 2])
            elif self.how == "torn" and name == "copy":
                source, target = args
                assert isinstance(source, Path)
                assert isinstance(target, Path)
                target.write_bytes(source.read_bytes()[:5])
            self.dead = True
            raise KilledError
        return real(*args, **kwargs)


def project(root: Path) -> Lab:
    """A large file, a folder with everything, and a stage that reads both."""
    lab = Lab(root)
    lab.params = {"p": 1}
    folder = (
        "mkdir -p {o:d}/empty; cp {i:i} {o:d}/large; echo {p:p} > {o:d}/small; chmod +x {o:d}/small;"
        " ln -s small {o:d}/link"
    )
    lab.stages = [
        stage(
            "large",
            "(cat {i:i}; head -c 70000 /dev/zero; echo {p:p}) > {o:o}",
            reads={"i": "./raw"},
            writes={"o": "out/large"},
            params=("p",),
        ),
        stage(
            "folder",
            folder,
            reads={"i": "large.o"},
            writes={"d": "out/d"},
            types={"d": DIR},
            params=("p",),
        ),
        stage(
            "both",
            "cat {i:l} {i:d}/large {i:d}/link > {o:o}; wc -c < {o:o} > {o:n}",
            reads={"l": "large.o", "d": "folder.d"},
            writes={"o": "both", "n": "count"},
        ),
    ]
    return lab


def check(lab: Lab) -> None:
    """What the outputs must hold."""
    p = lab.params["p"]
    large = lab.read("raw").encode() + b"\0" * 70_000 + f"{p}\n".encode()
    assert (lab.root / "out/large").read_bytes() == large
    assert (lab.root / "out/d/large").read_bytes() == large
    assert lab.read("out/d/small") == f"{p}\n"
    assert (lab.root / "out/d/small").stat().st_mode & 0o100
    assert (lab.root / "out/d/link").readlink() == Path("small")
    assert (lab.root / "out/d/empty").is_dir()
    assert len(list((lab.root / "out/d").iterdir())) == 4
    assert (lab.root / "both").read_bytes() == large + large + f"{p}\n".encode()
    assert lab.read("count").strip() == str(2 * len(large) + 2)


def _first(lab: Lab) -> None:
    """The first run, beside an output that somebody made by hand."""
    lab.write("count", "by hand\n")


def _again(lab: Lab) -> None:
    """Everything runs with another parameter."""
    lab.run(jobs=1)
    lab.params = {"p": 2}


def _restore(lab: Lab) -> None:
    """Everything is restored where nothing is."""
    lab.run(jobs=1)
    shutil.rmtree(lab.root / "out")
    (lab.root / "both").unlink()


def _back(lab: Lab) -> None:
    """Everything is restored over other outputs."""
    lab.run(jobs=1)
    lab.params = {"p": 2}
    lab.run(jobs=1)
    lab.params = {"p": 1}


def _spoilt(lab: Lab) -> None:
    """Some outputs and a part of the cache are damaged: some stages are restored, some run."""
    lab.run(jobs=1)
    (lab.root / "out/d/small").write_text("spoilt")
    lab.write("both", "spoilt")
    for path in sorted((lab.root / ".mlpipe/cache/objects").glob("??/*"))[::2]:
        path.unlink()


SITUATIONS = (_first, _again, _restore, _back, _spoilt)


def _prepared(make: Callable[[Lab], None], root: Path) -> tuple[Lab, int]:
    """The project in its situation, to be copied; and the number of changes that a run makes there."""
    lab = project(root / "prepared")
    lab.write("raw", "raw\n")
    make(lab)
    copy = _copy(lab, root / "count")
    counting = Faulty(-1, "before")
    copy.fs = counting  # type: ignore[assignment]
    copy.run(jobs=1)
    assert counting.done > 10
    return lab, counting.done


def _copy(lab: Lab, root: Path) -> Lab:
    # With its hard links.
    subprocess.run(["cp", "-a", str(lab.root), str(root)], check=True)
    return replace(lab, root=root)


def _sample(steps: int, salt: str) -> list[int]:
    """All steps, or some of them: the same in every run of the tests."""
    return sorted(random.Random(salt).sample(range(1, steps + 1), min(STEPS, steps)))


def _sound(lab: Lab) -> None:
    """After a fault: the lock can be read, the next run is right, and so is what the cache then gives."""
    LockFile.read(lab.root)
    lab.fs = None
    assert lab.run(jobs=1).ok
    check(lab)
    assert lab.plan().idle
    # What a killed process left aside is back in its place, or gone.
    assert not list((lab.root / ".mlpipe/aside").glob("*"))
    shutil.rmtree(lab.root / "out")
    for name in ("both", "count"):
        (lab.root / name).unlink()
    assert lab.run(jobs=1).ok
    check(lab)
    for path in (lab.root / ".mlpipe/cache/objects").glob("??/*"):
        if len(path.name) == 62:
            assert hash_file(path) == path.parent.name + path.name


@pytest.mark.parametrize("how", ["before", "after", "torn"])
@pytest.mark.parametrize("make", SITUATIONS, ids=lambda f: f.__name__)
def test_killed_at_any_step(tmp_path: Path, make: Callable[[Lab], None], how: str) -> None:
    prepared, steps = _prepared(make, tmp_path)
    for at in _sample(steps, f"{make.__name__} {how}"):
        lab = _copy(prepared, tmp_path / str(at))
        lab.fs = Faulty(at, how)  # type: ignore[assignment]
        ws = lab.open()
        with pytest.raises(KilledError):
            run(ws, make_plan(ws), Options(1))
        with mock.patch.object(StatIndex, "flush"):
            # The dead write nothing.
            ws.close()
        _sound(lab)


@pytest.mark.parametrize("how", ["once", "always"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("make", SITUATIONS, ids=lambda f: f.__name__)
def test_a_disk_that_fails_at_any_step(
    tmp_path: Path, make: Callable[[Lab], None], how: str, number: int
) -> None:
    prepared, steps = _prepared(make, tmp_path)
    for at in _sample(steps, f"{make.__name__} {how} {number}")[::2]:
        lab = _copy(prepared, tmp_path / str(at))
        lab.fs = Faulty(at, how, number)  # type: ignore[assignment]
        try:
            result = lab.run(jobs=1)
        except Failure as e:
            assert os.strerror(number) in e.message
        else:
            # Some changes may fail without harm: of what is thrown away anyway, or of a flush to the disk.
            if result.ok:
                check(lab)
        _sound(lab)
