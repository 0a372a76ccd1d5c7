"""Other people's judges over the generated files of every golden case and example."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.e2e import services
from tests.e2e.harness.bitbucket import ContainerBitbucket, HostBitbucket
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.lint import Linters
from tests.e2e.harness.repository import Repository
from tests.e2e.harness.tools import Tools

pytestmark = pytest.mark.e2e

CASES = {
    path.parent.name: path
    for pattern in ("tests/cases/ok/*/*.mlpipe", "examples/*/*.mlpipe", "tests/e2e/project/*.mlpipe")
    for path in sorted(CHECKOUT.glob(pattern))
}

_MADE = (".mlpipe", ".github", ".gitlab-ci.yml", "bitbucket-pipelines.yml", "Makefile", "mlpipe.mk")


@dataclass(frozen=True, slots=True)
class Generated:
    """The repositories of the cases with their generated files, and those files by service."""

    repositories: dict[str, Repository]
    github: list[Path]
    gitlab: list[Path]
    bitbucket: list[Path]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    """Every case, built for every service that can express it."""
    base = tmp_path_factory.mktemp("generated")
    repositories = {}
    for name, source in CASES.items():
        folder = base / name
        shutil.copytree(source.parent, folder, ignore=shutil.ignore_patterns(*_MADE))
        for target in ("github", "gitlab", "bitbucket"):
            # A case may show what one of the services cannot do: then there is no file, and nothing to judge.
            services.mlpipec(folder, "build", "--target", target, "-f", source.name)
        repositories[name] = Repository.create(folder)
    return Generated(
        repositories,
        sorted(base.glob("*/.github/workflows/*.yml")),
        sorted(base.glob("*/.gitlab-ci.yml")),
        sorted(base.glob("*/bitbucket-pipelines.yml")),
    )


@pytest.fixture(scope="module")
def linters(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Linters:
    return Linters(tools, tmp_path_factory.mktemp("home"))


def test_most_cases_are_built(generated: Generated) -> None:
    assert len(CASES) > 2
    for files in (generated.github, generated.gitlab, generated.bitbucket):
        assert len({file.relative_to(file.parents[2]) for file in files}) > len(CASES) / 2


def test_github_takes_its_files(linters: Linters, generated: Generated) -> None:
    assert linters.workflow_parser(generated.github) == ""


def test_actionlint_and_shellcheck(linters: Linters, generated: Generated) -> None:
    assert linters.actionlint(generated.github) == ""


def test_zizmor(linters: Linters, generated: Generated) -> None:
    assert linters.zizmor(generated.github) == ""


@pytest.mark.parametrize(
    ("schema", "service"),
    [("github-workflows", "github"), ("gitlab-ci", "gitlab"), ("bitbucket-pipelines", "bitbucket")],
)
def test_published_schemas(schema: str, service: str, linters: Linters, generated: Generated) -> None:
    assert linters.schema(schema, getattr(generated, service)) == ""


def test_gitlab_ci_verify(linters: Linters, generated: Generated) -> None:
    found = {file: linters.gitlab_ci_verify(file) for file in generated.gitlab}
    assert {file: text for file, text in found.items() if text} == {}


def test_gitlab_ci_local_takes_the_chain_of_needs(tools: Tools, generated: Generated, tmp_path: Path) -> None:
    for file in generated.gitlab:
        gitlab = GitLab(tools, file.parent, tmp_path)
        text = file.read_text()
        for source in ("push", "merge_request_event", "web"):
            # What no rule names starts no job.
            if source in text:
                assert gitlab.validate(source) == "", file


def test_the_bitbucket_runners_parse_their_files(tools: Tools, generated: Generated, tmp_path: Path) -> None:
    for file in generated.bitbucket:
        # pipeline-runner knows no `condition.state`, by which a step is skipped when its results are cached.
        if "state: RUN_" not in file.read_text():
            assert ContainerBitbucket(tools, file.parent, tmp_path, "unix:///nowhere").parse() == "", file
        if "bb-run" not in tools.missing:
            assert HostBitbucket(tools, file.parent, tmp_path).validate() == "", file


# --- the judges see what is wrong: one bad file for each

BAD_WORKFLOW = """\
name: bad
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    needs: nobody
    steps:
      - uses: actions/checkout@v4
      - run: echo ${{ github.event.head_commit.message }} $unquoted
"""


@pytest.mark.parametrize("judge", ["workflow_parser", "actionlint", "zizmor"])
def test_judges_of_workflows_see_a_bad_one(judge: str, linters: Linters, tmp_path: Path) -> None:
    file = tmp_path / ".github" / "workflows" / "bad.yml"
    file.parent.mkdir(parents=True)
    file.write_text(BAD_WORKFLOW)
    assert "bad.yml" in getattr(linters, judge)([file])


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("github-workflows", "on: push\njobs: []\n"),
        ("gitlab-ci", "job: {script: 7}\n"),
        ("bitbucket-pipelines", "pipelines: {default: 7}\n"),
    ],
)
def test_schemas_see_a_bad_file(schema: str, text: str, linters: Linters, tmp_path: Path) -> None:
    file = tmp_path / "bad.yml"
    file.write_text(text)
    assert "bad.yml" in linters.schema(schema, [file])


def test_judges_of_gitlab_files_see_a_bad_one(tools: Tools, linters: Linters, tmp_path: Path) -> None:
    bad = "a:\n  script: ['[ $x = 1 ]']\nb:\n  script: ['true']\n  needs: [nobody]\n"
    repository = Repository.create(tmp_path / "repo", {".gitlab-ci.yml": bad})
    assert "SC-2086" in linters.gitlab_ci_verify(repository.path / ".gitlab-ci.yml")
    assert GitLab(tools, repository.path, tmp_path / "state").validate() != ""


def test_judges_of_bitbucket_files_see_a_bad_one(tools: Tools, tmp_path: Path) -> None:
    repository = Repository.create(
        tmp_path / "repo", {"bitbucket-pipelines.yml": "pipelines: {default: 7}\n"}
    )
    assert ContainerBitbucket(tools, repository.path, tmp_path / "a", "unix:///nowhere").parse() != ""
    if "bb-run" not in tools.missing:
        assert HostBitbucket(tools, repository.path, tmp_path / "b").validate() != ""


def test_vendored_schemas_are_what_they_say() -> None:
    listed = sorted((CHECKOUT / "backends" / "schemas").glob("*.sha256"))
    assert listed
    for file in listed:
        done = subprocess.run(
            ["sha256sum", "--check", file.name], cwd=file.parent, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
