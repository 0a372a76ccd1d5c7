"""`mlpipec build`, as a person calls it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlflowc.compile import compile_text
from mlflowc.diagnostic import Check
from mlflowc.jobs.lower import lower_all
from mlflowc.span import Span
from mlflowc.target import TARGETS, Settings, load, read_header
from tests.support.loader import MemoryLoader
from tests.support.project import PIPELINE, Checkout, new

WORKFLOWS = [f".github/workflows/demo-{e}.yml" for e in ("manual", "pull-request", "push-main", "schedule-1")]
OTHERS = [".gitlab-ci.yml", "Makefile", "bitbucket-pipelines.yml"]


@pytest.fixture
def here(tmp_path: Path) -> Checkout:
    return new(tmp_path / "demo")


def made(here: Checkout) -> list[str]:
    """The generated files that are there."""
    found = [p.relative_to(here.path).as_posix() for p in here.path.rglob("*") if p.is_file()]
    ours = (f for f in found if not {".git", ".mlpipe"} & set(f.split("/")))
    return sorted(f for f in ours if read_header(here.read(f)))


def test_all_targets_and_again_only_those(here: Checkout) -> None:
    said = here.mlpipec("build", "--target", "github", "--target", "make")
    assert made(here) == sorted([*WORKFLOWS, "Makefile"])
    assert "written Makefile" in said.out
    again = here.mlpipec("build")
    assert again.out.count("unchanged") == 5 and "gitlab" not in again.out
    here.mlpipec("build", "--target", "all")
    assert made(here) == sorted([*WORKFLOWS, *OTHERS])
    assert "up to date: github, gitlab, bitbucket, make" in here.mlpipec("build", "--check").out


def test_jobs_that_would_install_another_tool_than_this_one(here: Checkout) -> None:
    """The tests' mlpipec comes from a checkout, and no package index has that."""
    assert "say what they install with ci { install" in here.mlpipec("build", "--target", "gitlab").out
    assert "say what they install" not in here.mlpipec("build", "--target", "make").out
    with (here.path / "pipeline.mlpipe").open("a") as file:
        file.write('ci { install = "wheels/mlflowc.whl" }\n')
    said = here.mlpipec("build", "--target", "gitlab").out
    assert "say what they install" not in said
    assert "note: the jobs install `wheels/mlflowc.whl`, and the repository has no such file" in said
    here.write({"wheels/mlflowc.whl": ""})
    assert "no such file" not in here.mlpipec("build", "--target", "gitlab").out


def test_without_a_target_there_must_be_files(here: Checkout) -> None:
    assert "--target github" in here.mlpipec("build", code=2).err


def test_the_header_says_how_to_make_it_again(here: Checkout) -> None:
    here.mlpipec("build", "--target", "gitlab")
    head = here.read(".gitlab-ci.yml").splitlines()[:2]
    assert "from pipeline.mlpipe (pipeline demo, target gitlab)" in head[0]
    assert head[1].endswith("mlpipec build --target gitlab")


def test_stdout_writes_nothing(here: Checkout) -> None:
    said = here.mlpipec("build", "--target", "bitbucket", "--stdout")
    assert "# === bitbucket-pipelines.yml" in said.out and "pipelines:" in said.out
    assert made(here) == []


def test_check_names_what_is_wrong_and_the_command_that_mends_it(here: Checkout) -> None:
    here.mlpipec("build", "--target", "github")
    here.replace(WORKFLOWS[0], "timeout-minutes: 30", "timeout-minutes: 31")
    (here.path / WORKFLOWS[1]).unlink()
    said = here.mlpipec("build", "--check", "--target", "github", code=1)
    assert f"{WORKFLOWS[0]} was edited by hand" in said.err
    assert f"{WORKFLOWS[1]} is missing" in said.err
    assert "mlpipec build --target github --force" in said.err
    assert not (here.path / WORKFLOWS[1]).exists(), "a check changes nothing"
    assert "was edited by hand" in here.mlpipec("build", code=1).err
    here.mlpipec("build", "--force")
    here.replace("pipeline.mlpipe", "17 3 * * *", "18 3 * * *")
    said = here.mlpipec("build", "--check", code=1)
    assert f"{WORKFLOWS[3]} is out of date" in said.err and "--force" not in said.err
    here.mlpipec("build")
    here.mlpipec("build", "--check")


def test_an_event_that_is_gone_takes_its_file_along(here: Checkout) -> None:
    here.mlpipec("build", "--target", "github")
    here.replace("pipeline.mlpipe", 'on schedule("17 3 * * *") { run = [train] }\n', "")
    assert "belongs to an event that is gone" in here.mlpipec("build", "--check", code=1).err
    assert f"removed {WORKFLOWS[3]}" in here.mlpipec("build").out
    assert made(here) == WORKFLOWS[:3]


