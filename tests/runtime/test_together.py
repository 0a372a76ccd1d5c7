"""Many processes at once: in one checkout, and in several with one shared cache.

Each command of a stage notes that it ran in a file beside the project, and what it writes depends on nothing
else: however many processes there are, each key is made once, and nothing is torn.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.lockfile import LockFile

_HEAD = "mlpipe 1\n\npipeline together\n"
_STAGE = """
stage {name} {{
  {input}
  out made: file = "out/{name}"
  out more: dir  = "out/{name}.d"
  run = \"\"\"
  {{ echo {name} >> {journal}; }}
  sleep 0.05
  {{ {source}; echo {name}; head -c 70000 /dev/zero; }} > {{{{made}}}}
  mkdir -p {{{{more}}}}/empty
  cp {{{{made}}}} {{{{more}}}}/copy
  \"\"\"
}}
"""


def pipeline(journal: Path, chains: int, length: int, settings: str = "") -> str:
    """Chains of stages beside each other; each tells the journal that it ran."""
    text = _HEAD + settings
    for chain in range(chains):
        for n in range(length):
            text += _STAGE.format(
                name=f"s{chain}_{n}",
                input=f"in before = s{chain}_{n - 1}.made" if n else "",
                source="cat {{before}}" if n else "true",
                journal=journal,
            )
    return text


def start(root: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """A real process."""
    return subprocess.Popen(
        [sys.executable, "-m", "mlflowc", *words],
        cwd=root,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(processes: Sequence[subprocess.Popen[str]], codes: tuple[int, ...] = (0,)) -> list[str]:
    """What they wrote."""
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, out in zip(processes, said, strict=True):
        assert process.returncode in codes, out
    return said


def sound(root: Path, cache: Path, chains: int, length: int) -> None:
    """Outputs are right, the lock knows all, and each object of the cache is what its name says."""
    for chain in range(chains):
        expected = b""
        for n in range(length):
            expected += f"s{chain}_{n}\n".encode() + b"\0" * 70_000
            assert (root / f"out/s{chain}_{n}").read_bytes() == expected
            assert (root / f"out/s{chain}_{n}.d/copy").read_bytes() == expected
            assert (root / f"out/s{chain}_{n}.d/empty").is_dir()
    assert len(LockFile.read(root).stages()) == chains * length
    for path in cache.glob("objects/??/*"):
        assert hash_file(path) == path.parent.name + path.name
    assert not list((root / ".mlpipe/aside").glob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "mlflowc", "status", "--json"], cwd=root, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["idle"], done.stdout


def test_twenty_processes_in_one_checkout(tmp_path: Path) -> None:
    """Some want everything, some one stage: each stage runs once."""
    root, journal = tmp_path / "project", tmp_path / "journal"
    root.mkdir()
    (root / "pipeline.mlpipe").write_text(pipeline(journal, 3, 3))
    wanted = [[], ["s0_2"], ["s1_1"], ["s2_2", "s0_0"], []] * 4
    end([start(root, "run", "-j", "2", *names) for names in wanted])
    assert Counter(journal.read_text().split()) == {f"s{c}_{n}": 1 for c in range(3) for n in range(3)}
    sound(root, root / ".mlpipe/cache", 3, 3)


@pytest.mark.parametrize("by", ["variable", "pipeline"])
def test_checkouts_with_one_shared_cache(tmp_path: Path, by: str) -> None:
    """Each key is made once on the machine; the others are handed its result."""
    cache, journal = tmp_path / "shared", tmp_path / "journal"
    settings = 'cache { folder = "../shared" }\n' if by == "pipeline" else ""
    variables = {"MLPIPEC_SHARED_CACHE": str(cache)} if by == "variable" else {}
    roots = [tmp_path / f"checkout{n}" for n in range(6)]
    for root in roots:
        root.mkdir()
        (root / "pipeline.mlpipe").write_text(pipeline(journal, 2, 2, settings))
    end([start(root, "run", **variables) for root in roots for _ in range(2)])
    assert Counter(journal.read_text().split()) == {f"s{c}_{n}": 1 for c in range(2) for n in range(2)}
    for root in roots:
        assert not (root / ".mlpipe/cache").exists()
        sound(root, cache, 2, 2)
    # What one leaves is enough for another that comes later.
    late = tmp_path / "late"
    late.mkdir()
    (late / "pipeline.mlpipe").write_text(pipeline(journal, 2, 2, settings))
    (said,) = end([start(late, "run", **variables)])
    assert "4 restored" in said
    sound(late, cache, 2, 2)


def test_gc_of_one_checkout_leaves_what_others_name(tmp_path: Path) -> None:
    cache, journal = tmp_path / "shared", tmp_path / "journal"
    here, there, gone = (tmp_path / n for n in ("here", "there", "gone"))
    for n, root in enumerate((here, there, gone)):
        root.mkdir()
        text = pipeline(journal, 1, 1).replace("echo s0_0;", f"echo {n};")
        (root / "pipeline.mlpipe").write_text(text)
    shared = {"MLPIPEC_SHARED_CACHE": str(cache)}
    for root in (here, there, gone):
        end([start(root, "run", **shared)])
    assert len(list(cache.glob("records/??/*"))) == 3
    shutil.rmtree(gone)
    (said,) = end([start(here, "cache", "gc", "--keep", "0s", **shared)])
    assert said.startswith("1 result and ")
    shutil.rmtree(there / "out")
    (said,) = end([start(there, "run", **shared)])
    assert "1 restored" in said
    # A damaged lock of another could name anything: nothing goes.
    (there / "mlpipe.lock").write_text("broken\n")
    (said,) = end([start(here, "cache", "gc", "--keep", "0s", **shared)], (1,))
    assert "mlpipe.lock" in said


def test_a_shared_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "pipeline.mlpipe").write_text(pipeline(tmp_path / "journal", 1, 1))
    (tmp_path / "file").write_text("")
    (said,) = end([start(root, "run", MLPIPEC_SHARED_CACHE=str(tmp_path / "file/cache"))], (1,))
    assert "cannot write in the shared cache" in said


def test_a_shared_cache_that_was_made_read_only_is_named(tmp_path: Path) -> None:
    """Its own folder is `.mlpipe`; it is not that one that cannot be written."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "pipeline.mlpipe").write_text(pipeline(tmp_path / "journal", 1, 1))
    shared = {"MLPIPEC_SHARED_CACHE": str(tmp_path / "cache")}
    end([start(root, "run", **shared)])
    # Root may write everywhere, but not in a folder as if it were a file.
    (tmp_path / "cache/gc.lock").unlink()
    (tmp_path / "cache/gc.lock").mkdir()
    (said,) = end([start(root, "cache", "gc", **shared)], (1,))
    assert f"cannot write in the shared cache `{tmp_path}/cache`" in said


def test_clearing_up_while_others_run_and_carry_bundles(tmp_path: Path) -> None:
    """`cache gc` waits for those at work, or gives up; a result is never taken from under them."""
    journal = tmp_path / "journal"
    roots = [tmp_path / f"c{n}" for n in range(3)]
    shared = {"MLPIPEC_SHARED_CACHE": str(tmp_path / "cache")}
    for root in roots:
        root.mkdir()
        (root / "pipeline.mlpipe").write_text(
            pipeline(journal, 1, 2) + '\non push("main") { run = [s0_1] }\n'
        )
    workers, collectors = [], []
    for n in range(4):
        for root in roots:
            words = ("run",) if n % 2 else ("exec", "s0_1", "--on", "push-main")
            workers.append(start(root, *words, **shared))
        collectors.append(start(roots[n % 3], "cache", "gc", "--keep", "0s", "--max-size", "0B", **shared))
    end(workers)
    end(collectors, (0, 1))
    for root in roots:
        end([start(root, "run", **shared)])
        sound(root, tmp_path / "cache", 1, 2)
