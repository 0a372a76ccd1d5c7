"""What end-to-end tests share: the tools, one wheel of this checkout, containers, and the services' APIs."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, IN_CI
from tests.e2e import scenario
from tests.e2e.forges import front, known
from tests.e2e.forges import tools as forge_tools
from tests.e2e.forges.front import Front
from tests.e2e.harness import containers
from tests.e2e.harness import tools as toolbox
from tests.e2e.harness.tools import Tools
from tests.e2e.services import Result


def absent(reason: str) -> None:
    """Something that the machine should have is missing: a developer's test is skipped, CI's fails."""
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Executors and linters."""
    found = toolbox.ready()
    if found is None:
        absent("the executors are not installed: run `make tools`")
    assert found
    return found


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built once for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    # A worker's base is a folder in the run's own, which all workers share.
    shared = (base.parent if base.name.startswith("popen-") else base) / "wheel"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(shared.glob("*.whl")):
            # The wheel comes from the source archive, as at a release: `build/lib` of the checkout may hold
            # modules that are gone.
            command = [sys.executable, "-m", "build", "-q", "--installer", "uv", "--outdir", str(shared), "."]
            subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
        (built,) = shared.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def small_results(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Keys and hashes of a local run of the small project: what every service has to agree with."""
    return scenario.reference(tmp_path_factory.mktemp("reference") / "repo", wheel)


@pytest.fixture(scope="session")
def short_results(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The same for the short project."""
    return scenario.reference(tmp_path_factory.mktemp("reference") / "repo", wheel, scenario.SHORT)


@pytest.fixture(scope="session")
def docker_host(tools: Tools) -> Iterator[str]:
    """DOCKER_HOST of a container service. Tests that use it are marked `containers`."""
    reason = containers.missing()
    if reason:
        absent(reason)
    containers.provide(tools, [])
    with containers.service() as address:
        yield address


@pytest.fixture(scope="session")
def forges(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Front]]:
    """Gives the server of a service's API by the service's name: started once, as new whenever it is asked
    for."""
    if not forge_tools.ready():
        absent("the servers of forges are not installed: run `make tools`")
    folder = tmp_path_factory.mktemp("forges")
    started: dict[str, Front] = {}
    with contextlib.ExitStack() as servers:

        def give(name: str) -> Front:
            if name not in started:
                server = front.service(name, known.KNOWN[name].memory(), tools, folder)
                started[name] = servers.enter_context(server)
            started[name].forget()
            return started[name]

        yield give


@pytest.fixture(params=list(known.KNOWN))
def service(
    request: pytest.FixtureRequest, forges: Callable[[str], Front], tmp_path: Path
) -> Iterator[known.Service]:
    """Each of the three with an empty repository; in the end nothing went against the description."""
    server = forges(request.param)
    yield known.Service.at(request.param, server, tmp_path)
    assert server.violations == []
