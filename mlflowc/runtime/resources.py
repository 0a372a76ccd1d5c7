"""What this machine has to share out between stages that run at the same time."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from mlflowc.frozen import dataclass
from mlflowc.ir.model import Runner


@dataclass(frozen=True, slots=True)
class Share:
    """What one stage holds: `cpu`, `memory` (bytes), `gpu` as many as it may use at once.

    `visible` are the GPUs that its command is to see; None: leave that as it is. `alone`: nothing else runs
    meanwhile, since it asks for more than there is, as `note` says.
    """

    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    visible: tuple[str, ...] | None = None
    alone: bool = False
    note: str = ""


class Resources:
    """Slots for `jobs` stages, and the machine's processors, memory and GPUs for those that declare them.

    A stage that wants more than there is runs alone: a laptop must be able to run what a cluster runs. Where
    no GPU can be seen there is one slot for one all the same: we may not be able to see it, and two stages
    that want it must not get in each other's way.
    """

    def __init__(
        self,
        jobs: int,
        cpu: int | None = None,
        memory: int | None = None,
        gpus: int | tuple[str, ...] | None = None,
    ) -> None:
        """`gpus`: how many to share out, or which; None: those that are there, looked for when one is asked
        for.
        """
        self._jobs = jobs
        self._running = 0
        self._alone = False
        self._cpu = cpu if cpu is not None else processors()
        self._memory = memory if memory is not None else _memory()
        self._asked_gpus = gpus
        self._total = (self._cpu, self._memory)
        self._free: list[str] | None = None
        self._all: tuple[str, ...] = ()
        self._slots = 0

    @property
    def full(self) -> bool:
        """Whether no stage at all can start."""
        return self._alone or self._running >= self._jobs

    def take(self, runner: Runner | None) -> Share | None:
        """A share for a stage with that runner; None when there is not enough left now."""
        if self.full:
            return None
        share = self._share(runner) if runner else Share()
        if share.alone and self._running:
            return None
        if share.cpu > self._cpu or share.memory > self._memory or share.gpu > self._slots:
            return None
        self._running += 1
        self._alone = share.alone
        self._cpu -= share.cpu
        self._memory -= share.memory
        self._slots -= share.gpu
        if share.visible and self._free is not None:
            del self._free[: share.gpu]
        return share

    def give(self, share: Share) -> None:
        """Gives a share back."""
        self._running -= 1
        self._alone = False
        self._cpu += share.cpu
        self._memory += share.memory
        self._slots += share.gpu
        if share.visible and self._free is not None:
            self._free = sorted([*self._free, *share.visible], key=self._all.index)

    def _share(self, runner: Runner) -> Share:
        wanted = runner.gpu.count if runner.gpu else 0
        if wanted and self._free is None:
            self._find_gpus()
        # A machine that is not known to have GPUs has a slot for one, and says nothing.
        seen = len(self._all) if self._all or self._asked_gpus is not None else 1
        over = [
            f"{asked} of {have} {what}"
            for asked, have, what in (
                (runner.cpu or 0, self._total[0], "processors"),
                (wanted, seen, "GPUs"),
            )
            if asked > have
        ]
        if (runner.memory or 0) > self._total[1]:
            over.append(f"{_size(runner.memory or 0)} of {_size(self._total[1])} of memory")
        cpu, memory = min(runner.cpu or 0, self._total[0]), min(runner.memory or 0, self._total[1])
        gpu = min(wanted, seen)
        visible = tuple((self._free or ())[:gpu]) if wanted and (self._all or not seen) else None
        note = f"it asks for {', '.join(over)}: it runs alone" if over else ""
        return Share(cpu, memory, gpu, visible, bool(over), note)

    def _find_gpus(self) -> None:
        self._all = gpus(self._asked_gpus)
        self._free = list(self._all)
        self._slots = len(self._all) if self._all or self._asked_gpus is not None else 1


def processors() -> int:
    """The processors that this process may use: of the machine, its affinity, and its control group."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    quota, _, period = _control_group("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def _memory() -> int:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        total = 1 << 62
    limit = _control_group("memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def _control_group(name: str) -> str:
    """What the container that this process runs in, if any, was limited to."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return ""


def gpus(
    asked: int | tuple[str, ...] | None = None, listed: Callable[[], tuple[str, ...]] | None = None
) -> tuple[str, ...]:
    """The GPUs to share out: those that this process may use, else those that the driver shows; of them as
    many as `asked`. Where fewer can be seen, they are numbered: the user knows better.
    """
    if isinstance(asked, tuple):
        return asked
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        found = tuple(g.strip() for g in visible.split(",") if g.strip() and g.strip() != "-1")
    else:
        found = (listed or _listed)()
    if asked is None:
        return found
    return found[:asked] if len(found) >= asked else tuple(str(n) for n in range(asked))


def _listed() -> tuple[str, ...]:
    try:
        return tuple(str(n) for n, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").iterdir())))
    except OSError:
        pass
    if shutil.which("nvidia-smi") is None:
        return ()
    import subprocess  # slow to import; most machines have no GPU to ask for

    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = [line.strip() for line in done.stdout.splitlines()]
    return tuple(line for line in lines if line.isdigit()) if done.returncode == 0 else ()


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
