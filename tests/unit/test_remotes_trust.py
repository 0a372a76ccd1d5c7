"""Who reads and writes what, from the variables of the services."""

from __future__ import annotations

import json

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Auth
from mlflowc.runtime.remotes import policy
from mlflowc.runtime.remotes.trust import Trust, decide

GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true"}
GITLAB = {"CI": "true", "GITLAB_CI": "true"}
BITBUCKET = {"CI": "true", "BITBUCKET_BUILD_NUMBER": "7"}


def trust(env: dict[str, str], write: str = "trusted", branch: str = "main") -> Trust:
    return decide(env, write, branch)


@pytest.mark.parametrize(
    "env",
    [
        {**GITHUB, "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"},
        {**GITHUB, "GITHUB_EVENT_NAME": "schedule", "GITHUB_REF": "refs/heads/main"},
        {
            **GITHUB,
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_REF": "refs/heads/release",
            "GITHUB_REF_PROTECTED": "true",
        },
        {**GITLAB, "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_REF_PROTECTED": "true"},
        {**BITBUCKET, "BITBUCKET_BRANCH": "main"},
    ],
)
def test_a_protected_branch_reads_and_writes_trusted_alone(env: dict[str, str]) -> None:
    found = trust(env)
    assert (found.reads, found.writes, found.unasked) == (("trusted",), "trusted", True)


