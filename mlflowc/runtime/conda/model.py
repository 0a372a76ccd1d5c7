"""What resolving and making conda environments is about."""

from __future__ import annotations

import graphlib
import platform
import posixpath
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mlflowc.errors import Failure

_MACHINES = {"x86_64": "64", "amd64": "64", "arm64": "arm64", "aarch64": "aarch64", "ppc64le": "ppc64le"}
PLATFORMS = ("linux-64", "linux-aarch64", "linux-ppc64le", "osx-64", "osx-arm64")


@dataclass(frozen=True, slots=True)
class Package:
    """One build of one package: where it is, its hashes (hexadecimal; empty where the channel has none), the
    names of packages that have to be in place before it.
    """

    name: str
    url: str
    md5: str = ""
    sha256: str = ""
    needs: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The same wherever the package was fetched from, as far as that can be known."""
        content = self.sha256 or self.md5
        return f"{posixpath.basename(self.url)} {content}" if content else self.url

    @property
    def line(self) -> str:
        """The package in a file that starts with `@EXPLICIT`, as every conda tool reads it."""
        digest = self.md5 or (f"sha256:{self.sha256}" if self.sha256 else "")
        return f"{self.url}#{digest}" if digest else self.url

    def entry(self) -> dict[str, Any]:
        """As kept in the lock."""
        kept: dict[str, Any] = {"url": self.url}
        if self.md5:
            kept["md5"] = self.md5
        if self.sha256:
            kept["sha256"] = self.sha256
        if self.needs:
            kept["needs"] = list(self.needs)
        return kept

    @classmethod
    def of(cls, name: str, entry: dict[str, Any]) -> Package:
        """From what `entry` gave. Raises `Failure` where the lock was edited by hand into something else."""
        url, needs = entry.get("url"), entry.get("needs", [])
        if not isinstance(url, str) or not isinstance(needs, list):
            raise Failure(
                f"the entry of the conda package `{name}` in `mlpipe.lock` is not one",
                help="delete the line: the environment is resolved again",
            )
        return cls(name, url, str(entry.get("md5", "")), str(entry.get("sha256", "")), tuple(map(str, needs)))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a file asks for. `platforms` are those that it names (none: wherever it is used).

    `given` holds, for a file that is a resolution itself, packages by platform; then the rest is empty but
    `pip`, by platform too, where it is given.
    """

    path: str
    channels: tuple[str, ...] = ()
    specs: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    given: dict[str, tuple[Package, ...]] | None = None
    given_pip: dict[str, tuple[str, ...]] = field(default_factory=dict)


def this_platform() -> str:
    """What conda calls this machine. Raises `Failure` for one that conda has no packages for."""
    system = {"linux": "linux", "darwin": "osx"}.get(sys.platform)
    machine = _MACHINES.get(platform.machine().lower())
    name = f"{system}-{machine}"
    if name == "osx-aarch64":
        name = "osx-arm64"
    if name not in PLATFORMS:
        raise Failure(f"there are no conda packages for this machine ({sys.platform}, {platform.machine()})")
    return name


def in_order(packages: Iterable[Package]) -> list[Package]:
    """Packages so that each comes after those that it needs; equals by name."""
    by_name = {p.name: p for p in sorted(packages, key=lambda p: p.name)}
    # Channels have circles of packages that need one another: there, by name.
    try:
        graph = {name: [n for n in p.needs if n in by_name] for name, p in by_name.items()}
        return [by_name[name] for name in graphlib.TopologicalSorter(graph).static_order()]
    except graphlib.CycleError:
        return list(by_name.values())
