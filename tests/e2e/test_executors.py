"""The executors themselves: that caches and artifacts travel, and that a failure is seen as one.

What the tests of generated files conclude rests on this. The files here are written by hand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import containers, process
from tests.e2e.harness.act import GitHub
from tests.e2e.harness.bitbucket import ContainerBitbucket, HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools

pytestmark = pytest.mark.e2e

FILE = "mlpipe-bundles/a.tar"
MAKE = f"if [ -f {FILE} ]; then echo HIT; else mkdir -p mlpipe-bundles && echo A > {FILE}; fi"

WORKFLOW = f"""
name: by hand
on: {{push: {{branches: [main]}}}}
permissions: {{}}
jobs:
  plan:
    runs-on: ubuntu-latest
    outputs: {{make: "${{{{ steps.plan.outputs.make }}}}"}}
    steps:
      - uses: actions/checkout@v7
        with: {{persist-credentials: false}}
      - id: cache
        uses: actions/cache/restore@v6
        with: {{path: mlpipe-bundles, key: k1, lookup-only: true}}
      - id: plan
        env: {{HIT: "${{{{ steps.cache.outputs.cache-hit }}}}"}}
        run: |
          test ! -e mlpipe-bundles
          [ "$HIT" = true ] && make=cached || make=run
          echo "make=$make" | tee -a "$GITHUB_OUTPUT"
  make:
    needs: plan
    runs-on: ubuntu-latest
    steps:
      - uses: actions/cache@v6
        with: {{path: mlpipe-bundles, key: k1}}
      - run: {MAKE}
      - uses: actions/upload-artifact@v7
        with: {{name: bundle-a, path: mlpipe-bundles/a.tar, if-no-files-found: error}}
  use:
    needs: make
    runs-on: ubuntu-latest
    steps:
      - uses: actions/download-artifact@v8
        with: {{pattern: bundle-*, merge-multiple: true, path: mlpipe-bundles}}
      - run: cat mlpipe-bundles/a.tar; [ "$BREAK" != use ]
  skipped:
    needs: [plan, use]
    if: ${{{{ needs.plan.outputs.make == 'run' }}}}
    runs-on: ubuntu-latest
    steps: [{{run: echo last}}]
"""

GITLAB = f"""
workflow: {{rules: [{{if: $CI_PIPELINE_SOURCE =~ /^(push|schedule)$/}}]}}
make:
  cache: {{key: k1, paths: [mlpipe-bundles/]}}
  script: ['{MAKE}']
  artifacts: {{paths: [mlpipe-bundles/a.tar]}}
use:
  needs: [make]
  script: [cat mlpipe-bundles/a.tar, '[ "$BREAK" != use ]']
nightly:
  rules: [{{if: $CI_PIPELINE_SOURCE == "schedule"}}]
  needs: [use]
  script: [echo night]
"""

BITBUCKET = f"""
image: python:3.11
definitions:
  caches: {{made: {{key: {{files: [README.md]}}, path: mlpipe-cache}}}}
pipelines:
  branches:
    main:
      - step:
          name: make
          caches: [made]
          script:
            - 'if [ -d mlpipe-cache ]; then cp -r mlpipe-cache mlpipe-bundles; fi'
            - '{MAKE}'
            - rm -rf mlpipe-cache && cp -r mlpipe-bundles mlpipe-cache
          artifacts: [mlpipe-bundles/a.tar]
      - step: {{name: use, script: [cat mlpipe-bundles/a.tar]}}
  custom:
    bad:
      - step: {{name: bad, script: [echo before, "false", echo after]}}
      - step: {{name: later, script: [echo later]}}
"""


def test_act_carries_caches_and_artifacts(tools: Tools, tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "repo", {".github/workflows/ci.yml": WORKFLOW})
    service = GitHub(tools, repository.path, tmp_path / "service")

    first = service.run("push", "ci.yml")
    assert first.ok, first.output
    assert list(first.jobs) == ["plan", "make", "use", "skipped"]
    assert "make=run" in first.jobs["plan"].log
    assert "HIT" not in first.jobs["make"].log.splitlines()
    assert "A" in first.jobs["use"].log.splitlines()
    assert list(first.artifacts) == ["bundle-a"]

    second = service.run("push", "ci.yml")
    assert second.ok, second.output
    assert "make=cached" in second.jobs["plan"].log
    assert "HIT" in second.jobs["make"].log.splitlines()
    assert "skipped" not in second.jobs

    broken = service.run("push", "ci.yml", env={"BREAK": "use"})
    assert not broken.ok
    assert broken.jobs["use"].result == "failure"


def test_gitlab_ci_local_carries_caches_and_artifacts(tools: Tools, tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "repo", {".gitlab-ci.yml": GITLAB})
    service = GitLab(tools, repository.path, tmp_path / "service")

    first = service.run()
    assert first.ok, first.output
    assert list(first.jobs) == ["make", "use"]
    assert first.jobs["make"].log == ""
    assert first.jobs["use"].log == "A"
    assert (first.jobs["make"].artifacts / "mlpipe-bundles" / "a.tar").read_text() == "A\n"

    second = service.run("schedule")
    assert list(second.jobs) == ["make", "use", "nightly"]
    assert second.jobs["make"].log == "HIT"
    assert second.jobs["nightly"].log == "night"

    broken = service.run(variables={"BREAK": "use"})
    assert not broken.ok
    assert broken.jobs["use"].result == "failure"

    assert service.jobs("schedule") == {"make": "on_success", "use": "on_success", "nightly": "on_success"}
    assert service.jobs("push")["nightly"] == "never"


def test_bb_run_keeps_caches_and_stops_at_a_failure(tools: Tools, tmp_path: Path) -> None:
    if reason := tools.missing.get("bb-run"):
        pytest.skip(f"bb-run: {reason}; the container tier runs the same file")
    repository = Repository.create(
        tmp_path / "repo", {"bitbucket-pipelines.yml": BITBUCKET, "README.md": "1"}
    )
    service = HostBitbucket(tools, repository.path, tmp_path / "service")

    first = service.run("branches.main")
    assert first.ok, first.output
    assert "HIT" not in first.output.splitlines()
    second = service.run("branches.main")
    assert "HIT" in second.output.splitlines()

    repository.write({"README.md": "2"})
    repository.commit()
    third = service.run("branches.main")
    assert third.ok
    assert "HIT" not in third.output.splitlines(), "the cache's key is the content of README.md"

    bad = service.run("custom.bad")
    assert not bad.ok
    assert "before" in bad.output.splitlines()
    assert not {"after", "later"} & set(bad.output.splitlines())


@pytest.mark.containers
@pytest.mark.timeout(600)
def test_pipeline_runner_isolates_steps(tools: Tools, docker_host: str, tmp_path: Path) -> None:
    containers.provide(tools, ["python:3.11"])
    repository = Repository.create(
        tmp_path / "repo", {"bitbucket-pipelines.yml": BITBUCKET, "README.md": "1"}
    )
    service = ContainerBitbucket(tools, repository.path, tmp_path / "service", docker_host)
    assert service.parse() == ""

    first = service.run("branches.main")
    assert first.ok, first.output
    assert "A" in first.output.splitlines()
    second = service.run("branches.main")
    assert second.ok, second.output
    assert "HIT" in second.output.splitlines()

    bad = service.run("custom.bad")
    assert not bad.ok
    assert "before" in bad.output.splitlines()
    assert not {"after", "later"} & set(bad.output.splitlines())


def test_a_process_that_ignores_sigterm_ends_at_its_limit(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        process.run([sys.executable, "-c", stubborn], cwd=tmp_path, env={}, timeout=1)
