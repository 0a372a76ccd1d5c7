"""A scheduled training on fresh data ends in a pull request: run by the executors, with a bare repository as
the remote, at servers held against the services' own descriptions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import scenario, services
from tests.e2e.forges.front import Front
from tests.e2e.forges.known import KNOWN
from tests.e2e.forges.rows import Repository as Rows
from tests.e2e.harness.act import GitHub
from tests.e2e.harness.bitbucket import HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.support.feeds import Web, serving

pytestmark = pytest.mark.e2e

PIPELINE = """\
mlpipe 1
pipeline fresh
ci { install = "wheels/@WHEEL@" }
data feed: csv { id: int, x: int } = url("@URL@/feed.csv")
stage count {
  in  feed
  out scores: metrics { n: int } = "scores.json"
  run = "echo WORKING count; echo '{\\"n\\": '$(wc -l < {{feed}})'}' > {{scores}}"
}
stage tell {
  in  scores = count.scores
  out text: file = "text.txt"
  run = "echo WORKING tell; cat {{scores}} > {{text}}"
}
gate some { require count.scores.n <= 4 }
report review { metrics count.scores vs "main" }
on schedule("17 3 * * *") { refresh = [feed], run = [tell, some, review], propose = true }
on manual { run = [tell, some], propose = true }
"""
BRANCH = "mlpipe/fresh-schedule-1"


@dataclass(slots=True)
class Scene:
    """A service with its API, its executor, and the bare repository that jobs push to."""

    name: str
    forge: Front
    rows: Rows
    web: Web
    checkout: Repository
    bare: Path
    run: Callable[[str, dict[str, str]], tuple[bool, str]]

    def start(self, event: str = "schedule-1", **env: str) -> tuple[bool, str]:
        """Whether the event's run went well, and what it printed."""
        return self.run(event, env)

    def git(self, *args: str) -> str:
        return subprocess.run(
            ["git", *args], cwd=self.bare, check=True, capture_output=True, text=True
        ).stdout.strip()


@pytest.fixture(params=list(KNOWN))
def scene(
    request: pytest.FixtureRequest,
    tools: Tools,
    forges: Callable[[str], Front],
    wheel: Path,
    tmp_path: Path,
) -> Iterator[Scene]:
    name = request.param
    if name == "bitbucket" and "bb-run" in tools.missing:
        pytest.skip(tools.missing["bb-run"])
    forge = forges(name)
    with serving() as web:
        web.put("id,x\n1,2\n")
        source = tmp_path / "source"
        source.mkdir()
        (source / "pipeline.mlpipe").write_text(PIPELINE.replace("@URL@", web.url))
        checkout = scenario.prepare(tmp_path / "repo", wheel, copy=source)
        assert services.mlpipec(checkout.path, "run").returncode == 0
        checkout.write({".gitignore": ".mlpipe/\nscores.json\ntext.txt\nmlpipe-bundles/\nmlpipe-report/\n"})
        scenario.build(checkout, name)
        bare = tmp_path / "remote.git"
        subprocess.run(["git", "clone", "-q", "--bare", str(checkout.path), str(bare)], check=True)
        checkout.git("remote", "set-url", "origin", bare.as_uri())
        rows = forge.memory.make("1" if name == "gitlab" else "octo/small")
        run = _EXECUTORS[name](tools, checkout, bare, forge, tmp_path / "service")
        yield Scene(name, forge, rows, web, checkout, bare, run)
        assert forge.violations == []


def at_github(tools: Tools, checkout: Repository, bare: Path, forge: Front, state: Path):  # type: ignore[no-untyped-def]
    service = GitHub(tools, checkout.path, state)
    given = {
        "GITHUB_API_URL": forge.url,
        "GITHUB_REPOSITORY": "octo/small",
        "STUB_REMOTE": bare.as_uri(),
    }

    def run(event: str, env: dict[str, str]) -> tuple[bool, str]:
        name = "schedule" if event.startswith("schedule") else "workflow_dispatch"
        secrets = {"MLPIPE_TOKEN": "token-bot"}
        if "MLPIPE_TOKEN" in env:
            secrets = {"MLPIPE_TOKEN": env.pop("MLPIPE_TOKEN")}
        done = service.run(name, f"fresh-{event}.yml", env=given | env, secrets=secrets)
        return done.ok, done.log()

    return run


def at_gitlab(tools: Tools, checkout: Repository, bare: Path, forge: Front, state: Path):  # type: ignore[no-untyped-def]
    service = GitLab(tools, checkout.path, state)
    given = {"CI_API_V4_URL": forge.url, "CI_PROJECT_ID": "1", "CI_PIPELINE_ID": "4711"}

    def run(event: str, env: dict[str, str]) -> tuple[bool, str]:
        source = "schedule" if event.startswith("schedule") else "web"
        variables = {"MLPIPE_TOKEN": "token-bot", "CI_COMMIT_BRANCH": "main"} | given | env
        if source == "schedule":
            variables["MLPIPE_SCHEDULE"] = event
        done = service.run(source, variables=variables)
        return done.ok, done.log() or done.output

    return run


