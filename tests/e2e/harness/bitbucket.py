"""Bitbucket pipelines: on the host by bb-run (quick, weak), in containers by pipeline-runner (faithful).

Traps of bb-run 1.3.0:

- all steps of a run work in one folder, so a step sees more than its artifacts: `HostBitbucket` gives it a
  fresh clone for each run, and what hand-over needs is proved in containers only;
- scripts run under `/bin/sh`, joined by `&&`; on Debian that is dash;
- it knows no cache with a `key`: `HostBitbucket` restores and saves those, before and after a run;
- steps inherit its whole environment: it is started with a small one.

Traps of pipeline-runner (bitbucket-pipeline-runner) 0.6.3:

- it exits 0 although a step failed: its last line tells;
- it refuses `condition.state`, ignores the other conditions and `artifacts.upload`, and runs `parallel` in
  sequence: a pipeline that skips a step on a hit can be run by bb-run only;
- it clones the repository, so that only commits count, and asks on standard input before manual steps;
- it moves a cache's folder away before it collects artifacts: one folder cannot be both;
- a step takes 3.5 to 5 s; it keeps caches and logs under XDG_CACHE_HOME and XDG_DATA_HOME.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.e2e.harness import process
from tests.e2e.harness.tools import Tools, uv_cache


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """`output` is all that was printed; `files` is a folder with what the steps handed over, at its path."""

    ok: bool
    output: str
    files: Path


class HostBitbucket:
    """One repository at the service; its caches live on between runs."""

    def __init__(self, tools: Tools, repository: Path, state: Path) -> None:
        self.tools = tools
        self.repository = repository
        self.state = state
        self.runs = 0

    def run(
        self,
        target: str,
        *,
        branch: str = "main",
        variables: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> PipelineRun:
        """Runs the pipeline `target` (`branches.main`, `pull-requests.**`, `custom.nightly`) at HEAD."""
        self.runs += 1
        workspace = self.state / f"run{self.runs}"
        self.state.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "-q", self.repository.as_uri(), str(workspace)], check=True)
        caches = self._caches(workspace)
        for entry, folder in caches.items():
            if entry.is_dir():
                shutil.copytree(entry, folder)
        command = [
            str(self.tools.program("bb-run")),
            "--mode",
            "host",
            "--target",
            target,
            "--branch",
            branch,
        ]
        command += ["--color", "never", "--repo", str(workspace)]
        for name, value in (variables or {}).items():
            command += ["--variables", f"{name}={value}"]
        env = self.tools.environment(self.state / "home")
        done = process.run(command, cwd=workspace, env=env, timeout=timeout)
        for entry, folder in caches.items():
            if done.returncode == 0 and folder.is_dir() and not entry.exists():
                shutil.copytree(folder, entry)
        return PipelineRun(done.returncode == 0, done.stdout + done.stderr, workspace)

    def _caches(self, workspace: Path) -> dict[Path, Path]:
        """Where each cache is kept, by the content of the files of its key, and its folder in `workspace`."""
        file = yaml.safe_load((workspace / "bitbucket-pipelines.yml").read_text())
        found = {}
        for name, cache in file.get("definitions", {}).get("caches", {}).items():
            if isinstance(cache, dict):
                digest = hashlib.sha256()
                for pattern in cache["key"]["files"]:
                    for key_file in sorted(p for p in workspace.glob(pattern) if p.is_file()):
                        digest.update(key_file.read_bytes())
                found[self.state / "caches" / f"{name}-{digest.hexdigest()}"] = workspace / cache["path"]
        return found

    def validate(self) -> str:
        """What bb-run finds wrong with the file, "" for nothing."""
        command = [str(self.tools.program("bb-run")), "--validate", "--repo", str(self.repository)]
        env = self.tools.environment(self.state / "home")
        done = process.run(command, cwd=self.repository, env=env, timeout=60)
        return "" if done.returncode == 0 else done.stdout + done.stderr


class ContainerBitbucket:
    """One repository at the service, each step in a container of its own."""

    def __init__(self, tools: Tools, repository: Path, state: Path, docker_host: str) -> None:
        self.tools = tools
        self.repository = repository
        self.state = state
        self.docker_host = docker_host
        self.runs = 0

    def run(self, pipeline: str, *, timeout: float = 900) -> PipelineRun:
        """Runs `pipeline` (`branches.main`, `custom.nightly`) at HEAD; manual steps are confirmed."""
        self.runs += 1
        command = [str(self.tools.program("pipeline-runner")), "run", "--no-color"]
        command += ["-r", str(self.repository)]
        # Each step installs for itself, and downloads nothing that is on this machine: as on the host.
        command += ["--volume", f"{uv_cache()}:/root/.cache/uv", pipeline]
        env = self._environment()
        done = process.run(command, cwd=self.repository, env=env, timeout=timeout, input="\n" * 50)
        output = done.stdout + done.stderr
        ok = done.returncode == 0 and bool(re.search(r"Pipeline .*: Successful", output))
        artifacts = self.state.glob(f"data/pipeline-runner/*/pipelines/{self.runs}-*/artifacts")
        return PipelineRun(ok, output, next(artifacts, self.state / "nothing"))

    def parse(self) -> str:
        """What pipeline-runner finds wrong with the file, "" for nothing. Needs no containers."""
        command = [str(self.tools.program("pipeline-runner")), "parse", "-r", str(self.repository)]
        done = process.run(command, cwd=self.repository, env=self._environment(), timeout=60)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def _environment(self) -> dict[str, str]:
        return {
            **self.tools.environment(self.state / "home"),
            "DOCKER_HOST": self.docker_host,
            "XDG_CACHE_HOME": str(self.state / "cache"),
            "XDG_DATA_HOME": str(self.state / "data"),
        }
