"""Pipelines with a conda environment, as a person uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc.runtime.conda.model import this_platform
from tests.support import conda, project

PIPELINE = """\
mlpipe 1

pipeline packages

env py { conda = "environment.yml" }

stage a {
  env = py
  out x = "out/a.txt"
  run = "alpha > {{x}}; echo WORKING a"
}

stage b {
  in  a.x
  env = py
  out y = "out/b.txt"
  run = "alpha | cat {{x}} - > {{y}}; echo WORKING b"
}
"""
FILE = "channels: [./channel]\ndependencies: [alpha]\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> project.Checkout:
    """A project with packages from a channel of its own."""
    monkeypatch.setenv("MLPIPEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    monkeypatch.setenv("MLPIPEC_CONDA", "rattler")
    found = project.new(tmp_path / "p", PIPELINE)
    release(found, "1.0")
    found.write({"environment.yml": FILE})
    return found


def release(made: project.Checkout, version: str) -> None:
    program = f"#!/bin/sh\necho alpha {version}\n"
    conda.package(made.path / "channel", "alpha", version, files={"bin/alpha": program})


def test_stages_run_in_it_and_share_it(made: project.Checkout, tmp_path: Path) -> None:
    assert made.mlpipec("run").worked == ["a", "b"]
    assert made.read("out/b.txt") == "alpha 1.0\nalpha 1.0\n"
    assert len([p for p in (tmp_path / "cache" / "envs").iterdir() if p.is_dir()]) == 1
    assert f"package py.{this_platform()}.alpha " in made.read("mlpipe.lock")
    assert "nothing to do" in made.mlpipec("run").out


def test_what_is_resolved_stays_on_another_machine(
    made: project.Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.mlpipec("run")
    release(made, "2.0")
    made.commit()
    other = made.clone(tmp_path / "other")
    monkeypatch.setenv("MLPIPEC_CACHE_DIR", str(tmp_path / "cache of other"))
    assert other.mlpipec("verify").code == 0
    other.mlpipec("run")
    assert other.read("out/b.txt") == "alpha 1.0\nalpha 1.0\n"


def test_a_change_of_the_file_is_seen_at_once(made: project.Checkout) -> None:
    made.mlpipec("run")
    release(made, "2.0")
    assert "nothing to do" in made.mlpipec("run").out
    made.write({"environment.yml": FILE.replace("alpha", "alpha >=2")})
    assert "environment: conda" in made.mlpipec("why", "a").out
    assert made.mlpipec("status", code=None).out.count("run") >= 1
    done = made.mlpipec("run")
    assert done.worked == ["a", "b"]
    assert made.read("out/a.txt") == "alpha 2.0\n"
    # Another file with the same result: nothing runs.
    made.write({"environment.yml": "# why\n" + FILE.replace("alpha", "alpha >1")})
    assert made.mlpipec("run").worked == []


def test_no_tool_says_how_to_get_one(made: project.Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPIPEC_CONDA", "micromamba-that-is-not-there")
    done = made.mlpipec("run", code=1)
    assert "is not there" in done.err
    assert "mlflowc[conda]" in done.err


def test_actions_run_in_it_too(made: project.Checkout) -> None:
    action = 'action say { in a.x, env = py, run = "alpha > said.txt; cat {{x}} >> said.txt" }\n'
    made.write({"pipeline.mlpipe": PIPELINE + action + "on push { run = [say] }\n"})
    made.mlpipec("exec", "a", "--on", "push")
    made.mlpipec("exec", "say", "--on", "push")
    assert made.read("said.txt") == "alpha 1.0\nalpha 1.0\n"


def test_generated_jobs_install_what_makes_it(made: project.Checkout) -> None:
    made.write({"pipeline.mlpipe": PIPELINE + "on push { run = [b] }\n"})
    for target, file in (("gitlab", ".gitlab-ci.yml"), ("bitbucket", "bitbucket-pipelines.yml")):
        made.mlpipec("build", "--target", target)
        assert "mlflowc[conda]==" in made.read(file)
    made.mlpipec("build", "--target", "github")
    assert "mlflowc[conda]==" in made.read(".github/workflows/packages-push.yml")