def at_bitbucket(tools: Tools, checkout: Repository, bare: Path, forge: Front, state: Path):  # type: ignore[no-untyped-def]
    service = HostBitbucket(tools, bare, state)
    given = {
        "BITBUCKET_API_URL": forge.url,
        "BITBUCKET_BUILD_NUMBER": "99",
        "BITBUCKET_REPO_FULL_NAME": "octo/small",
        "BITBUCKET_BRANCH": "main",
        "BITBUCKET_PIPELINES_VARIABLES_PATH": str(state.with_name("told")),
        "MLPIPE_TOKEN": "token-bot",
    }

    def run(event: str, env: dict[str, str]) -> tuple[bool, str]:
        done = service.run(f"custom.{event}", variables=given | env)
        return done.ok, done.output

    return run


_EXECUTORS = {"github": at_github, "gitlab": at_gitlab, "bitbucket": at_bitbucket}


def test_fresh_data_becomes_a_pull_request_once(scene: Scene, tmp_path: Path) -> None:
    ok, log = scene.start()
    assert ok and "nothing fresh" in log, log
    assert scene.forge.seen == [] and scene.rows.pulls == []

    scene.web.put("id,x\n1,2\n3,4\n")
    ok, log = scene.start()
    assert ok and "pull request opened http" in log, log
    (pull,) = scene.rows.pulls
    assert (pull.branch, pull.base, pull.title) == (BRANCH, "main", "fresh: new results")
    assert "data `feed`: changed" in pull.body and "stage `tell`: changed" in pull.body
    assert "count.scores.n <= 4" in pull.body, "the gate and its figures"
    tip = scene.git("rev-parse", BRANCH)
    assert scene.git("diff", "--name-only", "main", tip) == "mlpipe.lock"
    assert scene.git("rev-parse", f"{tip}^") == scene.git("rev-parse", "main")
    assert "token-bot" not in log

    # What is proposed agrees with itself: lock, pin, parameters, code.
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "-b", BRANCH, str(scene.bare), str(clone)], check=True)
    verified = services.mlpipec(clone, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    ok, log = scene.start()
    assert ok and "the pull request says that already" in log, log
    assert scene.git("rev-parse", BRANCH) == tip and len(scene.rows.pulls) == 1

    # Squashed into main: the next run finds nothing fresh, and proposes nothing.
    merge(scene, tmp_path / "merging")
    before = len(scene.forge.seen)
    ok, log = scene.start()
    assert ok and "nothing fresh" in log, log
    assert len(scene.forge.seen) == before and len(scene.rows.pulls) == 1
    ok, log = scene.start("manual")
    assert ok and "nothing to propose: `main` has these results" in log, log
    assert len(scene.forge.seen) == before


def test_a_gate_that_does_not_hold_proposes_nothing(scene: Scene) -> None:
    scene.web.put("id,x\n1,2\n3,4\n5,6\n7,8\n9,10\n")
    ok, log = scene.start()
    assert not ok and "gate `some`: not all requirements hold" in log, log
    assert scene.forge.seen == [] and BRANCH not in scene.git("branch", "--list", "--all")


@pytest.mark.parametrize("scene", ["gitlab"], indirect=True)
def test_without_a_token_it_says_which(scene: Scene) -> None:
    scene.web.put("id,x\n1,2\n3,4\n")
    ok, log = scene.start(MLPIPE_TOKEN="")
    assert not ok and "MLPIPE_TOKEN" in log and "is not set" in log, log
    assert scene.forge.seen == [] and BRANCH not in scene.git("branch", "--list", "--all")


@pytest.mark.parametrize("scene", ["github"], indirect=True)
def test_a_token_that_may_not_is_a_failure_with_words(scene: Scene) -> None:
    scene.web.put("id,x\n1,2\n3,4\n")
    ok, log = scene.start(MLPIPE_TOKEN="token-reader")
    assert not ok and "the pull request could not be written" in log, log
    assert scene.rows.pulls == []


def merge(scene: Scene, folder: Path) -> None:
    """Squashes the pull request into main, as the service's button does."""
    subprocess.run(["git", "clone", "-q", str(scene.bare), str(folder)], check=True)
    here = Repository(folder)
    here.git("merge", "-q", "--squash", f"origin/{BRANCH}")
    here.git("commit", "-q", "-m", "New results (#8)")
    here.git("push", "-q", "origin", "main")
    scene.rows.pulls[0].open = False
    scene.checkout.git("pull", "-q", "--ff-only", "origin", "main")
    scene.checkout.sync()


def test_make_says_how_to_do_it_by_hand(wheel: Path, tmp_path: Path) -> None:
    with serving() as web:
        web.put("id,x\n1,2\n")
        source = tmp_path / "source"
        source.mkdir()
        (source / "pipeline.mlpipe").write_text(PIPELINE.replace("@URL@", web.url))
        checkout = scenario.prepare(tmp_path / "repo", wheel, copy=source)
        assert services.mlpipec(checkout.path, "update").returncode == 0
        scenario.build(checkout, "make")
        web.put("id,x\n1,2\n3,4\n")
        for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BITBUCKET_BUILD_NUMBER"):
            assert name not in os.environ
        done = services.Make(checkout).run("on-schedule-1")
    assert done.ok and done.worked == {"count", "tell"}, done.log
    assert "not proposed, since this is no job of a CI service. By hand: `mlpipec pr --service" in done.log
    assert checkout.git("status", "--short", "mlpipe.lock") == "M mlpipe.lock"
