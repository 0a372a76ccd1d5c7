"""Generated jobs with a remote: they hand over records and take contents from a real S3 server; a fork's jobs
never see its credentials."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e import scenario
from tests.e2e.conftest import absent
from tests.e2e.harness.act import GitHub, WorkflowRun
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtGitLab, Outcome, Result, _results, _tars_of_zip
from tests.support import oidc, servers
from tests.support.oidc import Issuer
from tests.support.servers import ACCESS, S3, SECRET

pytestmark = pytest.mark.e2e

SECRETS = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    """A real S3 server."""
    if servers.weed() is None:
        absent("SeaweedFS is not installed: run `make tools`")
    with servers.s3_server(tmp_path / "s3") as server:
        yield server


def prepare(tmp_path: Path, wheel: Path, s3: S3, target: str) -> Repository:
    """The short project with a bucket."""
    block = (
        f'\ncache {{ remote = "s3://bucket/shared", endpoint = "{s3.endpoint}", region = "us-east-1"\n'
        "  secrets = [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY] }\n"
    )
    return scenario.prepare(tmp_path / "repo", wheel, target, copy=scenario.SHORT, text=block)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """What signs the tokens of jobs."""
    with oidc.issuer() as made:
        yield made


@pytest.fixture
def sts(tmp_path: Path, issuer: Issuer) -> Iterator[S3]:
    """A real S3 server that gives credentials for tokens of the main branch, and of pull requests."""
    if servers.weed() is None:
        absent("SeaweedFS is not installed: run `make tools`")
    subjects = {"ci": issuer.subject, "pulls": "repo:acme/churn:pull_request"}
    with servers.s3_server(tmp_path / "sts", servers.roles(issuer.url, subjects)) as server:
        yield server


def prepare_auth(tmp_path: Path, wheel: Path, s3: S3, target: str) -> Repository:
    """The short project with a bucket, and nobody's keys."""
    block = (
        f'\nauth aws {{ role = "{servers.role("ci")}", pull_request = "{servers.role("pulls")}"\n'
        f'  sts = "{s3.endpoint}", region = "us-east-1" }}\n'
        f'cache {{ remote = "s3://bucket/shared", endpoint = "{s3.endpoint}" }}\n'
    )
    return scenario.prepare(tmp_path / "repo", wheel, target, copy=scenario.SHORT, text=block)


def contents(bundles: list[bytes]) -> list[str]:
    """Names of objects that bundles carry."""
    found = []
    for bundle in bundles:
        with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
            found += [m.name for m in archive if m.name.startswith(("objects/", "trees/"))]
    return found


def outcome_of(run: WorkflowRun) -> tuple[Outcome, list[bytes]]:
    """What it did, and its bundles."""
    bundles = [data for path in run.artifacts.values() for data in _tars_of_zip(path)]
    return Outcome.of(run.ok, run.log(), _results(bundles)), bundles


def test_github_jobs_hand_over_through_the_bucket(
    tools: Tools, wheel: Path, tmp_path: Path, s3: S3, short_results: dict[str, Result]
) -> None:
    repository = prepare(tmp_path, wheel, s3, "github")
    service = GitHub(tools, repository.path, tmp_path / "service")

    def push(secrets: Mapping[str, str] = SECRETS) -> tuple[Outcome, list[bytes]]:
        return outcome_of(service.run("push", "short-push-main.yml", secrets=secrets))

    first, bundles = push()
    assert first.ok, first.log
    assert first.worked == scenario.SHORT_STAGES
    assert first.results == short_results
    assert contents(bundles) == [], "only records go from job to job"
    assert "pushed to s3://bucket/shared" in first.log
    assert SECRET not in first.log

    # Without the service's caches, all comes from the bucket, and only what is read.
    shutil.rmtree(tmp_path / "service" / "cache")
    second, bundles = push()
    assert second.ok, second.log
    assert (second.worked, second.results, contents(bundles)) == (set(), short_results, [])

    # A fork's pull request, though the repository gave it secrets: it gets on without the bucket.
    shutil.rmtree(tmp_path / "service" / "cache")
    head = {"ref": "main", "repo": {"full_name": "somebody/fork"}}
    payload = {"pull_request": {"number": 8, "head": head, "base": {"ref": "main"}}}
    run = service.run("pull_request", "short-pull-request.yml", payload=payload, secrets=SECRETS)
    fork, bundles = outcome_of(run)
    assert fork.ok, fork.log
    assert "this job was not given `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`" in fork.log
    assert fork.worked == scenario.SHORT_STAGES
    assert contents(bundles) != [], "bundles carry the results themselves"
    assert "pushed to" not in fork.log


