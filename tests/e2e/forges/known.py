"""The three services as a job of a pull request there knows them, and the tool run as such a job runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlflowc.report.forges.place import Given, Place, detect
from tests.e2e.forges import memory
from tests.e2e.forges.front import Front
from tests.e2e.forges.rows import Repository

SHA = "1f" * 20
_OURS = ("GITHUB_", "GITLAB_", "BITBUCKET_", "CI_", "GH_")


class Known(NamedTuple):
    """What is the same in all tests: `token` is a job's own, `bot` whose it is, `variables` what a job has in
    its environment, with `@API@` and `@REPO@` for what differs."""

    title: str
    memory: Any
    token: str
    bot: str
    variables: dict[str, str]


KNOWN = {
    "github": Known(
        "GitHub",
        memory.GitHub,
        "token-actions",
        "github-actions[bot]",
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "@REPO@",
            "GITHUB_API_URL": "@API@",
            "GITHUB_SHA": "0" * 40,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "99",
        },
    ),
    "gitlab": Known(
        "GitLab",
        memory.GitLab,
        "token-bot",
        "project_1_bot",
        {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": "@API@",
            "CI_PROJECT_ID": "@REPO@",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "@REPO@",
            "CI_COMMIT_SHA": SHA,
            "CI_PIPELINE_ID": "4711",
            "CI_JOB_URL": "https://gitlab.com/octo/churn/-/jobs/99",
        },
    ),
    "bitbucket": Known(
        "Bitbucket",
        memory.Bitbucket,
        "token-bot",
        "project_1_bot",
        {
            "BITBUCKET_BUILD_NUMBER": "99",
            "BITBUCKET_API_URL": "@API@",
            "BITBUCKET_REPO_FULL_NAME": "@REPO@",
            "BITBUCKET_PR_ID": "7",
            "BITBUCKET_COMMIT": SHA,
            "BITBUCKET_BRANCH": "faster",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Service:
    """One service with an empty repository; `variables` are those of a job of the pull request."""

    name: str
    title: str
    front: Front
    token: str
    bot: str
    repository: str
    rows: Repository
    variables: dict[str, str]

    @classmethod
    def at(cls, name: str, front: Front, folder: Path) -> Service:
        """The service `name` at `front`; the file of the event is in `folder`."""
        known, repository = KNOWN[name], "octo/churn"
        variables = {
            k: v.replace("@API@", front.url).replace("@REPO@", repository) for k, v in known.variables.items()
        }
        if name == "github":
            head = {"sha": SHA, "ref": "faster", "repo": {"full_name": repository}}
            event = folder / "event.json"
            event.write_text(json.dumps({"pull_request": {"number": 7, "head": head}}))
            variables["GITHUB_EVENT_PATH"] = str(event)
        rows = front.memory.make(repository)
        return cls(name, known.title, front, known.token, known.bot, repository, rows, variables)

    def env(self, token: str = "") -> dict[str, str]:
        """The variables of a job of the pull request."""
        names = {"github": "GITHUB_TOKEN", "gitlab": "GITLAB_TOKEN", "bitbucket": "BITBUCKET_TOKEN"}
        return self.variables | {names[self.name]: token or self.token}

    def place(self, token: str = "", **given: Any) -> Place:
        """Where the job would write."""
        found = detect(self.env(token), Given(**given))
        assert found
        return found


def mlpipec(root: Path, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """Runs the tool in the project with the variables of a job."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    return subprocess.run(
        [sys.executable, "-c", "from mlflowc.cli import main; main()", *args],
        cwd=root,
        env=outer | env,
        capture_output=True,
        text=True,
        timeout=120,
    )
