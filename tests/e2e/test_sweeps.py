"""A sweep at every service: trials on several machines, the best of them found by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import scenario
from tests.e2e.harness.act import GitHub
from tests.e2e.harness.bitbucket import HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtBitbucket, AtGitHub, AtGitLab, Local, Make, Service

pytestmark = pytest.mark.e2e

SWEEP = """
sweep tune over score {
  vary score.weight in [0.1, 0.3, 0.9]
  parallel = 2
  goal     = maximize(scores.ratio)
}
gate best { require tune.best.scores.ratio > 0 }
"""


BEFORE = 'on push("main") { run = [enough, review] }'
EVENT = 'on push("main") { run = [tune, best] }'


def prepared(folder: Path, wheel: Path, *targets: str, sweep: str = SWEEP) -> Repository:
    repository = scenario.prepare(folder, wheel, copy=scenario.SHORT, text=sweep)
    scenario.edit(repository, "pipeline.mlpipe", BEFORE, EVENT)
    scenario.build(repository, *targets)
    return repository


def check(service: Service, local: Repository) -> None:
    """The same best as on one machine; then nothing is tried again."""
    expected = Local(local).run("push-main")
    assert expected.ok, expected.log
    first = service.run("push-main")
    assert first.ok, first.log
    assert "of 3 is the best" in first.log
    assert "score" in first.worked
    for output in ("best.scores", "params"):
        assert first.results["tune"].outputs[output] == expected.results["tune"].outputs[output]
    assert first.results["tune"].key == expected.results["tune"].key
    second = service.run("push-main")
    assert second.ok, second.log
    assert second.worked == set(), second.log


def test_github(tools: Tools, wheel: Path, tmp_path: Path) -> None:
    repository = prepared(tmp_path / "repo", wheel, "github")
    service = AtGitHub(GitHub(tools, repository.path, tmp_path / "service"), "short")
    check(service, prepared(tmp_path / "local", wheel))


def test_rounds_at_github(tools: Tools, wheel: Path, tmp_path: Path) -> None:
    """Jobs of one round choose by what those of the round before found out, as one machine does."""
    lists = "in [0.1, 0.3, 0.9]"
    assert lists in SWEEP
    sweep = SWEEP.replace(lists, "in 0.1..0.9\n  search = tpe(trials = 3, seed = 5, startup = 2)")
    repository = prepared(tmp_path / "repo", wheel, "github", sweep=sweep)
    service = AtGitHub(GitHub(tools, repository.path, tmp_path / "service"), "short")
    check(service, prepared(tmp_path / "local", wheel, sweep=sweep))


def test_gitlab(tools: Tools, wheel: Path, tmp_path: Path) -> None:
    repository = prepared(tmp_path / "repo", wheel, "gitlab")
    service = AtGitLab(GitLab(tools, repository.path, tmp_path / "service"))
    check(service, prepared(tmp_path / "local", wheel))


def test_bitbucket(tools: Tools, wheel: Path, tmp_path: Path) -> None:
    if reason := tools.missing.get("bb-run"):
        pytest.skip(f"bb-run: {reason}")
    repository = prepared(tmp_path / "repo", wheel, "bitbucket")
    service = AtBitbucket(HostBitbucket(tools, repository.path, tmp_path / "service"))
    check(service, prepared(tmp_path / "local", wheel))


def test_make(wheel: Path, tmp_path: Path) -> None:
    """One machine: the sweep is one target, with as many trials at once as it says."""
    repository = prepared(tmp_path / "repo", wheel, "make")
    first = Make(repository).run("best")
    assert first.ok, first.log
    assert "of 3 is the best" in first.log
    second = Make(repository).run("best")
    assert second.ok, second.log
    assert second.worked == set(), second.log
