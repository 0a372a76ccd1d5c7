"""Calls micromamba, mamba or conda, all of which understand these calls; or rattler, through a program of
ours that understands the same (`rattler.py`).

Two calls, as in conda-lock: `create --dry-run --json` says which packages, each with its address and hashes
(an empty package cache makes sure that it says all of them); `create --file` takes exactly those.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.runtime.conda.model import Package, in_order, this_platform

VARIABLE = "MLPIPEC_CONDA"
_NAMES = ("micromamba", "mamba", "conda")
# What the shell functions of these tools, and the machines of GitHub, say of an installation off PATH.
_ELSEWHERE = (("MAMBA_EXE", ""), ("CONDA_EXE", ""), ("CONDA", "bin/conda"))
# They would say which environment to work in, or which configuration counts.
_NOT_PASSED = frozenset(["CONDA_PREFIX", "CONDA_DEFAULT_ENV", "MAMBA_DEFAULT_ENV", "VIRTUAL_ENV"])
_RATTLER = "rattler"
_INSTALL = (
    "install micromamba (`brew install micromamba`, or `curl -Ls https://micro.mamba.pm/install.sh | bash`)\n"
    f"or the library that does the same: `{extras.install('conda')}`"
)
# What another platform's machines are taken to have, as conda-lock does.
_ASSUMED = {
    "linux": {"CONDA_OVERRIDE_LINUX": "5.10", "CONDA_OVERRIDE_GLIBC": "2.28"},
    "osx": {"CONDA_OVERRIDE_OSX": "12.0"},
}
_NO_NETWORK = re.compile(
    r"could not resolve|connection (?:failed|refused|error)|timed? ?out|offline|dns", re.I
)


def command() -> list[str]:
    """How the tool is started: what `MLPIPEC_CONDA` names, else the first that is there. Raises `Failure`."""
    named = os.environ.get(VARIABLE)
    if named == _RATTLER:
        if find_spec("rattler") is None:
            raise Failure(f"`{VARIABLE}` names rattler, which is not installed", help=_INSTALL)
        return _rattler()
    if named:
        found = shutil.which(named)
        if found is None:
            raise Failure(f"`{VARIABLE}` names `{named}`, which is not there", help=_INSTALL)
        return [found]
    for name in _NAMES:
        if found := shutil.which(name):
            return [found]
    for variable, inner in _ELSEWHERE:
        place = os.environ.get(variable)
        if place and (found := shutil.which(os.path.join(place, inner) if inner else place)):  # noqa: PTH118
            return [found]
    if find_spec("rattler") is not None:
        return _rattler()
    raise Failure(
        "micromamba, mamba or conda is needed to make the environment, and none is there", help=_INSTALL
    )


def _rattler() -> list[str]:
    return [sys.executable, "-P", "-m", "mlflowc.runtime.conda.rattler"]


def solve(env: str, specs: Sequence[str], channels: Sequence[str], platform: str) -> dict[str, Package]:
    """The packages for `specs`, by name. `channels` are names or addresses. Raises `Failure`."""
    variables = {"CONDA_SUBDIR": platform}
    if platform != this_platform():
        variables |= _ASSUMED[platform.partition("-")[0]]
    with tempfile.TemporaryDirectory(prefix="mlpipec-") as folder:
        variables["CONDA_PKGS_DIRS"] = f"{folder}/packages"
        arguments = ["create", "--yes", "--prefix", f"{folder}/prefix", "--dry-run", "--json"]
        if len(channels) > 0:
            arguments.append("--override-channels")
        for channel in channels:
            arguments += ["--channel", channel]
        doing = f"resolve environment `{env}` for {platform}"
        said = _run([*arguments, *specs], variables, doing, help="look at names, versions and channels")
    try:
        actions = json.loads(said)["actions"]
        # A tool that finds everything in place of a dry run says `LINK` alone; addresses are in either.
        found = [_package(x) for x in (*actions.get("LINK", ()), *actions.get("FETCH", ())) if "url" in x]
        named = {x["name"] for x in (*actions.get("LINK", ()), *actions.get("FETCH", ()))}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failure(f"cannot {doing}: the tool's answer is not understood\n{_last(said)}") from None
    packages = {p.name: p for p in found}
    if missing := sorted(named - set(packages)):
        raise Failure(f"cannot {doing}: the tool does not say where `{missing[0]}` is")
    return packages


def _package(raw: Mapping[str, Any]) -> Package:
    needs = {str(d).split()[0].lower() for d in raw.get("depends") or () if not str(d).startswith("__")}
    return Package(
        str(raw["name"]),
        _clean(str(raw["url"])),
        str(raw.get("md5") or ""),
        str(raw.get("sha256") or ""),
        tuple(sorted(needs)),
    )


def _clean(url: str) -> str:
    """The address without a token or password that the tool put in."""
    url = re.sub(r"/t/[A-Za-z0-9-]+/", "/", url)
    return re.sub(r"(?<=://)[^/@]+@", "", url)


def create(env: str, packages: Iterable[Package], prefix: Path) -> None:
    """Makes the environment of exactly these packages in the folder `prefix`. Raises `Failure`."""
    lines = ["@EXPLICIT", *(p.line for p in in_order(packages))]
    with tempfile.TemporaryDirectory(prefix="mlpipec-") as folder:
        file = Path(folder) / "explicit.txt"
        file.write_text("\n".join(lines) + "\n")
        _run(
            ["create", "--yes", "--prefix", str(prefix), "--file", str(file)],
            {},
            f"make environment `{env}`",
            help="is each address in `mlpipe.lock` still there? `mlpipec lock` says what it holds",
        )


def _run(arguments: Sequence[str], variables: Mapping[str, str], doing: str, help: str) -> str:
    program = command()
    environment = {k: v for k, v in os.environ.items() if k not in _NOT_PASSED}
    environment |= {"CONDA_ADD_PIP_AS_PYTHON_DEPENDENCY": "false", "NO_COLOR": "1", **variables}
    try:
        done = subprocess.run(
            [*program, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except OSError as e:
        raise Failure(f"cannot {doing}: `{program[0]}` does not start: {e.strerror}") from None
    if done.returncode == 0:
        return done.stdout
    name = _RATTLER if program[0] == sys.executable else os.path.basename(program[0])  # noqa: PTH119
    words = _words(done.stdout, done.stderr)
    if _NO_NETWORK.search(words):
        help = "check the network, a proxy (HTTPS_PROXY) or the channel; what is in the caches needs none"
    raise Failure(f"cannot {doing}: {name} says\n{words}", help=help)


def _words(out: str, errors: str) -> str:
    """What the tool says of the error, of which some speak in JSON."""
    said = errors.strip()
    try:
        answer = json.loads(out)
        problems = answer.get("solver_problems") or [answer.get("message") or answer.get("error") or ""]
        said = "\n".join(str(p) for p in problems if p) or said
    except (ValueError, AttributeError):
        said = said or out.strip()
    return _last(said)


def _last(said: str) -> str:
    lines = unquote(said).strip().splitlines()
    shown = lines if len(lines) <= 20 else [*lines[:8], "...", *lines[-11:]]
    return "\n".join("  " + line for line in shown)
