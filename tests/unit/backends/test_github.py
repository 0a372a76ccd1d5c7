"""GitHub workflows."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from mlflowc.backends.limits import PINS

from mlflowc.ir.model import Cache, Ci, Column, Event, EventInput, FileType, Output, Pipeline, ScalarType
from tests.support.ir import digits, event, pipeline, stage
from tests.unit.backends.emitting import emit, github

SAME = "github.event.pull_request.head.repo.full_name == github.repository"


def steps(job: dict[str, Any], action: str) -> list[dict[str, Any]]:
    """The steps that use `action` (`cache/restore`)."""
    return [s for s in job["steps"] if f"/{action}@" in s.get("uses", "")]


def runs(job: dict[str, Any]) -> list[str]:
    """The commands of a job."""
    return [s["run"] for s in job["steps"] if "run" in s]


def with_event(e: Event) -> Pipeline:
    return pipeline(stage("a"), events=(e,))


def test_jobs_run_nothing_but_exec() -> None:
    flow = github(digits(), "pull-request")
    install = "uv tool install --quiet --python 3.11 mlflowc==1.2.3"
    plan = 'mlpipec exec plan --on pull-request --outputs "$GITHUB_OUTPUT" --format github'
    assert runs(flow["jobs"]["plan"]) == [install, "mlpipec build --target github --check", plan]
    assert runs(flow["jobs"]["features"]) == [install, "mlpipec exec features --on pull-request"]


def test_a_job_that_checks_parquet_files_gets_what_reads_them() -> None:
    typed = FileType("parquet", (Column("id", ScalarType("int")),))
    made = replace(stage("a"), outputs=(Output("table", typed, "table.parquet"),))
    text = replace(stage("b"), outputs=(Output("table", replace(typed, kind="csv"), "table.csv"),))
    flow = github(pipeline(made, text, events=(event("manual", "a", "b"),)), "manual")
    install = "uv tool install --quiet --python 3.11"
    assert runs(flow["jobs"]["a"])[0] == f"{install} 'mlflowc[data]==1.2.3'"
    assert runs(flow["jobs"]["b"])[0] == f"{install} mlflowc==1.2.3"


@pytest.mark.parametrize("kind", ["pull-request", "push-main", "schedule-1", "manual"])
def test_secure_by_construction(kind: str) -> None:
    flow = github(digits(), kind)
    assert flow["permissions"] == {}
    assert flow["concurrency"]["cancel-in-progress"] == (kind == "pull-request")
    for name, job in flow["jobs"].items():
        posts = kind == "pull-request" and name == "check"
        writes = {"pull-requests": "write", "statuses": "write"} if posts else {}
        assert job["permissions"] == {"contents": "read", **writes}
        tokens = [s for s in job["steps"] if "GITHUB_TOKEN" in s.get("env", {})]
        assert [s["env"] for s in tokens] == ([{"GITHUB_TOKEN": "${{ github.token }}"}] if posts else [])
        assert 0 < job["timeout-minutes"] <= 480
        assert steps(job, "checkout")[0]["with"]["persist-credentials"] is False
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            if "uses" in step:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"])


def test_every_pin_has_its_version_beside_it() -> None:
    (file, *_), _ = emit("github", digits())[0]
    used = set(re.findall(r"\buses: (.+)", file.text))
    assert used == {str(p) for p in PINS.values()}


def test_a_gpu_starts_only_for_a_miss_and_never_for_a_fork() -> None:
    jobs = github(digits(), "pull-request")["jobs"]
    (lookup,) = steps(jobs["plan"], "cache/restore")
    assert lookup["with"]["lookup-only"] is True
    assert jobs["plan"]["outputs"]["run-train"] == "${{ steps.lookup-train.outputs.cache-hit != 'true' }}"
    assert jobs["train"]["if"] == f"${{{{ needs.plan.outputs.run-train == 'true' && {SAME} }}}}"
    assert jobs["train"]["runs-on"] == ["self-hosted", "gpu"]
    assert jobs["evaluate"]["if"] == "${{ !cancelled() && !failure() }}"
    assert jobs["check"]["if"] == "${{ !cancelled() && !failure() }}"
    assert "if" not in jobs["features"]
    main = github(digits(), "push-main")["jobs"]
    assert main["train"]["if"] == "${{ needs.plan.outputs.run-train == 'true' }}"


def test_what_a_skipped_job_made_comes_from_the_cache() -> None:
    jobs = github(digits(), "pull-request")["jobs"]
    ran, features = steps(jobs["evaluate"], "download-artifact")
    assert ran["if"] == "${{ needs.train.result == 'success' }}"
    assert "if" not in features
    _, cached = steps(jobs["evaluate"], "cache/restore")
    assert cached["if"] == "${{ needs.train.result == 'skipped' }}"
    assert cached["with"] == {
        "path": "mlpipe-bundles/train.tar",
        "key": "${{ needs.plan.outputs.key-train }}",
    }


def test_one_content_derived_key_a_job_saved_on_a_miss_only() -> None:
    job = github(digits(), "pull-request")["jobs"]["features"]
    (restore,) = steps(job, "cache/restore")
    (save,) = steps(job, "cache/save")
    assert restore["with"]["key"] == save["with"]["key"] == "${{ needs.plan.outputs.key-features }}"
    assert restore["with"]["restore-keys"] == "mlpipe-digits-features-"
    assert save["if"] == "${{ steps.cache.outputs.cache-hit != 'true' }}"


def test_hand_over_is_not_hidden_and_must_be_there() -> None:
    job = github(digits(), "pull-request")["jobs"]["features"]
    (upload,) = steps(job, "upload-artifact")
    assert upload["with"]["path"] == "mlpipe-bundles/features.tar"
    assert upload["with"]["if-no-files-found"] == "error"


def test_gates_and_reports_have_the_history_and_keep_the_page() -> None:
    job = github(digits(), "pull-request")["jobs"]["check"]
    assert steps(job, "checkout")[0]["with"]["fetch-depth"] == 0
    (upload,) = steps(job, "upload-artifact")
    assert upload["if"] == "${{ !cancelled() }}"


def test_an_action_waits_for_approval_and_has_its_secret_in_one_step() -> None:
    job = github(digits(), "push-main")["jobs"]["publish"]
    assert job["environment"] == "production"
    assert job["needs"] == ["plan", "train", "check"]
    with_env = [s for s in job["steps"] if "env" in s]
    assert [(s["run"], s["env"]) for s in with_env] == [
        ("mlpipec exec publish --on push-main", {"HF_TOKEN": "${{ secrets.HF_TOKEN }}"})
    ]


def test_credentials_of_the_remote_go_to_what_asks_it_and_never_to_a_fork() -> None:
    names = ("AWS_SECRET_ACCESS_KEY", "MLPIPEC_SIGNING_KEY")
    flow = replace(digits(), cache=Cache("s3://bucket/x", secrets=names))
    push = github(flow, "push-main")["jobs"]
    secret = {"AWS_SECRET_ACCESS_KEY": "${{ secrets.AWS_SECRET_ACCESS_KEY }}"}
    signs = {"MLPIPEC_SIGNING_KEY": "${{ secrets.MLPIPEC_SIGNING_KEY }}"}
    for id, job in push.items():
        (env,) = [s["env"] for s in job["steps"] if "mlpipec exec" in s.get("run", "")]
        assert env.items() >= secret.items()
        assert (env.items() >= signs.items()) == (id not in ("plan", "check", "publish")), id
    for job in github(flow, "pull-request")["jobs"].values():
        for step in job["steps"]:
            assert "MLPIPEC_SIGNING_KEY" not in step.get("env", {})
            value = step.get("env", {}).get("AWS_SECRET_ACCESS_KEY")
            assert value in (None, f"${{{{ {SAME} && secrets.AWS_SECRET_ACCESS_KEY || '' }}}}")


def test_a_job_whose_results_are_in_the_remote_is_not_started() -> None:
    flow = replace(digits(), cache=Cache("s3://bucket/x"))
    outputs = github(flow, "push-main")["jobs"]["plan"]["outputs"]
    runs = [v for k, v in outputs.items() if k.startswith("run-")]
    assert runs
    assert all("steps.plan.outputs.remote-" in v for v in runs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (event("pull_request", "a"), {"pull_request": {}}),
        (event("pull_request", "a", pattern="main"), {"pull_request": {"branches": ["main"]}}),
        (event("push", "a", pattern="release/*"), {"push": {"branches": ["release/*"]}}),
        (event("push", "a"), {"push": {"branches": ["**"]}}),
        (event("push", "a", paths=("src/**",)), {"push": {"branches": ["**"], "paths": ["src/**"]}}),
        (event("tag", "a", pattern="v*"), {"push": {"tags": ["v*"]}}),
        (
            event("schedule", "a", cron="17 3 * * *", zone="Europe/Paris"),
            {"schedule": [{"cron": "17 3 * * *", "timezone": "Europe/Paris"}]},
        ),
        (event("manual", "a"), {"workflow_dispatch": {}}),
    ],
)
def test_triggers(given: Event, expected: dict[str, Any]) -> None:
    assert github(with_event(given), given.id)["on"] == expected


def test_what_a_person_sets_travels_in_the_environment() -> None:
    asked = (
        EventInput("train.epochs", ScalarType("int"), 10),
        EventInput("kind", ScalarType("enum", values=("a", "b: c")), "a"),
        EventInput("fast", ScalarType("bool"), False),
        EventInput("note", ScalarType("str"), "${{ github.token }}"),
    )
    flow = github(with_event(event("manual", "a", inputs=asked)), "manual")
    inputs = flow["on"]["workflow_dispatch"]["inputs"]
    assert {n: (i["type"], i["default"]) for n, i in inputs.items()} == {
        "train-epochs": ("number", 10),
        "kind": ("choice", "a"),
        "fast": ("boolean", False),
        "note": ("string", ""),
    }
    assert inputs["kind"]["options"] == ["a", "b: c"]
    assert flow["env"]["MLPIPE_INPUT_TRAIN_EPOCHS"] == "${{ inputs.train-epochs }}"


@pytest.mark.parametrize(
    ("given", "cached"),
    [
        (event("tag", "a", pattern="v*"), False),
        (event("push", "a", pattern="release/*"), False),
        (event("push", "a", pattern="main"), True),
        (event("pull_request", "a"), True),
    ],
)
def test_no_download_from_a_cache_gets_into_a_release(given: Event, cached: bool) -> None:
    jobs = github(with_event(given), given.id)["jobs"].values()
    assert all(steps(j, "setup-uv")[0]["with"]["enable-cache"] is cached for j in jobs)


def test_a_project_in_a_subfolder() -> None:
    flow = digits()
    flow = replace(flow, ci=replace(flow.ci, install="dist/mlflowc.whl", python="3.12"))
    made = github(flow, "pull-request", folder="ml/digits", file="d.mlpipe")
    assert made["defaults"]["run"]["working-directory"] == "ml/digits"
    job = made["jobs"]["features"]
    assert runs(job) == [
        "uv tool install --quiet --python 3.12 ../../dist/mlflowc.whl",
        "mlpipec exec features --on pull-request -f d.mlpipe",
    ]
    assert steps(job, "upload-artifact")[0]["with"]["path"] == "ml/digits/mlpipe-bundles/features.tar"
    paths = event("push", "train", paths=("src/**",))
    assert github(replace(flow, events=(paths,)), "push", folder="ml/digits")["on"]["push"]["paths"] == [
        "ml/digits/src/**"
    ]


def test_large_files() -> None:
    flow = digits()
    job = github(flow, "pull-request", lfs=True)["jobs"]["plan"]
    assert steps(job, "checkout")[0]["with"]["lfs"] is True


def test_text_of_the_source_never_becomes_an_expression() -> None:
    flow = pipeline(stage("a[${{ secrets.X }}]"), events=(event("push", "a"),))
    emission, _ = emit("github", flow)
    assert "${{ secrets.X" not in emission.files[0].text


def test_a_pull_request_is_written_to_as_the_file_says() -> None:
    def check(**switches: bool) -> tuple[str, set[str]]:
        job = github(replace(digits(), ci=Ci(**switches)), "pull-request")["jobs"]["check"]
        (command,) = (c for c in runs(job) if "exec" in c)
        return command.rpartition("pull-request")[2], set(job["permissions"])

    assert check() == (" --post", {"contents", "pull-requests", "statuses"})
    assert check(statuses=False) == (" --post", {"contents", "pull-requests"})
    assert check(comments=False) == (" --post", {"contents", "statuses"})
    assert check(comments=False, statuses=False) == ("", {"contents"})


def test_only_a_pull_request_is_written_to() -> None:
    for kind in ("push-main", "schedule-1"):
        assert not [c for j in github(digits(), kind)["jobs"].values() for c in runs(j) if "--post" in c]


@pytest.mark.parametrize(("target", "token"), [("gitlab", "GITLAB_TOKEN"), ("bitbucket", "BITBUCKET_TOKEN")])
def test_the_token_that_has_to_be_made_is_named(target: str, token: str) -> None:
    def named(made: Pipeline) -> list[str]:
        emission, _ = emit(target, made)
        return [n for n in emission.notes if token in n]

    assert len(named(digits())) == 1
    assert named(replace(digits(), ci=Ci(comments=False, statuses=False))) == []
    assert (
        named(replace(digits(), events=tuple(e for e in digits().events if e.kind != "pull_request"))) == []
    )
