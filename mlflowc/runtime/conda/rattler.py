"""`python -m mlflowc.runtime.conda.rattler create …`: the calls of `tool.py`, answered by rattler.

Where neither micromamba nor conda is installed, a library from the package index does the same: see the extra
`conda`. This is a program of its own so that it is called, fails and is tested as the others are.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import posixpath
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import rattler
from rattler.exceptions import SolverError


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="rattler")
    parser.add_argument("command", choices=["create"])
    parser.add_argument("--yes", action="store_true", required=True)
    parser.add_argument("--prefix", type=Path, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dry-run", action="store_true")
    what.add_argument("--file", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--override-channels", action="store_true")
    parser.add_argument("--channel", action="append", default=[])
    parser.add_argument("specs", nargs="*")
    args = parser.parse_intermixed_args()
    try:
        if args.file is not None:
            asyncio.run(_create(args.file, args.prefix))
        else:
            print(json.dumps(asyncio.run(_solve(args.specs, args.channel, args.prefix))))
    except SolverError as e:
        print(json.dumps({"success": False, "solver_problems": [str(e)]}))
        return 1
    except Exception as e:  # the library has a class for each thing that can go wrong, and they share nothing
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    return 0


async def _solve(specs: list[str], channels: list[str], prefix: Path) -> dict[str, Any]:
    platform = os.environ.get("CONDA_SUBDIR") or str(rattler.Subdir.current())
    records = await rattler.solve(
        sources=channels,
        specs=specs,
        platforms=[rattler.Subdir(platform), rattler.Subdir("noarch")],
        virtual_packages=_virtual(platform),
        channel_priority=rattler.ChannelPriority.Strict,
    )
    links = [_told(r) for r in records]
    return {"success": True, "dry_run": True, "actions": {"LINK": links, "PREFIX": str(prefix)}}


def _virtual(platform: str) -> list[rattler.GenericVirtualPackage]:
    """What the machine has, or what the variables say that another platform's machines have."""
    overrides = rattler.VirtualPackageOverrides.from_env()
    if platform == str(rattler.Subdir.current()):
        return [p.into_generic() for p in rattler.VirtualPackage.detect(overrides)]
    system = platform.partition("-")[0]
    said = {"__unix": "0"}
    if system == "linux":
        said |= {"__linux": os.environ.get("CONDA_OVERRIDE_LINUX", "0")}
        said |= {"__glibc": os.environ.get("CONDA_OVERRIDE_GLIBC", "2.17")}
    else:
        said |= {"__osx": os.environ.get("CONDA_OVERRIDE_OSX", "11.0")}
    return [
        rattler.GenericVirtualPackage(
            rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0")
        )
        for name, version in said.items()
    ]


def _told(record: rattler.RepoDataRecord) -> dict[str, Any]:
    return {
        "name": record.name.normalized,
        "url": record.url,
        "md5": record.md5.hex() if record.md5 else "",
        "sha256": record.sha256.hex() if record.sha256 else "",
        "depends": record.depends,
    }


async def _create(file: Path, prefix: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith(("#", "@"))]
    wanted = [_Line.of(line) for line in lines]
    kinds = await _kinds(wanted)
    await rattler.install(
        [w.record(kinds.get(w.url)) for w in wanted],
        target_prefix=prefix,
        show_progress=False,
        execute_link_scripts=True,
    )


class _Line(NamedTuple):
    """A line of an explicit file, taken apart."""

    url: str
    channel: str
    subdir: str
    archive: str
    digest: str

    @classmethod
    def of(cls, line: str) -> _Line:
        url, _, digest = line.replace("#sha256:", "#").partition("#")
        folder, archive = posixpath.split(urlsplit(url).path)
        subdir = posixpath.basename(folder)
        return cls(url, url.removesuffix(f"/{subdir}/{archive}"), subdir, unquote(archive), digest)

    @property
    def parts(self) -> list[str]:
        """Name, version and build."""
        return self.archive.removesuffix(".conda").removesuffix(".tar.bz2").rsplit("-", 2)

    def record(self, noarch: Any) -> rattler.RepoDataRecord:
        name, version, build = self.parts
        hashes: dict[str, Any] = {}
        if self.digest:
            self._check()
            hashes["sha256" if len(self.digest) == 64 else "md5"] = bytes.fromhex(self.digest)
        record = rattler.PackageRecord(
            name, version, rattler.BuildString(build), 0, self.subdir, noarch=noarch, **hashes
        )
        return rattler.RepoDataRecord(record, self.archive, self.url, self.channel)

    def _check(self) -> None:
        """Whether a local file is what it should be; the library looks only at what it downloads."""
        if urlsplit(self.url).scheme == "file":
            data = Path(unquote(urlsplit(self.url).path)).read_bytes()
            kind = "sha256" if len(self.digest) == 64 else "md5"
            if hashlib.new(kind, data, usedforsecurity=False).hexdigest() != self.digest:
                raise ValueError(f"hash mismatch: {self.url} is not the file of {kind} {self.digest}")


async def _kinds(wanted: list[_Line]) -> dict[str, Any]:
    """Whether packages for all platforms are modules of Python, which decides where their files go: their
    channels say that, and an explicit file does not.
    """
    channels: dict[str, list[_Line]] = {}
    for line in wanted:
        if line.subdir == "noarch":
            channels.setdefault(line.channel, []).append(line)
    kinds: dict[str, Any] = {}
    gateway = rattler.Gateway()
    for channel, lines in channels.items():
        names = sorted({line.parts[0] for line in lines})
        found = await gateway.query([channel], ["noarch"], names, recursive=False)
        of = {record.file_name: record.noarch for records in found for record in records}
        for line in lines:
            if line.archive not in of:
                raise LookupError(f"the channel {channel} does not list {line.archive}")
            kinds[line.url] = of[line.archive]
    return kinds


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The library's threads may still hold on to the interpreter when that is taken down, and crash it.
    os._exit(code)
