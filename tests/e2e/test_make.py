"""The generated Makefile, run by GNU make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import scenario, services
from tests.e2e.harness.repository import Repository
from tests.e2e.services import Make, Result

pytestmark = pytest.mark.e2e


@pytest.fixture
def repository(wheel: Path, tmp_path: Path) -> Repository:
    return scenario.prepare(tmp_path / "repo", wheel, "make")


def test_same_results_then_hits_then_only_what_changed(
    repository: Repository, small_results: dict[str, Result]
) -> None:
    make = Make(repository)
    first = make.run("all")
    assert first.ok, first.log
    assert first.worked == scenario.STAGES
    assert first.results == small_results
    second = make.run("all")
    assert second.ok, second.log
    assert second.worked == set()
    scenario.edit(repository, "params.yaml", "weight: 0.5", "weight: 0.25")
    third = make.run("all")
    assert third.worked == {"score"}, third.log


def test_a_target_makes_what_it_needs_and_no_more(repository: Repository) -> None:
    outcome = Make(repository).run("evens")
    assert outcome.ok, outcome.log
    assert outcome.worked == {"make", "evens"}
    assert (repository.path / "data/evens.csv").exists()
    assert not (repository.path / "data/odds.csv").exists()


def test_a_gate_that_does_not_hold_fails_make(repository: Repository) -> None:
    scenario.edit(repository, "params.yaml", "rows: 6", "rows: 2")
    outcome = Make(repository).run("enough")
    assert not outcome.ok
    assert "too small" in outcome.log


def test_clean_removes_outputs_and_all_restores_them(repository: Repository) -> None:
    make = Make(repository)
    assert make.run("all").ok
    assert make.run("clean").ok
    assert not (repository.path / "scores.json").exists()
    again = make.run("all")
    assert again.ok, again.log
    assert again.worked == set()
    assert (repository.path / "scores.json").exists()


def test_a_project_with_a_makefile_of_its_own_keeps_it(wheel: Path, tmp_path: Path) -> None:
    repository = scenario.prepare(tmp_path / "repo", wheel)
    own = "include mlpipe.mk\n.PHONY: mine\nmine:\n\t@echo mine\n"
    repository.write({"Makefile": own})
    done = services.mlpipec(repository.path, "build", "--target", "make")
    assert done.returncode == 0, done.stderr
    assert (repository.path / "Makefile").read_text() == own
    assert Make(repository).run("mine").log.endswith("mine\n")
    outcome = Make(repository).run("mlpipe-all")
    assert outcome.ok, outcome.log
    assert outcome.worked == scenario.STAGES
