"""What this machine has to share out between stages that run at the same time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlflowc.ir.model import Runner


@dataclass(frozen=True, slots=True)
class Share:
    """What one stage holds: `cpu` and `memory` (bytes) as it declares, `gpus` by number."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    gpus: tuple[str, ...] = ()


class Resources:
    """Slots for `jobs` stages, and the machine's processors, memory and GPUs for those that declare them.

    A stage that wants more than there is runs alone: a laptop must be able to run what a cluster runs.
    """

    def __init__(
        self,
        jobs: int,
        cpu: int | None = None,
        memory: int | None = None,
        gpus: tuple[str, ...] | None = None,
    ) -> None:
        self._jobs = jobs
        self._running = 0
        self._cpu = cpu if cpu is not None else (os.cpu_count() or 1)
        self._memory = memory if memory is not None else _memory()
        self._gpus = list(gpus if gpus is not None else _gpus())
        # Without a GPU that we can see, stages that want one still must not get in each other's way.
        self._gpu_slots = len(self._gpus) or 1
        self._total = (self._cpu, self._memory, self._gpu_slots)

    @property
    def full(self) -> bool:
        """Whether no stage at all can start."""
        return self._running >= self._jobs

    def take(self, runner: Runner | None) -> Share | None:
        """A share for a stage with that runner; None when there is not enough left now."""
        if self.full:
            return None
        cpu = min(runner.cpu or 0, self._total[0]) if runner else 0
        memory = min(runner.memory or 0, self._total[1]) if runner else 0
        gpu = min(runner.gpu.count, self._total[2]) if runner and runner.gpu else 0
        if cpu > self._cpu or memory > self._memory or gpu > self._gpu_slots:
            return None
        self._running += 1
        self._cpu -= cpu
        self._memory -= memory
        self._gpu_slots -= gpu
        taken = tuple(self._gpus[:gpu])
        del self._gpus[:gpu]
        return Share(cpu, memory, gpu, taken)

    def give(self, share: Share) -> None:
        """Gives a share back."""
        self._running -= 1
        self._cpu += share.cpu
        self._memory += share.memory
        self._gpu_slots += share.gpu
        self._gpus.extend(share.gpus)


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 1 << 62


def _gpus() -> tuple[str, ...]:
    """The GPUs that a stage may be given: those that this process may use, else those that the driver
    shows.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(g for g in visible.split(",") if g)
    try:
        return tuple(str(n) for n, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").iterdir())))
    except OSError:
        return ()
