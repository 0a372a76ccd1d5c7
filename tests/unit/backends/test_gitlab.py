"""`.gitlab-ci.yml`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlflowc.ir.model import Event, EventInput, ScalarType
from tests.support.ir import digits, event, pipeline, stage
from tests.unit.backends.emitting import emit, one

SOURCE = "$CI_PIPELINE_SOURCE"


def needs(job: dict[str, Any]) -> dict[str, bool]:
    """The jobs it waits for, and whether it takes what they made."""
    return {n["job"]: n["artifacts"] for n in job["needs"]}


def test_jobs_run_nothing_but_exec() -> None:
    made = one("gitlab", digits())
    assert made["pull-request:plan"]["script"] == [
        "mlpipec build --target gitlab --check",
        "mlpipec exec plan --on pull-request",
    ]
    assert made["pull-request:train"]["script"] == ["mlpipec exec train --on pull-request"]
    assert made[".mlpipe"]["image"] == "python:3.11"


def test_a_job_waits_for_and_takes_what_it_reads() -> None:
    made = one("gitlab", digits())
    assert needs(made["pull-request:evaluate"]) == {
        "pull-request:plan": False,
        "pull-request:train": True,
        "pull-request:features": True,
    }
    assert made["pull-request:train"]["tags"] == ["gpu"]
    assert made["pull-request:train"]["timeout"] == "480m"


def test_results_are_kept_a_branch_and_taken_from_the_main_one() -> None:
    job = one("gitlab", digits())["push-main:features"]
    assert job["cache"]["key"] == "mlpipe-digits-features-$CI_COMMIT_REF_SLUG"
    assert job["cache"]["fallback_keys"] == ["mlpipe-digits-features-main"]
    assert job["cache"]["paths"] == job["artifacts"]["paths"] == ["mlpipe-bundles/features.tar"]
    assert "/" not in job["cache"]["key"]


def test_only_infrastructure_is_tried_again() -> None:
    retry = one("gitlab", digits())[".mlpipe"]["retry"]
    assert retry["max"] == 2
    assert not {"script_failure", "always", "unknown_failure"} & set(retry["when"])


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        (event("pull_request", "a"), f'{SOURCE} == "merge_request_event"'),
        (
            event("pull_request", "a", pattern="main"),
            f'{SOURCE} == "merge_request_event" && $CI_MERGE_REQUEST_TARGET_BRANCH_NAME == "main"',
        ),
        (event("push", "a", pattern="main"), f'{SOURCE} == "push" && $CI_COMMIT_BRANCH == "main"'),
        (
            event("push", "a", pattern="release/*"),
            f'{SOURCE} == "push" && $CI_COMMIT_BRANCH =~ /^release\\/[^\\/]*$/',
        ),
        (event("tag", "a", pattern="v*"), f'{SOURCE} == "push" && $CI_COMMIT_TAG =~ /^v[^\\/]*$/'),
        (
            event("schedule", "a", id="schedule-1", cron="17 3 * * *"),
            f'{SOURCE} == "schedule" && $MLPIPE_SCHEDULE == "schedule-1"',
        ),
        (event("manual", "a"), f'({SOURCE} == "web" || {SOURCE} == "api" || {SOURCE} == "trigger")'),
    ],
)
def test_when_the_jobs_of_an_event_exist(given: Event, condition: str) -> None:
    made = one("gitlab", pipeline(stage("a"), events=(given,)))
    assert made["workflow"]["rules"] == [{"if": condition}]
    assert made[f"{given.id}:a"]["rules"] == [{"if": condition}]


def test_a_merge_request_has_one_pipeline() -> None:
    events = (event("pull_request", "a"), event("push", "a"), event("push", "a", id="main", pattern="main"))
    rules = one("gitlab", pipeline(stage("a"), events=events))["workflow"]["rules"]
    assert rules[1]["if"].endswith("&& $CI_OPEN_MERGE_REQUESTS == null")
    assert "OPEN_MERGE" not in rules[2]["if"]


def test_paths_compare_with_the_main_branch() -> None:
    given = event("push", "a", paths=("src/**",))
    made = one("gitlab", pipeline(stage("a"), events=(given,)), folder="ml")
    assert made["push:a"]["rules"][0]["changes"] == {"paths": ["ml/src/**"], "compare_to": "main"}


def test_several_manual_events_are_told_apart() -> None:
    asked = (EventInput("n", ScalarType("bool"), True), EventInput("s", ScalarType("str"), "$HOME"))
    events = (event("manual", "a", inputs=asked), event("manual", "a", id="manual-2"))
    made = one("gitlab", pipeline(stage("a"), events=events))
    assert made["variables"]["MLPIPE_EVENT"]["options"] == ["manual", "manual-2"]
    assert made["variables"]["MLPIPE_INPUT_N"]["value"] == "true"
    assert made["variables"]["MLPIPE_INPUT_S"]["value"] == "$$HOME"
    assert made["manual-2:a"]["rules"][0]["if"].endswith('&& $MLPIPE_EVENT == "manual-2"')


def test_an_approval_is_a_manual_job_of_an_environment() -> None:
    job = one("gitlab", digits())["push-main:publish"]
    assert job["rules"][0]["when"] == "manual"
    assert job["environment"] == {"name": "production"}
    assert job["resource_group"] == "production"


def test_only_merge_requests_are_interrupted() -> None:
    made = one("gitlab", digits())
    assert made["pull-request:train"]["interruptible"] is True
    assert made[".mlpipe"]["interruptible"] is False and "interruptible" not in made["push-main:train"]


def test_more_needs_than_allowed_are_joined() -> None:
    many = [stage(f"s{n}") for n in range(120)]
    last = stage("last", *(f"s{n}.out" for n in range(120)))
    made = one("gitlab", pipeline(*many, last, events=(event("push", "last"),)))
    assert all(len(j["needs"]) <= 50 for j in made.values() if isinstance(j, dict) and "needs" in j)
    reached: set[str] = set()
    waiting = ["push:last"]
    while waiting:
        for name, artifacts in needs(made[waiting.pop()]).items():
            if "join" in name:
                assert artifacts and made[name]["artifacts"]["paths"] == ["mlpipe-bundles/"]
                waiting.append(name)
            reached.add(name)
    assert {f"push:s{n}" for n in range(120)} <= reached


def test_what_has_to_be_done_by_hand_is_said() -> None:
    emission, _ = emit("gitlab", digits())
    (note,) = [n for n in emission.notes if "17 3 * * *" in n]
    assert "Europe/Paris" in note and "MLPIPE_SCHEDULE = schedule-1" in note


def test_a_project_in_a_subfolder() -> None:
    flow = digits()
    flow = replace(flow, ci=replace(flow.ci, install="git+https://example.org/x.git@v1"))
    made = one("gitlab", flow, folder="ml/digits")
    lines = made[".mlpipe"]["before_script"]
    assert lines[0] == "cd ml/digits"
    assert "uv tool install --quiet --python 3.11 git+https://example.org/x.git@v1" in lines
    assert made["push-main:features"]["cache"]["paths"] == ["ml/digits/mlpipe-bundles/features.tar"]
