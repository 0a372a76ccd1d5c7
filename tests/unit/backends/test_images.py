"""Stages that run in an image, at services whose jobs are containers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlflowc.ir.model import Env, Pipeline, Place, Runner
from tests.support.ir import event, pipeline, stage
from tests.unit.backends.emitting import emit, one

PLACE = Place("pipeline.mlpipe", 1, 1)
DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example/py@{DIGEST}"


def boxed(image: str = IMAGE, **fields: object) -> Pipeline:
    a = replace(stage("a"), env="box", **fields)  # type: ignore[arg-type]
    made = pipeline(a, stage("b"), events=(event("push", "a", "b", pattern="main"),))
    return replace(made, envs=(Env("box", PLACE, image=image),))


def steps(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (found,) = made["pipelines"]["branches"].values()
    flat = [s for item in found for s in (item.get("parallel", {}).get("steps") or [item])]
    return {s["step"]["name"]: s["step"] for s in flat if "step" in s}


def test_a_job_of_gitlab_is_in_it() -> None:
    made = one("gitlab", boxed())
    job = made["push:a"]
    assert job["image"] == {"name": IMAGE, "entrypoint": [""]}
    assert job["before_script"][0] == f"export MLPIPE_IMAGE={DIGEST}"
    assert any("uv tool install" in line for line in job["before_script"])
    assert "image" not in made["push:b"]
    assert "image" not in made["push:plan"]


def test_a_step_of_bitbucket_is_in_it() -> None:
    found = steps(one("bitbucket", boxed()))
    (inside,) = [s for s in found.values() if "image" in s]
    assert inside["image"] == IMAGE
    assert inside["script"][0] == f"export MLPIPE_IMAGE={DIGEST}"
    assert sum("MLPIPE_IMAGE" in line for s in found.values() for line in s["script"]) == 1


def test_github_starts_it_in_the_job() -> None:
    (made,) = emit("github", boxed())[0].files
    assert "image" not in made.text


@pytest.mark.parametrize("service", ["gitlab", "bitbucket"])
def test_a_machine_of_ones_own_starts_it(service: str) -> None:
    labels = {"gitlab": ("gpu",), "bitbucket": ("self.hosted", "linux")}
    runner = Runner("own", PLACE, labels=((service, labels[service]),))
    made, findings = emit(service, replace(boxed("python:3.11", runner="own"), runners=(runner,)))
    assert findings == ()
    assert "MLPIPE_IMAGE" not in made.files[0].text


@pytest.mark.parametrize("service", ["gitlab", "bitbucket"])
def test_a_tag_is_refused(service: str) -> None:
    _, findings = emit(service, boxed("python:3.11"))
    assert [f.code for f in findings] == ["MLP544"]


def test_a_tag_is_fine_where_the_lock_decides() -> None:
    assert emit("github", boxed("python:3.11"))[1] == ()