def test_gitlab_jobs_hand_over_through_the_bucket(
    tools: Tools, wheel: Path, tmp_path: Path, s3: S3, short_results: dict[str, Result]
) -> None:
    repository = prepare(tmp_path, wheel, s3, "gitlab")
    service = AtGitLab(GitLab(tools, repository.path, tmp_path / "service"))
    first = service.run("push-main", SECRETS)
    assert first.ok, first.log
    assert (first.worked, first.results) == (scenario.SHORT_STAGES, short_results)
    made = (repository.path / ".gitlab-ci-local").rglob("artifacts/**/*.tar")
    assert contents([p.read_bytes() for p in made]) == []
    shutil.rmtree(repository.path / ".gitlab-ci-local")
    second = service.run("push-main", SECRETS)
    assert second.ok, second.log
    assert (second.worked, second.results) == (set(), short_results)

    # A job without the credentials (another project's merge request) goes on without the bucket.
    shutil.rmtree(repository.path / ".gitlab-ci-local")
    fork = service.run("pull-request")
    assert fork.ok, fork.log
    assert "the remote is left alone" in fork.log
    assert fork.worked == scenario.SHORT_STAGES


def test_github_jobs_come_by_tokens(
    tools: Tools, wheel: Path, tmp_path: Path, sts: S3, issuer: Issuer, short_results: dict[str, Result]
) -> None:
    repository = prepare_auth(tmp_path, wheel, sts, "github")
    service = GitHub(tools, repository.path, tmp_path / "service")
    run = service.run("push", "short-push-main.yml", env=issuer.github())
    first, bundles = outcome_of(run)
    assert first.ok, first.log
    assert (first.worked, first.results, contents(bundles)) == (scenario.SHORT_STAGES, short_results, [])
    assert "pushed to s3://bucket/shared" in first.log
    assert issuer.given
    assert not [t for t in issuer.given if t in first.log.replace(f"::add-mask::{t}", "")]

    # A fork's pull request, even where tokens are to be had: none is asked for.
    shutil.rmtree(tmp_path / "service" / "cache")
    asked = len(issuer.given)
    head = {"ref": "main", "repo": {"full_name": "somebody/fork"}}
    payload = {"pull_request": {"number": 8, "head": head, "base": {"ref": "main"}}}
    run = service.run("pull_request", "short-pull-request.yml", payload=payload, env=issuer.github())
    fork, bundles = outcome_of(run)
    assert fork.ok, fork.log
    assert "this job was given no token for `auth aws`" in fork.log
    assert len(issuer.given) == asked
    assert fork.worked == scenario.SHORT_STAGES
    assert contents(bundles) != []


def test_gitlab_jobs_come_by_tokens(
    tools: Tools, wheel: Path, tmp_path: Path, sts: S3, issuer: Issuer, short_results: dict[str, Result]
) -> None:
    repository = prepare_auth(tmp_path, wheel, sts, "gitlab")
    service = AtGitLab(GitLab(tools, repository.path, tmp_path / "service"))
    given = {"MLPIPE_OIDC_AWS": issuer.token("sts.amazonaws.com", lifetime=3600)}
    first = service.run("push-main", given)
    assert first.ok, first.log
    assert (first.worked, first.results) == (scenario.SHORT_STAGES, short_results)
    made = (repository.path / ".gitlab-ci-local").rglob("artifacts/**/*.tar")
    assert contents([p.read_bytes() for p in made]) == []
    shutil.rmtree(repository.path / ".gitlab-ci-local")
    fork = service.run("pull-request")
    assert fork.ok, fork.log
    assert "this job was given no token for `auth aws`" in fork.log
    assert fork.worked == scenario.SHORT_STAGES
