"""`bitbucket-pipelines.yml`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mlflowc.backends.bitbucket_rules import verify

from mlflowc.ir.model import EventInput, ScalarType
from tests.support.ir import digits, event, pipeline, place, stage
from tests.unit.backends.emitting import emit, one


def steps(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The steps of a pipeline by name, in order."""
    found: list[dict[str, Any]] = []
    for item in items:
        found += [s["step"] for s in item["parallel"]["steps"]] if "parallel" in item else []
        found += [item["step"]] if "step" in item else []
    return {s["name"]: s for s in found}


def test_jobs_run_nothing_but_exec() -> None:
    main = steps(one("bitbucket", digits())["pipelines"]["branches"]["main"])
    assert list(main) == ["plan", "load, prepare, features", "train", "evaluate", "quality", "publish"]
    assert [line for line in main["train"]["script"] if "mlpipec exec" in line] == [
        "mlpipec exec train --on push-main"
    ]


def test_events_have_their_sections() -> None:
    made = one("bitbucket", digits())["pipelines"]
    assert {name: list(section) for name, section in made.items()} == {
        "branches": ["main"],
        "custom": ["schedule-1", "manual"],
        "pull-requests": ["**"],
    }


def test_a_gpu_starts_only_for_a_miss() -> None:
    main = steps(one("bitbucket", digits())["pipelines"]["branches"]["main"])
    assert main["plan"]["output-variables"] == ["RUN_TRAIN"]
    assert main["plan"]["caches"] == ["mlpipe-digits-train"]
    assert main["train"]["condition"]["state"] == "RUN_TRAIN == true"
    assert main["train"]["runs-on"] == ["self.hosted", "linux", "gpu"]
    own = ["mlpipe-digits-evaluate", "mlpipe-digits-evaluate-earlier"]
    assert main["evaluate"]["caches"] == [*own, "mlpipe-digits-train"]
    assert "condition" not in main["evaluate"]


def test_what_is_cached_and_what_is_handed_over_never_meet() -> None:
    made = one("bitbucket", digits())
    train = steps(made["pipelines"]["branches"]["main"])["train"]
    assert train["artifacts"] == ["mlpipe-bundles/train.tar"]
    assert made["definitions"]["caches"]["mlpipe-digits-train"]["path"] == "mlpipe-bundles/cached/train"


def test_an_earlier_result_is_there_to_start_from_when_a_parameter_changes() -> None:
    earlier = one("bitbucket", digits())["definitions"]["caches"]["mlpipe-digits-train-earlier"]
    assert earlier == {"key": {"files": ["pipeline.mlpipe"]}, "path": "mlpipe-bundles/earlier/train"}


def test_a_cache_is_new_when_a_file_changes_that_decides() -> None:
    files = one("bitbucket", digits())["definitions"]["caches"]["mlpipe-digits-train"]["key"]["files"]
    assert {"pipeline.mlpipe", "params.yaml", "requirements.txt", "src/load.py", "**/*.py"} <= set(files)


def test_independent_jobs_are_side_by_side_and_levels_are_barriers() -> None:
    flow = pipeline(
        stage("a"),
        stage("b", "a.out"),
        stage("c", "a.out"),
        stage("d", "b.out", "c.out"),
        events=(event("push", "d"),),
    )
    items = one("bitbucket", flow)["pipelines"]["branches"]["**"]
    shape = [
        [s["step"]["name"] for s in i["parallel"]["steps"]] if "parallel" in i else i["step"]["name"]
        for i in items
    ]
    assert shape == ["plan", "a", ["b", "c"], "d"]
    assert any("levels" in note for note in emit("bitbucket", flow)[0].notes)


def test_an_approval_is_a_manual_deployment_and_never_first() -> None:
    main = list(steps(one("bitbucket", digits())["pipelines"]["branches"]["main"]).values())
    assert [s["name"] for s in main if s.get("trigger") == "manual"] == ["publish"]
    assert main[-1]["deployment"] == "production"


def test_what_a_person_sets() -> None:
    asked = (EventInput("train.epochs", ScalarType("int"), 10), EventInput("fast", ScalarType("bool"), False))
    flow = pipeline(stage("a"), events=(event("manual", "a", inputs=asked),))
    variables = one("bitbucket", flow)["pipelines"]["custom"]["manual"][0]["variables"]
    assert [(v["name"], v["default"]) for v in variables] == [
        ("MLPIPE_INPUT_TRAIN_EPOCHS", "10"),
        ("MLPIPE_INPUT_FAST", "false"),
    ]
    assert variables[1]["allowed-values"] == ["true", "false"]


def test_a_pull_request_by_destination_is_a_trigger() -> None:
    flow = pipeline(stage("a"), events=(event("pull_request", "a", pattern="main"),))
    made = one("bitbucket", flow)
    assert made["triggers"]["pullrequest-push"] == [
        {"condition": 'BITBUCKET_PR_DESTINATION_BRANCH == "main"', "pipelines": ["pull-request"]}
    ]
    assert list(made["pipelines"]) == ["custom"]


def test_memory_chooses_the_size() -> None:
    from mlflowc.ir.model import Runner

    flow = pipeline(
        stage("a", runner="big"),
        runners=(Runner("big", place(), memory=12 * 1024**3),),
        events=(event("push", "a"),),
    )
    assert steps(one("bitbucket", flow)["pipelines"]["branches"]["**"])["a"]["size"] == "4x"


def test_a_project_in_a_subfolder() -> None:
    made = one("bitbucket", digits(), folder="ml/digits")
    train = steps(made["pipelines"]["branches"]["main"])["train"]
    assert train["script"][0] == "cd ml/digits"
    assert train["artifacts"] == ["ml/digits/mlpipe-bundles/train.tar"]
    assert (
        made["definitions"]["caches"]["mlpipe-digits-train"]["path"]
        == "ml/digits/mlpipe-bundles/cached/train"
    )


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("max-time: 30", "max-time: 99999", "max-time 99999"),
        ("max-time: 30", "max-tme: 30", "unknown key max-tme"),
        ("caches: [mlpipe-digits-train]", "caches: [other]", "cache other is not defined"),
        ("state: RUN_TRAIN == true", "state: RUN_OTHER == true", "condition RUN_OTHER"),
        ("name: plan\n", "name: plan\n          trigger: manual\n", "the first step is manual"),
    ],
)
def test_our_own_check_is_strict(before: str, after: str, problem: str) -> None:
    flow = replace(digits(), events=digits().events[1:2])
    text = emit("bitbucket", flow)[0].files[0].text
    verify(text)
    assert before in text
    with pytest.raises(ValueError, match=problem):
        verify(text.replace(before, after, 1))
