"""Generated jobs of a pull request write comments and commit statuses, at servers held against the services'
own descriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import scenario
from tests.e2e.forges.front import Front
from tests.e2e.forges.known import SHA
from tests.e2e.harness.act import GitHub, WorkflowRun
from tests.e2e.harness.bitbucket import HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools

pytestmark = pytest.mark.e2e


@pytest.fixture
def forge(request: pytest.FixtureRequest, forges: Callable[[str], Front]) -> Iterator[Front]:
    """The service that the test names."""
    server = forges(request.param)
    yield server
    assert server.violations == []


def prepare(tmp_path: Path, wheel: Path, target: str) -> Repository:
    return scenario.prepare(tmp_path / "repo", wheel, target, copy=scenario.SHORT)


# --- GitHub --------------------------------------------------------------------------------------


def workflow(
    tools: Tools, repository: Repository, tmp_path: Path, forge: Front, *, source: str = "", token: str = ""
) -> WorkflowRun:
    """The workflow of pull request 7, as act runs it."""
    service = GitHub(tools, repository.path, tmp_path / "service")
    name = repository.path.as_uri()  # what act takes for the repository's name
    head = {"ref": "faster", "sha": SHA, "repo": {"full_name": source or name}}
    return service.run(
        "pull_request",
        "short-pull-request.yml",
        payload={"pull_request": {"number": 7, "head": head, "base": {"ref": "main"}}},
        env={"GITHUB_API_URL": forge.url, "GITHUB_REPOSITORY": "octo/short"},
        secrets={"GITHUB_TOKEN": token or "token-actions"},
    )


@pytest.mark.parametrize("forge", ["github"], indirect=True)
def test_a_workflow_comments_and_sets_the_status_of_its_gate(
    tools: Tools, wheel: Path, tmp_path: Path, forge: Front
) -> None:
    repository = prepare(tmp_path, wheel, "github")
    rows = forge.memory.make("octo/short")
    run = workflow(tools, repository, tmp_path, forge, source="octo/short")
    assert run.ok, run.output
    (body,) = rows.of("github-actions[bot]")
    assert "Scored 6 rows." in body and body.startswith("<!-- mlpipe:short/review -->")
    (status,) = rows.statuses
    assert (status["context"], status["state"], status["sha"]) == ("mlpipec/short/enough", "success", SHA)
    scenario.edit(repository, "params.yaml", "rows: 6", "rows: 2")
    run = workflow(tools, repository, tmp_path / "again", forge, source="octo/short")
    assert not run.ok, "a gate that does not hold fails the job, comment or not"
    (body,) = rows.of("github-actions[bot]")
    assert "Scored 2 rows." in body
    assert [s["state"] for s in rows.statuses] == ["success", "failure"]


@pytest.mark.parametrize("forge", ["github"], indirect=True)
def test_a_fork_and_a_token_that_may_not_leave_the_summary(
    tools: Tools, wheel: Path, tmp_path: Path, forge: Front
) -> None:
    repository = prepare(tmp_path, wheel, "github")
    rows = forge.memory.make("octo/short")
    run = workflow(tools, repository, tmp_path, forge, source="mallory/short")
    assert run.ok, run.output
    assert "the pull request is a fork's" in run.log()
    assert "Scored 6 rows." in run.log(), "the job's summary"
    assert forge.seen == []
    run = workflow(tools, repository, tmp_path / "again", forge, source="octo/short", token="token-reader")
    assert run.ok, run.output
    assert "the comment could not be written" in run.log()
    assert "pull-requests: write" in run.log()
    assert rows.comments == [] and rows.statuses == []


# --- GitLab and Bitbucket ------------------------------------------------------------------------


@pytest.mark.parametrize("forge", ["gitlab"], indirect=True)
def test_a_merge_request_pipeline_comments(tools: Tools, wheel: Path, tmp_path: Path, forge: Front) -> None:
    repository = prepare(tmp_path, wheel, "gitlab")
    rows = forge.memory.make("1")
    service = GitLab(tools, repository.path, tmp_path / "service")
    given = {
        "CI_API_V4_URL": forge.url,
        "CI_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_PIPELINE_ID": "4711",
        "CI_COMMIT_SHA": SHA,
    }
    run = service.run("merge_request_event", variables=given)
    assert run.ok, run.output
    assert "no token for GitLab: GITLAB_TOKEN is not set" in run.output
    assert forge.seen == []
    run = service.run("merge_request_event", variables=given | {"GITLAB_TOKEN": "token-bot"})
    assert run.ok, run.output
    (body,) = rows.of("project_1_bot")
    assert "Scored 6 rows." in body
    (status,) = rows.statuses
    assert (status["name"], status["state"], status["pipeline_id"]) == (
        "mlpipec/short/enough",
        "success",
        4711,
    )


@pytest.mark.parametrize("forge", ["bitbucket"], indirect=True)
def test_a_pull_request_pipeline_comments(tools: Tools, wheel: Path, tmp_path: Path, forge: Front) -> None:
    if "bb-run" in tools.missing:
        pytest.skip(tools.missing["bb-run"])
    repository = prepare(tmp_path, wheel, "bitbucket")
    rows = forge.memory.make("octo/short")
    service = HostBitbucket(tools, repository.path, tmp_path / "service")
    given = {
        "BITBUCKET_API_URL": forge.url,
        "BITBUCKET_BUILD_NUMBER": "99",
        "BITBUCKET_REPO_FULL_NAME": "octo/short",
        "BITBUCKET_PR_ID": "7",
        "BITBUCKET_COMMIT": SHA,
        "BITBUCKET_BRANCH": "faster",
        "BITBUCKET_TOKEN": "token-bot",
    }
    run = service.run("pull-requests.**", variables=given)
    assert run.ok, run.output
    (body,) = rows.of("project_1_bot")
    assert "Scored 6 rows." in body and body.rstrip().endswith("`mlpipe:short/review`")
    assert [s["state"] for s in rows.statuses] == ["SUCCESSFUL"]
