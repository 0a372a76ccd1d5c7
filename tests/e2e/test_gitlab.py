"""The generated GitLab pipeline, run by gitlab-ci-local."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import scenario
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtGitLab, Result

pytestmark = pytest.mark.e2e


@pytest.fixture
def repository(wheel: Path, tmp_path: Path) -> Repository:
    return scenario.prepare(tmp_path / "repo", wheel, "gitlab")


@pytest.fixture
def service(tools: Tools, repository: Repository, tmp_path: Path) -> AtGitLab:
    return AtGitLab(GitLab(tools, repository.path, tmp_path / "service"))


def test_same_results_then_hits_then_only_what_changed(
    service: AtGitLab, repository: Repository, small_results: dict[str, Result]
) -> None:
    scenario.check_service(service, repository, small_results)


def test_what_fails_is_seen(service: AtGitLab, repository: Repository) -> None:
    scenario.check_failures(service, repository, "gitlab")


def test_each_event_starts_its_own_jobs(service: AtGitLab) -> None:
    events = {
        "push-main": ("push", {}),
        "pull-request": ("merge_request_event", {}),
        "schedule-1": ("schedule", {"MLPIPE_SCHEDULE": "schedule-1"}),
        "manual": ("web", {}),
    }
    for event, (source, variables) in events.items():
        jobs = service.service.jobs(source, variables=variables)
        started = {name for name, when in jobs.items() if when != "never"}
        assert started, event
        assert {name.split(":")[0] for name in started} == {event}
        assert service.service.validate(source) == ""


def test_a_person_sets_a_parameter(service: AtGitLab, small_results: dict[str, Result]) -> None:
    outcome = service.run("manual", {"MLPIPE_INPUT_MAKE_ROWS": "9"})
    assert outcome.ok, outcome.log
    assert outcome.worked == scenario.STAGES
    assert all(outcome.results[stage] != small_results[stage] for stage in scenario.STAGES)
    wrong = service.run("manual", {"MLPIPE_INPUT_MAKE_ROWS": "many"})
    assert not wrong.ok
    assert wrong.worked == set()
    assert "make.rows" in wrong.log
