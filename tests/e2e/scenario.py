"""The small project, and what has to hold for it at every service; and one that is shorter still."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e import services
from tests.e2e.harness.repository import Repository
from tests.e2e.services import Result, Service

PROJECT = Path(__file__).with_name("project")
STAGES = {"make", "evens", "odds", "score"}
SHORT = Path(__file__).with_name("short")
SHORT_STAGES = {"make", "score"}
PUSH = "push-main"
GENERATED = {
    "github": f".github/workflows/small-{PUSH}.yml",
    "gitlab": ".gitlab-ci.yml",
    "bitbucket": "bitbucket-pipelines.yml",
}


def prepare(folder: Path, wheel: Path, *targets: str, copy: Path = PROJECT, text: str = "") -> Repository:
    """The small project, or `copy`, as a repository: with the wheel that its jobs install, and the files
    generated for `targets`. `text` is added to the pipeline."""
    repository = Repository.create(folder, copy=copy)
    (folder / "wheels").mkdir()
    shutil.copy(wheel, folder / "wheels")
    pipeline = folder / "pipeline.mlpipe"
    pipeline.write_text(pipeline.read_text().replace("@WHEEL@", wheel.name) + text)
    build(repository, *targets)
    return repository


def build(repository: Repository, *targets: str) -> None:
    """Generates the files for `targets` and commits all."""
    for target in targets:
        done = services.mlpipec(repository.path, "build", "--target", target)
        assert done.returncode == 0, done.stdout + done.stderr
    repository.commit("generated")


def edit(repository: Repository, name: str, old: str, new: str) -> None:
    """Replaces text of a file and commits."""
    path = repository.path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    repository.commit(f"change {name}")


def reference(folder: Path, wheel: Path, copy: Path = PROJECT) -> dict[str, Result]:
    """The keys and hashes of a local run of the same commit."""
    repository = prepare(folder, wheel, copy=copy)
    outcome = services.Local(repository).run(PUSH)
    assert outcome.ok, outcome.log
    assert outcome.worked == set(outcome.results) == (STAGES if copy == PROJECT else SHORT_STAGES)
    return outcome.results


def check_service(service: Service, repository: Repository, expected: dict[str, Result]) -> None:
    """A first run makes all, as a local run does; a second makes nothing; a change what it must."""
    check_handing_over(service, expected)
    edit(repository, "params.yaml", "weight: 0.5", "weight: 0.25")
    third = service.run(PUSH)
    assert third.ok, third.log
    assert third.worked == {"score"}, third.log
    changed = {stage for stage in STAGES if third.results[stage] != expected[stage]}
    assert changed == {"score"}


def check_handing_over(service: Service, expected: dict[str, Result]) -> None:
    """A first run makes all, as a local run does; a second makes nothing."""
    first = service.run(PUSH)
    assert first.ok, first.log
    assert first.worked == STAGES, first.log
    assert first.results == expected
    assert "enough" in first.log, "the gate is shown"

    second = service.run(PUSH)
    assert second.ok, second.log
    assert second.worked == set(), second.log
    assert second.results == expected


def check_failures(service: Service, repository: Repository, target: str) -> None:
    """A gate that does not hold, a stage that fails and a file that was tampered with: each fails the run."""
    check_gate(service, repository)
    check_broken_stage(service, repository)
    check_tampered(service, repository, target)


def check_gate(service: Service, repository: Repository) -> None:
    edit(repository, "params.yaml", "rows: 6", "rows: 2")
    outcome = service.run(PUSH)
    assert not outcome.ok, outcome.log
    assert "too small" in outcome.log
    edit(repository, "params.yaml", "rows: 2", "rows: 6")


def check_broken_stage(service: Service, repository: Repository) -> None:
    line = 'print(f"WORKING {kind}s")'
    edit(repository, "src/pick.py", line, f'{line}\nif kind == "odd":\n    sys.exit("BROKEN on purpose")')
    outcome = service.run(PUSH)
    assert not outcome.ok, outcome.log
    assert "BROKEN on purpose" in outcome.log
    assert "score" not in outcome.worked
    edit(repository, "src/pick.py", '\nif kind == "odd":\n    sys.exit("BROKEN on purpose")', "")


def check_tampered(service: Service, repository: Repository, target: str) -> None:
    file = GENERATED[target]
    path = repository.path / file
    text = path.read_text()
    path.write_text(text + "# edited by hand\n")
    repository.commit("edited by hand")
    outcome = service.run(PUSH)
    assert not outcome.ok, outcome.log
    assert f"mlpipec build --target {target}" in outcome.log, "it says what mends it"
    assert file in outcome.log
    assert outcome.worked == set(), "nothing runs behind a file that cannot be trusted"
    path.write_text(text)
    repository.commit("as generated")
