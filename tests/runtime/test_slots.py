"""What a machine has is shared out, nobody waits for ever, and a command sees the GPUs that it was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.ir.model import Gpu, Runner
from mlflowc.runtime.resources import Resources, Share, gpus, processors
from tests.support import project
from tests.support.ir import place

PIPELINE = """\
mlpipe 1

pipeline slots

runner one { gpu = gpu(1) }
runner two { gpu = gpu(2) }
runner huge { cpu = 4000, memory = 500000GiB }

stage a {
  out seen = "out/a"
  runner = one
  run = ["echo -n \\"$CUDA_VISIBLE_DEVICES\\" > {{seen}}", "bash meet.sh a b"]
}

stage b {
  out seen = "out/b"
  runner = one
  run = ["echo -n \\"$CUDA_VISIBLE_DEVICES\\" > {{seen}}", "bash meet.sh b a"]
}

stage both {
  in  x = a.seen
  in  y = b.seen
  out seen = "out/both"
  runner = two
  run = "cat {{x}} {{y}} >&2; echo -n \\"$CUDA_VISIBLE_DEVICES\\" > {{seen}}"
}

stage large {
  out seen = "out/large"
  runner = huge
  run = "echo -n \\"${CUDA_VISIBLE_DEVICES-none}\\" > {{seen}}"
}
"""

# Both have to be there at the same time.
MEET = """\
mkdir -p tmp
touch "tmp/$1"
for _ in $(seq 400); do
  [ -e "tmp/$2" ] && exit 0
  sleep 0.05
done
exit 1
"""


def new(path: Path, pipeline: str = PIPELINE) -> project.Checkout:
    """The project, with the script that lets two stages meet."""
    made = project.new(path, pipeline)
    made.write({"meet.sh": MEET})
    return made


def runner(cpu: int | None = None, memory: int | None = None, gpu: int = 0) -> Runner:
    """A runner that declares that."""
    return Runner("r", place(), cpu=cpu, memory=memory, gpu=Gpu(gpu) if gpu else None)


@pytest.fixture
def _no_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return


# --- whole runs


def test_stages_get_gpus_of_their_own(tmp_path: Path) -> None:
    made = new(tmp_path / "p", PIPELINE)
    made.mlpipec("run", "-j", "4", "both", CUDA_VISIBLE_DEVICES="4,7")
    assert {made.read("out/a"), made.read("out/b")} == {"4", "7"}
    assert made.read("out/both") == "4,7"


def test_the_number_of_gpus_can_be_said(tmp_path: Path) -> None:
    made = new(tmp_path / "p", PIPELINE)
    made.mlpipec("run", "-j", "4", "--gpus", "2", "both")
    assert {made.read("out/a"), made.read("out/b")} == {"0", "1"}
    assert made.read("out/both") == "0,1"


def test_a_stage_that_asks_for_too_much_runs_all_the_same_and_alone(tmp_path: Path) -> None:
    made = new(tmp_path / "p", PIPELINE)
    done = made.mlpipec("run", "-j", "4", "large")
    assert "large: it asks for 4000 of " in done.out
    assert "of memory: it runs alone" in done.out
    assert made.read("out/large") == "none"


def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    pipeline = PIPELINE[: PIPELINE.index("stage a")] + PIPELINE[PIPELINE.index("stage both") :]
    pipeline = pipeline.replace("  in  x = a.seen\n  in  y = b.seen\n", "").replace(
        "cat {{x}} {{y}} >&2; ", ""
    )
    made = new(tmp_path / "p", pipeline)
    done = made.mlpipec("run", "both", "--gpus", "0")
    assert "both: it asks for 2 of 0 GPUs: it runs alone" in done.out
    assert made.read("out/both") == ""


# --- the sharing out


def test_processors_and_memory_are_counted() -> None:
    machine = Resources(9, cpu=4, memory=100, gpus=())
    first = machine.take(runner(cpu=3, memory=10))
    assert first is not None
    assert machine.take(runner(cpu=2)) is None
    assert machine.take(runner(cpu=1, memory=91)) is None
    second = machine.take(runner(cpu=1, memory=90))
    assert second is not None
    assert machine.take(None) is not None
    machine.give(first)
    assert machine.take(runner(cpu=3, memory=10)) is not None


def test_who_asks_for_more_than_there_is_waits_for_all_and_then_nobody_else_starts() -> None:
    machine = Resources(9, cpu=4, memory=100, gpus=())
    small = machine.take(None)
    assert small is not None
    assert machine.take(runner(cpu=5)) is None
    machine.give(small)
    large = machine.take(runner(cpu=5))
    assert large is not None
    assert (large.alone, large.note) == (True, "it asks for 5 of 4 processors: it runs alone")
    assert machine.full
    assert machine.take(None) is None
    machine.give(large)
    assert machine.take(None) is not None


def test_gpus_come_back() -> None:
    machine = Resources(9, cpu=4, memory=100, gpus=("0", "1", "2"))
    first, second = machine.take(runner(gpu=1)), machine.take(runner(gpu=2))
    assert first is not None
    assert second is not None
    assert (first.visible, second.visible) == (("0",), ("1", "2"))
    assert machine.take(runner(gpu=1)) is None
    machine.give(first)
    third = machine.take(runner(gpu=1))
    assert third is not None
    assert third.visible == ("0",)


@pytest.mark.usefixtures("_no_gpus")
def test_without_gpus_in_sight_one_stage_at_a_time_may_want_one() -> None:
    machine = Resources(9, cpu=4, memory=100)
    first = machine.take(runner(gpu=1))
    assert first == Share(gpu=1)
    assert machine.take(runner(gpu=1)) is None
    assert machine.take(None) is not None


asks = st.builds(
    runner,
    cpu=st.none() | st.integers(1, 8),
    memory=st.none() | st.integers(1, 200),
    gpu=st.integers(0, 4),
)


@given(st.lists(asks, max_size=30), st.integers(1, 4), st.integers(0, 3), st.randoms())
def test_all_get_their_turn_and_nothing_is_given_twice(
    wanted: list[Runner], jobs: int, count: int, random: object
) -> None:
    machine = Resources(jobs, cpu=4, memory=100, gpus=tuple("abc"[:count]))
    waiting, running = list(wanted), list[Share]()
    while waiting or running:
        started = next(((r, s) for r in waiting if (s := machine.take(r))), None)
        if started is not None:
            waiting.remove(started[0])
            running.append(started[1])
            held = [g for s in running for g in s.visible or ()]
            assert len(held) == len(set(held))
            assert len(running) <= jobs
            assert sum(s.cpu for s in running) <= 4
            assert sum(s.memory for s in running) <= 100
            assert len(running) == 1 or not any(s.alone for s in running)
            continue
        assert running, "all wait, and nobody runs"
        machine.give(running.pop(random.randrange(len(running))))  # type: ignore[attr-defined]


def test_gpus_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1, 3")
    assert gpus() == ("GPU-1", "3")
    assert gpus(1) == ("GPU-1",)
    assert gpus(3) == ("0", "1", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus() == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus(listed=lambda: ("0", "1")) == ("0", "1")


def test_gpus_that_the_driver_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/proc/driver/nvidia/gpus").is_dir():
        pytest.skip("this machine has real ones")
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$1" = --query-gpu=index ] && printf "0\\n1\\n"\n')
    tool.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpus() == ("0", "1")
    tool.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    assert gpus() == ()


def test_there_is_a_processor() -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)
