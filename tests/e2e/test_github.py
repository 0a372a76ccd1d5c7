"""Generated GitHub workflows, run by act: pushes, runs by hand. Pull requests are in `test_comments_ci.py`,
schedules in `test_refresh.py` and `test_digits.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import scenario
from tests.e2e.harness.act import GitHub
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtGitHub, Result

pytestmark = pytest.mark.e2e


@pytest.fixture
def repository(wheel: Path, tmp_path: Path) -> Repository:
    return scenario.prepare(tmp_path / "repo", wheel, "github")


@pytest.fixture
def service(tools: Tools, repository: Repository, tmp_path: Path) -> AtGitHub:
    return AtGitHub(GitHub(tools, repository.path, tmp_path / "service"), "small")


def test_same_results_then_hits_then_only_what_changed(
    service: AtGitHub, repository: Repository, small_results: dict[str, Result]
) -> None:
    scenario.check_service(service, repository, small_results)


def test_what_fails_is_seen(service: AtGitHub, repository: Repository) -> None:
    scenario.check_failures(service, repository, "github")


def test_a_person_sets_a_parameter(service: AtGitHub, small_results: dict[str, Result]) -> None:
    outcome = service.run("manual", {"make-rows": "9"})
    assert outcome.ok, outcome.log
    assert outcome.worked == scenario.STAGES
    assert all(outcome.results[stage] != small_results[stage] for stage in scenario.STAGES)
