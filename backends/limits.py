"""What the services allow, one line a limit. A limit that changed is one edited line here.

From the services' own documentation; times in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """One service's limits. None: no such limit is known."""

    service: str
    default_timeout: int  # what a job gets where nothing is said
    hosted_timeout: int | None  # the longest a job may take on the service's own machines
    own_timeout: int | None  # ... and on the user's
    jobs: int | None  # jobs (steps) in one pipeline
    needs: int | None  # jobs that one job may wait for
    name: int | None  # characters of a job's name
    inputs: int | None  # inputs of a manual start
    cron_gap: int | None  # the least seconds between two scheduled starts
    file_size: int | None  # bytes of a configuration file
    cache_key: int | None  # characters of a cache key
    labels: int | None  # labels of a runner
    label: int | None  # characters of a runner's label
    hosted_cpu: int | None  # processors of the machine that one gets without asking
    hosted_memory: int | None  # its memory


_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_KB, _MB, _GiB = 1000, 1000**2, 1024**3

GITHUB = Limits(
    service="GitHub",
    default_timeout=6 * _HOUR,
    hosted_timeout=6 * _HOUR,
    own_timeout=5 * _DAY,
    jobs=None,
    needs=None,
    name=100,
    inputs=25,
    cron_gap=5 * _MINUTE,
    file_size=500 * _KB,
    cache_key=512,
    labels=None,
    label=None,
    hosted_cpu=4,
    hosted_memory=16 * _GiB,
)

GITLAB = Limits(
    service="GitLab",
    default_timeout=3 * _HOUR,
    hosted_timeout=3 * _HOUR,
    own_timeout=30 * _DAY,
    jobs=None,
    needs=50,
    name=128,
    inputs=None,
    cron_gap=5 * _MINUTE,
    file_size=1 * _MB,
    cache_key=None,
    labels=None,
    label=None,
    hosted_cpu=2,
    hosted_memory=8 * _GiB,
)

BITBUCKET = Limits(
    service="Bitbucket",
    default_timeout=120 * _MINUTE,
    hosted_timeout=720 * _MINUTE,
    own_timeout=720 * _MINUTE,
    jobs=100,
    needs=None,
    name=None,
    inputs=None,
    cron_gap=None,
    file_size=None,
    cache_key=None,
    labels=10,
    label=50,
    hosted_cpu=None,
    hosted_memory=64 * _GiB,
)

# Bitbucket: the smallest size with enough memory is taken.
BITBUCKET_SIZES: tuple[tuple[str, int], ...] = (
    ("1x", 4 * _GiB),
    ("2x", 8 * _GiB),
    ("4x", 16 * _GiB),
    ("8x", 32 * _GiB),
    ("16x", 64 * _GiB),
)

# GitLab's one hosted GPU: tag, model, devices, memory.
GITLAB_GPU = ("saas-linux-medium-amd64-gpu-standard", "T4", 1, 16 * _GiB)

# GitLab: at most four caches a job; we use one. GitHub: what a summary may hold is the report's matter.


class Pin(NamedTuple):
    """An action at a commit; `version` is the tag that the commit had."""

    action: str
    commit: str
    version: str

    def __str__(self) -> str:
        return f"{self.action}@{self.commit} # {self.version}"


PINS: dict[str, Pin] = {
    "checkout": Pin("actions/checkout", "3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"),
    "restore": Pin("actions/cache/restore", "55cc8345863c7cc4c66a329aec7e433d2d1c52a9", "v6.1.0"),
    "save": Pin("actions/cache/save", "55cc8345863c7cc4c66a329aec7e433d2d1c52a9", "v6.1.0"),
    "upload": Pin("actions/upload-artifact", "043fb46d1a93c77aae656e7c1c64a875d1fc6a0a", "v7.0.1"),
    "download": Pin("actions/download-artifact", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
    "uv": Pin("astral-sh/setup-uv", "20cfd1bf945f4377ade1205e4dbc17946fc9a30d", "v10.0.1"),
}
