"""examples/digits, for real: the same keys and outputs everywhere, and a GPU machine only for a miss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.e2e import scenario, services
from tests.e2e.harness.act import GitHub
from tests.e2e.harness.bitbucket import HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtBitbucket, AtGitHub, AtGitLab, Make, Result, Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

STAGES = {"load", "prepare", "features", "train", "evaluate"}


def prepare(folder: Path, wheel: Path, *targets: str) -> Repository:
    install = f'\nci {{ install = "wheels/{wheel.name}" }}\n'
    return scenario.prepare(folder, wheel, *targets, copy=CHECKOUT / "examples" / "digits", text=install)


@pytest.fixture(scope="module")
def local_results(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """What a local run of the same commit makes; a second run has nothing to do."""
    repository = prepare(tmp_path_factory.mktemp("local") / "repo", wheel)
    first = services.mlpipec(repository.path, "run", "quality", "review")
    assert first.returncode == 0, first.stdout + first.stderr
    second = services.mlpipec(repository.path, "run", "quality", "review")
    assert "nothing to do" in second.stdout + second.stderr
    return services.locked(repository.path)


def github(tools: Tools, repository: Repository, state: Path) -> Service:
    return AtGitHub(GitHub(tools, repository.path, state), "digits")


def gitlab(tools: Tools, repository: Repository, state: Path) -> Service:
    return AtGitLab(GitLab(tools, repository.path, state))


def bitbucket(tools: Tools, repository: Repository, state: Path) -> Service:
    if reason := tools.missing.get("bb-run"):
        pytest.skip(f"bb-run: {reason}; the container tier runs generated files of Bitbucket too")
    return AtBitbucket(HostBitbucket(tools, repository.path, state))


@pytest.mark.parametrize("make_service", [github, gitlab, bitbucket], ids=lambda function: function.__name__)
def test_digits_at_a_service(
    make_service: Callable[[Tools, Repository, Path], Service],
    tools: Tools,
    wheel: Path,
    local_results: dict[str, Result],
    tmp_path: Path,
) -> None:
    repository = prepare(tmp_path / "repo", wheel, make_service.__name__)
    service = make_service(tools, repository, tmp_path / "service")
    first = service.run(scenario.PUSH)
    assert first.ok, first.log
    assert set(first.results) == STAGES
    assert first.results == local_results
    assert "gate quality" in first.log
    second = service.run(scenario.PUSH)
    assert second.ok, second.log
    assert second.results == local_results
    assert " ran" in first.log
    assert " 1 ran" not in second.log, second.log


def test_digits_by_make(wheel: Path, local_results: dict[str, Result], tmp_path: Path) -> None:
    repository = prepare(tmp_path / "repo", wheel, "make")
    outcome = Make(repository).run("review")
    assert outcome.ok, outcome.log
    assert {stage: outcome.results[stage] for stage in STAGES} == local_results


def test_a_gpu_machine_starts_only_for_a_miss(tools: Tools, wheel: Path, tmp_path: Path) -> None:
    repository = prepare(tmp_path / "repo", wheel, "github")
    service = AtGitHub(GitHub(tools, repository.path, tmp_path / "service", labels=("gpu-a10g",)), "digits")
    first = service.run("schedule-1")
    assert first.ok, first.log
    assert service.last
    assert "train_large" in service.last.jobs
    second = service.run("schedule-1")
    assert second.ok, second.log
    assert "train_large" not in service.last.jobs, "skipped: its results are in the cache"
    assert "report large" in second.log, "and the report is written all the same"
