"""GitLab pipelines under gitlab-ci-local, on the host (`shell` executor) or in containers.

Every job gets a fresh copy of the work tree, the artifacts of the jobs that it needs and its cache. Caches
are kept under `.gitlab-ci-local/` of the repository, so they live on between runs, as at the service.

Traps of gitlab-ci-local 4.75.1:

- a cycle of `needs` hangs and ignores SIGTERM: `process.run` ends it with SIGKILL;
- it has no `retry` and no job `timeout`, and `image` means nothing to the `shell` executor;
- `rules:changes` needs `refs/remotes/origin/{main,HEAD}`, which `Repository` sets;
- files that are included must be committed, and a job sees tracked files and untracked ones, but no ignored
  ones: a wheel to install must not be ignored by git;
- a cache entry is a folder that every run overwrites, where the service keeps one archive a key;
- jobs of the `shell` executor inherit its whole environment: it is started with a small one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import process
from tests.e2e.harness.tools import Tools

_RESULT = re.compile(r"^ (PASS|FAIL|WARN)  (\S.*?)\s*$", re.MULTILINE)
_RESULTS = {"PASS": "success", "FAIL": "failure", "WARN": "warning"}
_SHELL = ("--force-shell-executor", "--shell-isolation")


@dataclass(frozen=True, slots=True)
class Job:
    """`result` is `success`, `failure` or `warning` (allowed to fail); `log` is what its scripts printed.

    `artifacts` is the folder of what it handed over.
    """

    name: str
    result: str
    log: str
    artifacts: Path


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """`jobs` that ran, by name: one that rules left out or that came after a failure is not among them."""

    ok: bool
    jobs: dict[str, Job]
    output: str

    def log(self) -> str:
        return "\n".join(job.log for job in self.jobs.values())


class GitLab:
    """One project at the service."""

    def __init__(self, tools: Tools, repository: Path, state: Path) -> None:
        self.tools = tools
        self.repository = repository
        self.state = state

    def run(
        self,
        source: str = "push",
        *,
        variables: Mapping[str, str] | None = None,
        manual: tuple[str, ...] = (),
        timeout: float = 600,
    ) -> PipelineRun:
        """Runs the pipeline that `source` (a value of CI_PIPELINE_SOURCE) starts for the work tree."""
        arguments = [*_SHELL, "--no-artifacts-to-source", "--max-job-name-padding", "0"]
        for name in manual:
            arguments += ["--manual", name]
        done = self._start(source, variables, arguments, timeout)
        folder = self.repository / ".gitlab-ci-local"
        output = done.stdout + done.stderr
        results = {name: _RESULTS[word] for word, name in _RESULT.findall(done.stdout)}
        jobs = {
            name: Job(name, result, _log(output, name), folder / "artifacts" / _file_name(name))
            for name, result in results.items()
        }
        ok = done.returncode == 0 and bool(jobs) and "failure" not in results.values()
        return PipelineRun(ok, jobs, output)

    def jobs(self, source: str = "push", *, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """The jobs that `source` would start, with their `when`. AssertionError for an invalid file."""
        done = self._start(source, variables, ["--list-csv-all"], 60)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        rows = [line.split(";") for line in done.stdout.splitlines() if ";" in line]
        return {row[0]: row[2] for row in rows[1:]}

    def validate(self, source: str = "push") -> str:
        """Checks the whole chain of needs; returns what it found, "" for nothing."""
        done = self._start(source, None, ["--validate-dependency-chain"], 60)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def _start(
        self, source: str, variables: Mapping[str, str] | None, arguments: list[str], timeout: float
    ) -> process.Completed:
        program = self.tools.node_modules / "gitlab-ci-local" / "dist" / "index.js"
        command = [str(self.tools.node), str(program), *arguments, "--no-color"]
        command += ["--home", str(self.state / "settings")]
        for name, value in {"CI_PIPELINE_SOURCE": source, **(variables or {})}.items():
            command += ["--variable", f"{name}={value}"]
        # It warns about a predefined variable that is set by hand, unless told to keep quiet about it.
        command += ["--ignore-predefined-vars", ",".join(["CI_PIPELINE_SOURCE", *(variables or {})])]
        env = self.tools.environment(self.state / "home")
        return process.run(command, cwd=self.repository, env=env, timeout=timeout)


def _file_name(job: str) -> str:
    """A job's name in a path: what is no word character is in base64, without its padding."""
    return re.sub(
        r"[^\w-]+", lambda found: base64.urlsafe_b64encode(found[0].encode()).decode().rstrip("="), job
    )


def _log(output: str, job: str) -> str:
    prefix = f"{job} > "
    return "\n".join(line.removeprefix(prefix) for line in output.splitlines() if line.startswith(prefix))
