"""A scheduled event that refreshes data, run by the executors, against a server that moves on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import scenario, services
from tests.e2e.harness.act import GitHub
from tests.e2e.harness.bitbucket import HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtBitbucket, AtGitHub, AtGitLab, Outcome
from tests.support.feeds import Asked, Handler, Web, serving

pytestmark = pytest.mark.e2e

TOKEN = "s3cret-feed-token"
PIPELINE = """\
mlpipe 1
pipeline fresh
ci { install = "wheels/@WHEEL@" }
data feed: csv { id: int, x: int } = url("@URL@/feed.csv", token = "env:FEED_TOKEN")
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
gate some { require count.scores.n >= 1 }
action publish {
  in text = tell.text
  run = "echo WORKING publish $(cat {{text}})"
}
on schedule("17 3 * * *") { refresh = [feed], run = [tell, some, publish] }
"""
EVENT = "schedule-1"


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as found:

        def guarded(asked: Asked, handler: Handler) -> bool:
            if asked.headers.get("Authorization") == f"Bearer {TOKEN}":
                return False
            handler.answer(401, b"")
            return True

        found.put("id,x\n1,2\n")
        found.faults.append(guarded)
        yield found


def prepare(folder: Path, wheel: Path, web: Web, target: str) -> Repository:
    """The project with its data pinned, committed with generated files for `target`."""
    source = folder.with_name("source")
    source.mkdir()
    (source / "pipeline.mlpipe").write_text(PIPELINE.replace("@URL@", web.url))
    repository = scenario.prepare(folder, wheel, copy=source)
    os.environ["FEED_TOKEN"] = TOKEN
    try:
        done = services.mlpipec(folder, "update")
    finally:
        del os.environ["FEED_TOKEN"]
    assert done.returncode == 0, done.stdout + done.stderr
    scenario.build(repository, target)
    return repository


def check(run: Callable[[], Outcome], web: Web) -> None:
    """Nothing fresh, nothing done; fresh data, all done with what the plan fetched; a source that is gone."""
    idle = run()
    assert idle.ok, idle.log
    assert idle.worked == set(), idle.log
    assert "nothing fresh: feed came as pinned; there is nothing to do" in idle.log

    web.put("id,x\n1,2\n3,4\n")
    web.asked.clear()
    fresh = run()
    assert fresh.ok, fresh.log
    assert fresh.worked == {"count", "tell", "publish"}, fresh.log
    assert '{"n": 3}' in fresh.log and "→ 13 B, etag" in fresh.log
    # Only the plan asked the server: the others had the data from it.
    assert [a.method for a in web.asked] == ["HEAD", "GET"]
    assert TOKEN not in fresh.log

    del web.files["/feed.csv"]
    gone = run()
    assert not gone.ok and gone.worked == set()
    assert "nothing is there (404)" in gone.log


def test_github(tools: Tools, wheel: Path, web: Web, tmp_path: Path) -> None:
    repository = prepare(tmp_path / "repo", wheel, web, "github")
    act = GitHub(tools, repository.path, tmp_path / "service")
    service = AtGitHub(act, "fresh")
    real = act.run
    act.run = lambda *args, **more: real(*args, **{**more, "secrets": {"FEED_TOKEN": TOKEN}})  # type: ignore[method-assign]
    check(lambda: service.run(EVENT), web)
    assert service.last is not None
    assert list(service.last.jobs) == ["plan"], "the others are skipped"


def test_gitlab(tools: Tools, wheel: Path, web: Web, tmp_path: Path) -> None:
    repository = prepare(tmp_path / "repo", wheel, web, "gitlab")
    service = AtGitLab(GitLab(tools, repository.path, tmp_path / "service"))
    given = {"FEED_TOKEN": TOKEN}
    check(lambda: service.run(EVENT, given), web)


def test_bitbucket(tools: Tools, wheel: Path, web: Web, tmp_path: Path) -> None:
    if reason := tools.missing.get("bb-run"):
        pytest.skip(f"bb-run: {reason}; the container tier runs the same file")
    repository = prepare(tmp_path / "repo", wheel, web, "bitbucket")
    service = AtBitbucket(HostBitbucket(tools, repository.path, tmp_path / "service"))
    # bb-run knows no variables that a step sets, and no conditions: there, the steps end by themselves.
    told = tmp_path / "told"
    given = {"FEED_TOKEN": TOKEN, "BITBUCKET_PIPELINES_VARIABLES_PATH": str(told)}
    check(lambda: service.run(EVENT, given), web)
    assert told.read_text().splitlines() == [
        *("FRESH=false", "RUN_COUNT=false"),
        *("FRESH=true", "RUN_COUNT=true"),
    ]
