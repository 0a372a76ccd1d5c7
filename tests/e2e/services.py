"""The executors behind one face, so that the same expectations hold for all of them.

What a run did is read from what it printed and left behind, not from an exit code: the scripts of the small
project print `WORKING <stage>` when they really run, and the results are read from the bundles that the jobs
handed over (or from `mlpipe.lock`, where there are no jobs).
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from mlflowc.runtime import records
from mlflowc.runtime.lockfile import LockFile
from tests.e2e.harness.act import GitHub, WorkflowRun
from tests.e2e.harness.bitbucket import ContainerBitbucket, HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository

MLPIPEC = Path(sys.executable).with_name("mlpipec")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORKING = re.compile(r"\bWORKING (\w+)")


class Result(NamedTuple):
    """A stage's key, and the hash of each of its outputs by name."""

    key: str
    outputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`worked` are the stages whose command really ran; `results` those of all stages, by id."""

    ok: bool
    log: str
    worked: set[str]
    results: dict[str, Result]

    @classmethod
    def of(cls, ok: bool, log: str, results: Mapping[str, Result]) -> Outcome:
        log = _COLOUR.sub("", log)
        return cls(ok, log, set(_WORKING.findall(log)), dict(results))


class Service(Protocol):
    """One repository at one service: what it caches lives on between runs."""

    def run(self, event: str) -> Outcome:
        """Runs what the event with this id (`push-main`, `schedule-1`) starts, at HEAD."""
        ...


# --- on this machine


def mlpipec(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The `mlpipec` of this checkout."""
    env = {**os.environ, "PATH": os.pathsep.join([str(MLPIPEC.parent), os.environ["PATH"]])}
    return subprocess.run([str(MLPIPEC), *arguments], cwd=folder, env=env, capture_output=True, text=True)


class Local:
    """`mlpipec run` in the work tree."""

    def __init__(self, repository: Repository) -> None:
        self.folder = repository.path

    def run(self, event: str) -> Outcome:
        done = mlpipec(self.folder, "run")
        return Outcome.of(done.returncode == 0, done.stdout + done.stderr, locked(self.folder))


class Make:
    """`make TARGET` in the work tree, by the generated Makefile."""

    def __init__(self, repository: Repository) -> None:
        self.folder = repository.path

    def run(self, event: str = "all") -> Outcome:
        env = {**os.environ, "PATH": os.pathsep.join([str(MLPIPEC.parent), os.environ["PATH"]])}
        command = ["make", "-j4", "V=1", event]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        return Outcome.of(done.returncode == 0, done.stdout + done.stderr, locked(self.folder))


def locked(folder: Path) -> dict[str, Result]:
    """The results that `mlpipe.lock` names."""
    entries = LockFile.read(folder).stages()
    return {
        name: Result(entry.key, {o.name: o.hash for o in entry.outputs}) for name, entry in entries.items()
    }


# --- services


# By the start of an event's id: its name at GitHub, its CI_PIPELINE_SOURCE at GitLab.
_GITHUB = {
    "push": "push",
    "pull-request": "pull_request",
    "schedule": "schedule",
    "manual": "workflow_dispatch",
}
_GITLAB = {"push": "push", "pull-request": "merge_request_event", "schedule": "schedule", "manual": "web"}


class AtGitHub:
    """Under act. `event` is the id that ends the workflow's file name."""

    def __init__(self, service: GitHub, pipeline: str) -> None:
        self.service = service
        self.pipeline = pipeline
        self.last: WorkflowRun | None = None

    def run(self, event: str, inputs: Mapping[str, str] | None = None) -> Outcome:
        name = next(name for start, name in _GITHUB.items() if event.startswith(start))
        payload: dict[str, object] = {}
        if name == "pull_request":
            repository = self.service.repository.as_uri()
            head = {"ref": "main", "repo": {"full_name": repository}}
            payload["pull_request"] = {"number": 7, "head": head, "base": {"ref": "main"}}
        run = self.service.run(name, f"{self.pipeline}-{event}.yml", payload=payload, inputs=inputs)
        self.last = run
        bundles = [data for path in run.artifacts.values() for data in _tars_of_zip(path)]
        return Outcome.of(run.ok, run.log(), _results(bundles))


class AtGitLab:
    """Under gitlab-ci-local, on the host."""

    def __init__(self, service: GitLab) -> None:
        self.service = service

    def run(self, event: str, variables: Mapping[str, str] | None = None) -> Outcome:
        source = next(source for start, source in _GITLAB.items() if event.startswith(start))
        given = dict(variables or {})
        if source == "schedule":
            given["MLPIPE_SCHEDULE"] = event
        if source == "merge_request_event":
            given |= {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_MERGE_REQUEST_IID": "7"}
        run = self.service.run(source, variables=given)
        bundles = [path.read_bytes() for job in run.jobs.values() for path in job.artifacts.rglob("*.tar")]
        log = run.log() if run.jobs else run.output
        return Outcome.of(run.ok, log, _results(bundles))


class AtBitbucket:
    """Under bb-run, on the host."""

    def __init__(self, service: HostBitbucket) -> None:
        self.service = service

    def run(self, event: str, variables: Mapping[str, str] | None = None) -> Outcome:
        run = self.service.run(target(event), variables=variables)
        bundles = [path.read_bytes() for path in (run.files / "mlpipe-bundles").glob("*.tar")]
        return Outcome.of(run.ok, run.output, _results(bundles))


class InContainers:
    """Under pipeline-runner, each step in a container of its own."""

    def __init__(self, service: ContainerBitbucket) -> None:
        self.service = service

    def run(self, event: str) -> Outcome:
        run = self.service.run(target(event))
        bundles = [path.read_bytes() for path in (run.files / "mlpipe-bundles").glob("*.tar")]
        return Outcome.of(run.ok, run.output, _results(bundles))


def target(event: str) -> str:
    """Where an event's pipeline stands in `bitbucket-pipelines.yml`."""
    if event.startswith("push-"):
        return f"branches.{event.removeprefix('push-')}"
    return "pull-requests.**" if event == "pull-request" else f"custom.{event}"


# --- bundles


def _tars_of_zip(path: Path) -> list[bytes]:
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist() if name.endswith(".tar")]


def _results(bundles: Iterable[bytes]) -> dict[str, Result]:
    """The records in the bundles by their stage. Two bundles that disagree about a stage are an error."""
    found: dict[str, Result] = {}
    for bundle in bundles:
        with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
            for member in archive:
                if not member.name.startswith("records/"):
                    continue
                file = archive.extractfile(member)
                assert file
                record = records.decode(file.read())
                result = Result(record.key, {o.name: o.hash for o in record.outputs})
                assert found.setdefault(record.stage, result) == result, record.stage
    return found