@pytest.mark.parametrize(
    ("env", "own"),
    [
        ({**GITHUB, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/12/merge"}, "pr-12"),
        # It runs in the name of the base branch, and has its secrets.
        (
            {
                **GITHUB,
                "GITHUB_EVENT_NAME": "pull_request_target",
                "GITHUB_REF": "refs/heads/main",
                "GITHUB_REF_PROTECTED": "true",
                "GITHUB_HEAD_REF": "evil",
            },
            "pr-evil",
        ),
        ({**GITHUB, "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/topic"}, "branch-topic"),
        ({**GITHUB, "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/tags/main"}, "tag-main"),
        (
            {
                **GITLAB,
                "CI_PIPELINE_SOURCE": "merge_request_event",
                "CI_MERGE_REQUEST_IID": "4",
                "CI_COMMIT_REF_PROTECTED": "true",
            },
            "pr-4",
        ),
        ({**GITLAB, "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_REF_PROTECTED": "false"}, "branch-main"),
        ({**BITBUCKET, "BITBUCKET_BRANCH": "main", "BITBUCKET_PR_ID": "9"}, "pr-9"),
        ({"CI": "true"}, "ci"),
    ],
)
def test_everything_else_writes_its_own_and_reads_both(env: dict[str, str], own: str) -> None:
    for write in ("trusted", "all"):
        found = trust(env, write)
        assert found.reads == ("trusted", f"untrusted/{own}")
        assert (found.writes, found.unasked) == (f"untrusted/{own}", True)


def test_a_branch_named_like_a_path_stays_in_its_place() -> None:
    found = trust({**GITHUB, "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/../../trusted"})
    assert found.writes is not None
    assert found.writes.startswith("untrusted/branch-")
    assert found.writes.count("/") == 1


def test_a_person_writes_as_the_pipeline_says() -> None:
    careful = trust({})
    assert careful.reads[0] == "trusted"
    assert careful.writes is not None
    assert careful.writes.startswith("untrusted/user-")
    assert not careful.unasked
    shared = trust({}, "all")
    assert (shared.writes, shared.unasked) == ("trusted", True)
    never = trust({}, "none")
    assert (never.writes, never.unasked) == (None, False)


@pytest.mark.parametrize("env", [{**BITBUCKET, "BITBUCKET_BRANCH": "main"}, {"CI": "1"}])
def test_none_is_none_for_jobs_too(env: dict[str, str]) -> None:
    found = trust(env, "none")
    assert (found.writes, found.unasked) == (None, False)


def _statements(text: str, name: str) -> dict[str, list[str]]:
    """The resources of each action of a printed policy."""
    block = text.split(f"# {name}: ")[1].split("# permissions\n")[1].split("\n\n#")[0]
    found = json.loads(block)
    return {s["Sid"]: s["Resource"] for s in found["Statement"]}


@pytest.mark.parametrize("cloud", ["aws", "minio"])
def test_the_printed_policy_keeps_pull_requests_out(cloud: str) -> None:
    text = policy.render(cloud, "s3://bucket/some/where", "acme/ml", "main")
    base = "arn:aws:s3:::bucket/some/where/v1"
    assert _statements(text, "untrusted")["Write"] == [f"{base}/untrusted/*"]
    assert _statements(text, "trusted")["Write"] == [f"{base}/trusted/*"]
    assert _statements(text, "trusted")["Read"] == [f"{base}/trusted/*"]
    if cloud == "aws":
        assert "repo:acme/ml:ref:refs/heads/main" in text
        assert "repo:acme/ml:pull_request" in text


def _trust_of(text: str, name: str) -> dict[str, object]:
    """The statement that says who may take a role."""
    block = text.split(f"# {name}: who may take that role\n")[1].split("\n\n#")[0]
    statement: dict[str, object] = json.loads(block)["Statement"][0]
    return statement


def test_the_printed_trust_is_that_of_the_auth() -> None:
    options = (("audience", "acme"), ("role", "arn:aws:iam::123456789012:role/ci"))
    text = policy.render("aws", "s3://b", "acme/ml", "trunk", "gitlab", Auth("aws", options))
    found = _trust_of(text, "trusted")
    assert found["Principal"] == {"Federated": "arn:aws:iam::123456789012:oidc-provider/gitlab.com"}
    subject = "project_path:acme/ml:ref_type:branch:ref:"
    assert found["Condition"] == {
        "StringEquals": {"gitlab.com:aud": "acme", "gitlab.com:sub": f"{subject}trunk"}
    }
    assert _trust_of(text, "untrusted")["Condition"] == {
        "StringEquals": {"gitlab.com:aud": "acme"},
        "StringLike": {"gitlab.com:sub": f"{subject}*"},
    }
    assert 'role         = "arn:aws:iam::123456789012:role/ci"' in text
    text = policy.render("aws", "s3://b", "acme/ml", "main", environments=["production"])
    assert "# restrict these to the branch main, in the settings: environment production" in text
    block = text.split("# trusted: who may take that role\n")[1].split("\n\n#")[0]
    condition = json.loads(block.split("\n", 1)[1])["Statement"][0]["Condition"]
    assert condition["StringEquals"]["token.actions.githubusercontent.com:sub"] == [
        "repo:acme/ml:ref:refs/heads/main",
        "repo:acme/ml:environment:production",
    ]
    pool = "projects/12/locations/global/workloadIdentityPools/ci-pool"
    auth = Auth("gcp", (("audience", "acme"), ("provider", f"{pool}/providers/github")))
    text = policy.render("gcp", "gs://b", "acme/ml", "main", "github", auth)
    assert f"principalSet://iam.googleapis.com/{pool}/attribute.mlpipe/trusted" in text
    assert "--allowed-audiences=acme" in text


def test_the_policy_for_google_has_conditions_by_folder() -> None:
    text = policy.render("gcp", "gs://bucket/x", "acme/ml", "trunk")
    bindings = json.loads(text[text.index("{\n") : text.index("# in the pipeline")])["bindings"]
    writers = {
        b["members"][0].rpartition("/")[2]: b["condition"]
        for b in bindings
        if b["role"].endswith("objectUser")
    }
    assert writers["untrusted"]["expression"].endswith('/objects/x/v1/untrusted/")')
    assert writers["trusted"]["expression"].endswith('/objects/x/v1/trusted/")')
    assert "refs/heads/trunk" in text
    assert 'objectUser where resource.name.startsWith("projects/_/buckets/bucket/objects/x/v1/")' in text


@pytest.mark.parametrize(("cloud", "address"), [("aws", "gs://b"), ("gcp", "s3://b"), ("minio", "/a/folder")])
def test_a_policy_of_another_cloud_is_refused(cloud: str, address: str) -> None:
    with pytest.raises(Failure, match="is not one of"):
        policy.render(cloud, address, "a/b", "main")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/ml.git", "acme/ml"),
        ("git@github.com:acme/ml.git", "acme/ml"),
        ("ssh://git@host:22/acme/ml", "acme/ml"),
        ("https://user@host/group/sub/ml", "group/sub/ml"),
    ],
)
def test_the_repository_is_that_of_origin(url: str, name: str) -> None:
    match = policy._ORIGIN.fullmatch(url)
    assert match
    assert match[1] == name
