"""Where to write: the service, the repository and the pull request, as the service's own variables say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlflowc.errors import Failure


class Service(NamedTuple):
    """What is written about a service: `tokens` are variables, the first that is set is taken; `how` says
    what the token has to be."""

    name: str
    title: str
    api: str
    tokens: tuple[str, ...]
    how: str


SERVICES: dict[str, Service] = {
    s.name: s
    for s in (
        Service(
            "github",
            "GitHub",
            "https://api.github.com",
            ("GITHUB_TOKEN", "GH_TOKEN"),
            "in a workflow: `permissions: pull-requests: write` (and `statuses: write` for gates) on the\n"
            "job, and `env: GITHUB_TOKEN: ${{ github.token }}` on the step; by hand: a token that may",
        ),
        Service(
            "gitlab",
            "GitLab",
            "https://gitlab.com/api/v4",
            ("GITLAB_TOKEN",),
            "make a project access token (role Developer, scope `api`), and give it to the project as the\n"
            "masked CI/CD variable GITLAB_TOKEN, not protected; a job's own token can only read comments",
        ),
        Service(
            "bitbucket",
            "Bitbucket",
            "https://api.bitbucket.org/2.0",
            ("BITBUCKET_TOKEN",),
            "make a repository access token that may write pull requests and the repository, and give it to\n"
            "the repository as the secured variable BITBUCKET_TOKEN",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says; an empty string where it says nothing."""

    service: str = ""
    repository: str = ""
    number: int | None = None
    commit: str = ""
    api: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """`repository` is `owner/name` (GitLab: also the project's id); `number` that of the pull request, None
    where there is none; `commit` the one that statuses belong to; `branch` the pull request's own; `run` the
    page of what runs now; `pipeline` GitLab's id of it. `author` is who our comments are by, where a person
    said so. A `fork`'s pull request gets no token that may write."""

    service: Service
    api: str
    repository: str
    number: int | None = None
    commit: str = ""
    branch: str = ""
    run: str = ""
    pipeline: str = ""
    author: str = ""
    fork: bool = False
    token: str = field(default="", repr=False)


def detect(environment: Mapping[str, str], given: Given = Given()) -> Place | None:
    """The place that the variables of a CI service tell; what the command line says comes first. None where
    neither says which service it is. Raises Failure (code 2) for half of what is needed."""
    name = given.service or _service(environment)
    if not name:
        return None
    service = SERVICES[name]
    found = _READERS[name](environment) if name == _service(environment) else {}
    number = found.get("number") if given.number is None else given.number
    repository = given.repository or found.get("repository", "")
    if not repository:
        raise Failure(
            "which repository is it?", help="add --repository OWNER/NAME (GitLab: GROUP/PROJECT)", code=2
        )
    if name != "gitlab" and not re.fullmatch(r"[\w.{}-]+/[\w.{}-]+", repository):
        raise Failure(f"`{repository}` is no repository", help="as in --repository octo/churn", code=2)
    api = (given.api or found.get("api", "") or service.api).rstrip("/")
    if not re.match(r"https?://[^/]", api):
        raise Failure(f"`{api}` is no address of an API", help=f"as in --api {service.api}", code=2)
    token = next((environment[t] for t in service.tokens if environment.get(t)), "")
    return Place(
        service,
        api,
        repository,
        number,
        given.commit or found.get("commit", ""),
        found.get("branch", ""),
        found.get("run", ""),
        found.get("pipeline", ""),
        given.author,
        found.get("fork", False) and given.number is None,
        token.strip(),
    )


def _service(environment: Mapping[str, str]) -> str:
    if environment.get("GITHUB_ACTIONS") == "true":
        return "github"
    if environment.get("GITLAB_CI"):
        return "gitlab"
    return "bitbucket" if environment.get("BITBUCKET_BUILD_NUMBER") else ""


def _github(env: Mapping[str, str]) -> dict[str, Any]:
    event = _event(env.get("GITHUB_EVENT_PATH", ""))
    pull = event.get("pull_request") if isinstance(event.get("pull_request"), dict) else {}
    assert isinstance(pull, dict)
    ref = re.fullmatch(r"refs/pull/(\d+)/(?:merge|head)", env.get("GITHUB_REF", ""))
    number = pull.get("number") or (int(ref[1]) if ref else None)
    head = pull.get("head") if isinstance(pull.get("head"), dict) else {}
    assert isinstance(head, dict)
    repository = env.get("GITHUB_REPOSITORY", "")
    # A pull request whose repository is gone has none here, and was a fork.
    source = (head.get("repo") or {}).get("full_name") if pull else repository
    server, run = env.get("GITHUB_SERVER_URL", ""), env.get("GITHUB_RUN_ID", "")
    return {
        "api": env.get("GITHUB_API_URL", ""),
        "repository": repository,
        "number": number if isinstance(number, int) else None,
        # The event of a pull request checks out a merge that nobody sees: statuses belong to its own commit.
        "commit": head.get("sha") or env.get("GITHUB_SHA", ""),
        "branch": head.get("ref") or env.get("GITHUB_REF_NAME", ""),
        "run": f"{server}/{repository}/actions/runs/{run}" if server and run else "",
        "fork": source != repository,
    }


def _event(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _gitlab(env: Mapping[str, str]) -> dict[str, Any]:
    # A branch's pipeline names the merge requests that are open for it: `group/project!7,group/project!9`.
    listed = re.match(r"([^,!]+)!(\d+)", env.get("CI_OPEN_MERGE_REQUESTS", ""))
    own = env.get("CI_MERGE_REQUEST_IID", "")
    number = int(own) if own.isdecimal() else int(listed[2]) if listed else None
    target = env.get("CI_MERGE_REQUEST_PROJECT_ID") or (listed[1] if listed and not own else "")
    project = env.get("CI_PROJECT_ID", "")
    here = {project, env.get("CI_PROJECT_PATH", "")}
    return {
        "api": env.get("CI_API_V4_URL", ""),
        "repository": target or project or env.get("CI_PROJECT_PATH", ""),
        "number": number,
        # Of a pipeline for merged results CI_COMMIT_SHA is the merge.
        "commit": env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or env.get("CI_COMMIT_SHA", ""),
        "branch": env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or env.get("CI_COMMIT_REF_NAME", ""),
        "run": env.get("CI_JOB_URL") or env.get("CI_PIPELINE_URL", ""),
        "pipeline": env.get("CI_PIPELINE_ID", ""),
        # The pipeline of a fork's merge request runs in the fork, unless a member starts it here.
        "fork": bool(target and project and target not in here),
    }


def _bitbucket(env: Mapping[str, str]) -> dict[str, Any]:
    repository, run = env.get("BITBUCKET_REPO_FULL_NAME", ""), env.get("BITBUCKET_BUILD_NUMBER", "")
    number = env.get("BITBUCKET_PR_ID", "")
    return {
        "api": env.get("BITBUCKET_API_URL", ""),
        "repository": repository,
        "number": int(number) if number.isdecimal() else None,
        "commit": env.get("BITBUCKET_COMMIT", ""),
        "branch": env.get("BITBUCKET_BRANCH", ""),
        "run": f"https://bitbucket.org/{repository}/pipelines/results/{run}",
    }


_READERS = {"github": _github, "gitlab": _gitlab, "bitbucket": _bitbucket}
