"""The generated Bitbucket pipelines: by bb-run on the host, by pipeline-runner in containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import scenario
from tests.e2e.harness import containers
from tests.e2e.harness.bitbucket import ContainerBitbucket, HostBitbucket
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtBitbucket, InContainers, Result

pytestmark = pytest.mark.e2e


@pytest.fixture
def repository(wheel: Path, tmp_path: Path) -> Repository:
    return scenario.prepare(tmp_path / "repo", wheel, "bitbucket")


@pytest.fixture
def service(tools: Tools, repository: Repository, tmp_path: Path) -> AtBitbucket:
    if reason := tools.missing.get("bb-run"):
        pytest.skip(f"bb-run: {reason}; the container tier runs the same file")
    return AtBitbucket(HostBitbucket(tools, repository.path, tmp_path / "service"))


def test_same_results_then_hits_then_only_what_changed(
    service: AtBitbucket, repository: Repository, small_results: dict[str, Result]
) -> None:
    scenario.check_service(service, repository, small_results)


def test_what_fails_is_seen(service: AtBitbucket, repository: Repository) -> None:
    scenario.check_failures(service, repository, "bitbucket")


def test_a_person_sets_a_parameter(service: AtBitbucket, small_results: dict[str, Result]) -> None:
    outcome = service.run("manual", {"MLPIPE_INPUT_MAKE_ROWS": "9"})
    assert outcome.ok, outcome.log
    assert outcome.worked == scenario.STAGES
    assert all(outcome.results[stage] != small_results[stage] for stage in scenario.STAGES)


@pytest.mark.containers
@pytest.mark.timeout(900)
def test_steps_in_containers_hand_over_and_cache(
    tools: Tools, docker_host: str, repository: Repository, small_results: dict[str, Result], tmp_path: Path
) -> None:
    containers.provide(tools, ["python:3.11"])
    runner = ContainerBitbucket(tools, repository.path, tmp_path / "service", docker_host)
    assert runner.parse() == ""
    scenario.check_handing_over(InContainers(runner), small_results)
