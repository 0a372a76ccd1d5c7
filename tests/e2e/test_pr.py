"""`mlpipec pr` with a real remote, at servers held against the services' own descriptions."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from tests.e2e.forges.front import Reply
from tests.e2e.forges.known import Service, mlpipec
from tests.support import training

pytestmark = pytest.mark.e2e

PIPELINE = """\
mlpipe 1
pipeline churn
stage train {
  in  seed = "seed.json"
  out scores: metrics { auc: float } = "scores.json"
  run = "cp {{seed}} {{scores}}"
}
report review { metrics train.scores vs "main" }
"""
BRANCH = "mlpipe/churn"


def git(root: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout of `main` in which a training gave something new."""
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote.git")
    git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), "churn")
    root = tmp_path / "churn"
    git(root, "checkout", "-q", "-b", "main")
    (root / "pipeline.mlpipe").write_text(PIPELINE)
    (root / ".gitignore").write_text(".mlpipe/\nscores.json\nseed.json\n")
    train(root, 0.9)
    training.commit(root, "first")
    git(root, "push", "-q", "origin", "main")
    train(root, 0.91)
    return root


def train(root: Path, auc: float) -> None:
    (root / "seed.json").write_text(f'{{"auc": {auc}}}\n')
    done = mlpipec(root, {}, "run")
    assert done.returncode == 0, done.stderr


def test_it_is_opened_updated_merged_by_squashing_and_then_there_is_nothing(
    service: Service, root: Path
) -> None:
    first = mlpipec(root, service.env(), "pr", "--report", "review")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("pull request opened http")
    (pull,) = service.rows.pulls
    assert (pull.branch, pull.base, pull.title) == (BRANCH, "main", "churn: new results")
    assert "stage `train`: changed" in pull.body and "0.91" in pull.body
    assert git(root, "status", "--short") == "M mlpipe.lock", "the checkout is as it was"
    shown = git(root, "ls-remote", "origin", BRANCH).split()[0]
    assert git(root, "log", "--format=%P", "-1", shown) == git(root, "rev-parse", "main")
    assert git(root, "diff", "--name-only", "main", shown) == "mlpipe.lock"

    again = mlpipec(root, service.env(), "pr", "--report", "review")
    assert again.stdout.startswith("the pull request says that already")
    assert git(root, "ls-remote", "origin", BRANCH).split()[0] == shown

    train(root, 0.92)
    more = mlpipec(root, service.env(), "pr", "--report", "review")
    assert more.stdout.startswith("pull request updated http"), more.stderr
    assert len(service.rows.pulls) == 1 and "0.92" in service.rows.pulls[0].body
    tip = git(root, "ls-remote", "origin", BRANCH).split()[0]
    assert git(root, "log", "--format=%s", f"main..{tip}") == "churn: new results", "one commit, made anew"

    # Merged as another commit with the same content, and the branch is still there.
    git(root, "commit", "-qam", "squashed")
    git(root, "push", "-q", "origin", "main")
    service.rows.pulls[0].open = False
    last = mlpipec(root, service.env(), "pr")
    assert last.stdout == "nothing to propose: `main` has these results\n"
    train(root, 0.93)
    new = mlpipec(root, service.env(), "pr")
    assert new.stdout.startswith("pull request opened"), new.stderr
    assert len(service.rows.pulls) == 2


def test_results_that_main_got_meanwhile_are_not_proposed(
    service: Service, root: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), "other")
    (tmp_path / "other" / "mlpipe.lock").write_bytes((root / "mlpipe.lock").read_bytes())
    (tmp_path / "other" / "notes.md").write_text("x")
    training.commit(tmp_path / "other", "the same results")
    git(tmp_path / "other", "push", "-q", "origin", "main")
    done = mlpipec(root, service.env(), "pr")
    assert (done.returncode, done.stdout) == (0, "nothing to propose: `main` has these results\n")
    assert service.front.seen == []


def test_it_proposes_from_the_base_alone(service: Service, root: Path) -> None:
    git(root, "checkout", "-q", "-b", "feature")
    training.commit(root, "my own")
    train(root, 0.99)
    done = mlpipec(root, service.env(), "pr")
    assert done.returncode == 1
    assert "HEAD is not on `main`" in done.stderr
    assert service.front.seen == [] and git(root, "ls-remote", "origin", BRANCH) == ""


def test_commits_of_people_are_not_overwritten(service: Service, root: Path, tmp_path: Path) -> None:
    assert mlpipec(root, service.env(), "pr").returncode == 0
    git(tmp_path, "clone", "-q", "-b", BRANCH, str(tmp_path / "remote.git"), "other")
    (tmp_path / "other" / "notes.md").write_text("a reviewer's change")
    training.commit(tmp_path / "other", "a reviewer's change")
    git(tmp_path / "other", "push", "-q", "origin", BRANCH)
    train(root, 0.95)
    done = mlpipec(root, service.env(), "pr")
    assert done.returncode == 1
    assert f"`{BRANCH}` has a commit that is not mlpipec's" in done.stderr
    elsewhere = mlpipec(root, service.env(), "pr", "--branch", "retrained")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert [p.branch for p in service.rows.pulls] == [BRANCH, "retrained"]


def test_an_answer_that_got_lost_opens_no_second_one(service: Service, root: Path) -> None:
    service.front.fail(
        "POST", {"github": "pulls", "gitlab": "merge_requests"}.get(service.name, "pullrequests"), lost=True
    )
    done = mlpipec(root, service.env(), "pr")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(service.rows.pulls) == 1


def test_a_token_that_may_not_is_said(service: Service, root: Path) -> None:
    done = mlpipec(root, service.env("token-reader"), "pr")
    assert done.returncode == 1
    assert "is pushed, and the pull request could not be written" in done.stderr
    assert "token-reader" not in done.stderr
    none = mlpipec(root, {k: v for k, v in service.env().items() if not k.endswith("_TOKEN")}, "pr")
    assert none.returncode == 1 and f"no token for {service.title}" in none.stderr


def test_git_says_the_token_to_the_service_in_place_of_the_jobs_own(service: Service, root: Path) -> None:
    host = service.front.url.removeprefix("http://").partition("/")[0]
    git(root, "remote", "set-url", "origin", f"http://job:old-token@{host}/octo/churn.git")
    service.front.fail("GET", "info/refs", Reply(403), times=9)
    done = mlpipec(root, service.env(), "pr")
    assert done.returncode == 1
    assert "cannot ask the remote `origin`" in done.stderr
    assert "old-token" not in done.stderr and service.token not in done.stderr
    said = service.front.seen[0].headers["authorization"].removeprefix("Basic ")
    names = {"github": "x-access-token", "gitlab": "oauth2", "bitbucket": "x-token-auth"}
    assert base64.b64decode(said).decode() == f"{names[service.name]}:{service.token}"