def test_line_ends_changed_by_a_checkout_are_no_edit(here: Checkout) -> None:
    here.mlpipec("build", "--target", "gitlab")
    path = here.path / ".gitlab-ci.yml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    here.mlpipec("build", "--check")


@pytest.mark.parametrize("name", [WORKFLOWS[0], ".gitlab-ci.yml", "bitbucket-pipelines.yml"])
def test_a_file_of_somebody_else_is_never_overwritten(here: Checkout, name: str) -> None:
    here.write({name: "mine: true\n"})
    said = here.mlpipec("build", "--target", "all", code=1)
    assert f"{name} was not generated by mlpipec" in said.err and "--force" in said.err
    assert here.read(name) == "mine: true\n" and made(here) == []
    here.mlpipec("build", "--target", "all", "--force")
    assert name in made(here)


def test_a_makefile_of_ones_own_stays(here: Checkout) -> None:
    here.write({"Makefile": "all:\n"})
    said = here.mlpipec("build", "--target", "make")
    assert here.read("Makefile") == "all:\n" and made(here) == ["mlpipe.mk"]
    assert "include mlpipe.mk" in said.out
    here.mlpipec("build", "--check", "--target", "make")


def test_a_project_in_a_subfolder_under_another_name(tmp_path: Path) -> None:
    top = new(tmp_path / "top")
    top.write({"ml/demo/a.mlpipe": PIPELINE, "ml/demo/b.mlpipe": PIPELINE, "ml/demo/source.txt": "a\n"})
    top.write({"ml/demo/params.yaml": "train: {epochs: 8}\n"})
    inner = Checkout(top.path / "ml/demo")
    inner.mlpipec("build", "--target", "all", "-f", "a.mlpipe")
    assert made(top) == sorted([*WORKFLOWS, ".gitlab-ci.yml", "bitbucket-pipelines.yml", "ml/demo/Makefile"])
    assert "mlpipec -C ml/demo build --target gitlab -f a.mlpipe" in top.read(".gitlab-ci.yml")
    assert "exec train --on push-main -f a.mlpipe" in top.read(WORKFLOWS[2])
    top.mlpipec("-C", "ml/demo", "build", "--check", "-f", "a.mlpipe")
    said = inner.mlpipec("build", "--target", "gitlab", "-f", "b.mlpipe", code=1)
    assert "was generated from ml/demo/a.mlpipe" in said.err


def test_what_a_service_cannot_do_is_shown_at_its_place(here: Checkout) -> None:
    here.replace("pipeline.mlpipe", '  gitlab    = ["gpu"]\n', "")
    said = here.mlpipec("build", "--target", "gitlab", code=1)
    assert "error[MLP530]: runner `gpu` wants a GPU and has no `gitlab` labels" in said.err
    assert re.search(r"pipeline\.mlpipe:7:\d+", said.err) and "runner gpu {" in said.err
    assert made(here) == []
    here.mlpipec("build", "--target", "github")


def test_without_events_there_is_only_a_makefile(here: Checkout) -> None:
    text = here.read("pipeline.mlpipe")
    here.write({"pipeline.mlpipe": text[: text.index("on pull_request")].replace("publish", "publish2")})
    assert "has no event" in here.mlpipec("build", "--target", "github", code=1).err
    here.mlpipec("build", "--target", "make")


@pytest.mark.parametrize("flags", [("--check", "--stdout"), ("--check", "--force"), ("--target", "gitea")])
def test_wrong_usage(here: Checkout, flags: tuple[str, ...]) -> None:
    here.mlpipec("build", *flags, code=2)


def findings(source: str) -> set[str]:
    """The codes of what is wrong with a source, at any service."""
    compiled = compile_text("pipeline.mlpipe", source, MemoryLoader({}))
    assert compiled.pipeline is not None, [d.message for d in compiled.diagnostics]
    chosen = Settings("1.2.3", lambda p: Span(p.file, 0, 1))
    flows = lower_all(compiled.pipeline)
    return {d.code for name in TARGETS for d in load(name).emit(flows, compiled.pipeline, chosen)[1]}


CHECKS = {check.code: check for name in TARGETS for check in load(name).CHECKS}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_check_finds_its_own_example_and_not_the_mended_one(check: Check) -> None:
    fails, mended = re.findall(r"```mlpipe[^\n]*\n(.*?)```", check.explanation, re.DOTALL)
    assert check.code in findings(fails)
    assert check.code not in findings(mended)
