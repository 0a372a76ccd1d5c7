"""`mlpipec report NAME --post` against servers that hold every request and answer against the services' own
descriptions of their APIs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mlflowc.report.forges import comment
from mlflowc.report.model import Document, MetricRow, Metrics, Text
from mlflowc.runtime.gate_result import GateResult, Row
from tests.e2e.forges.front import Reply
from tests.e2e.forges.known import SHA, Service, mlpipec
from tests.support import training

pytestmark = pytest.mark.e2e

PIPELINE = """\
mlpipe 1
pipeline churn
stage train {
  out scores: metrics { auc: float } = "scores.json"
  out curve: csv { epoch: int, loss: float } = "loss.csv"
  run = ["cp seed.json {{scores}}", "cp seed.csv {{curve}}"]
}
report review {
  metrics train.scores vs "main"
  plot train.curve { x = epoch, y = loss, title = "Learning curve" }
}
report short { metrics train.scores }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with results."""
    root = tmp_path_factory.mktemp("comments") / "churn"
    root.mkdir()
    (root / "pipeline.mlpipe").write_text(PIPELINE)
    (root / "seed.json").write_text('{"auc": 0.91}\n')
    (root / "seed.csv").write_text("epoch,loss\n" + "".join(f"{n},{1 / n:.3f}\n" for n in range(1, 9)))
    training.git(root, "init", "-q", "-b", "main")
    done = mlpipec(root, {}, "run")
    assert done.returncode == 0, done.stderr
    training.commit(root, "results")
    return root


def document(words: str = "AUC is fine.", name: str = "review", pipeline: str = "churn") -> Document:
    """A small report."""
    rows = (MetricRow("train", "scores", "auc", 0.91),)
    return Document(pipeline, name, (Text((words,)), Metrics(rows)))


def post(service: Service, shown: Document, token: str = "", **given: Any) -> comment.Outcome:
    """Posts without a process of its own; nobody waits."""
    waits: list[float] = []
    line = comment.connect(service.place(token, **given), wait=waits.append)
    try:
        return comment.post(line, shown)
    finally:
        line.close()


# --- the command ---------------------------------------------------------------------------------


def test_one_comment_is_written_and_then_kept_up_to_date(service: Service, trained: Path) -> None:
    first = mlpipec(trained, service.env(), "report", "review", "--post")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("report review: commented http")
    (body,) = service.rows.of(service.bot)
    assert "0.91" in body and "Learning curve" in body and "for 1f1f1f1f1" in body
    again = mlpipec(trained, service.env(), "report", "review", "--post")
    assert "the comment says that already" in again.stdout
    assert not [r for r in service.front.seen if r.method in ("PUT", "PATCH")]
    later = service.env() | {"GITHUB_RUN_ID": "100", "BITBUCKET_BUILD_NUMBER": "100"}
    later |= {"CI_JOB_URL": "https://gitlab.com/octo/churn/-/jobs/100"} if service.name == "gitlab" else {}
    third = mlpipec(trained, later, "report", "review", "--post")
    assert "report review: comment updated http" in third.stdout
    (body,) = service.rows.of(service.bot)
    assert "100" in body and "jobs/99" not in body


def test_pictures_are_at_the_service_and_nowhere_else(service: Service, trained: Path) -> None:
    done = mlpipec(trained, service.env(), "report", "review", "--post")
    assert (done.returncode, done.stderr) == (0, "")
    (body,) = service.rows.of(service.bot)
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", body)
    if service.name == "github":
        assert shown == []
        assert "```mermaid" in body and "line [1, 0.5, 0.333" in body
        return
    assert len(shown) == 1
    if service.name == "gitlab":
        assert shown == list(service.rows.files)
    else:
        assert shown == [
            f"https://bitbucket.org/{service.repository}/downloads/{n}" for n in service.rows.files
        ]
    (data,) = service.rows.files.values()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.rstrip()[-8:-4] == b"IEND"
    mlpipec(trained, service.env(), "report", "review", "--post")
    assert len(service.front.asked("POST", "uploads") + service.front.asked("POST", "downloads")) == 1
    if service.name == "bitbucket":
        # A picture of an earlier form is removed, another report's and a person's file stay.
        old = "mlpipe-churn-review-pr7-review-2-learning-curve-0123456789ab.png"
        kept = {"mlpipe-churn-short-pr7-x.png": b"1", "release.zip": b"2"}
        service.rows.files |= {old: b"0", **kept}
        mlpipec(trained, service.env(), "report", "review", "--post")
        assert old not in service.rows.files and kept.items() <= service.rows.files.items()


def test_where_pictures_may_not_be_stored_tables_do(service: Service, trained: Path) -> None:
    service.rows.forbidden.add("files")
    done = mlpipec(trained, service.env(), "report", "review", "--post")
    assert done.returncode == 0
    (body,) = service.rows.of(service.bot)
    assert "![" not in body and "| loss" in body
    assert ("without pictures" in done.stderr) == (service.name != "github")


def test_a_token_that_may_not_write_is_said_and_the_summary_has_the_report(
    service: Service, trained: Path, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    env = service.env("token-reader") | {"GITHUB_STEP_SUMMARY": str(summary)}
    done = mlpipec(trained, env, "report", "review", "--post")
    assert done.returncode == 1
    assert "the comment could not be written" in done.stderr
    assert {
        "github": "pull-requests: write",
        "gitlab": "scope `api`",
        "bitbucket": "repository access token",
    }[service.name] in done.stderr
    assert "token-reader" not in done.stdout + done.stderr
    assert "the report is in the job's summary" in done.stdout
    assert "0.91" in summary.read_text() and "could not be written" in summary.read_text()
    assert service.rows.comments == []


def test_without_a_token_nothing_is_asked(service: Service, trained: Path) -> None:
    env = {k: v for k, v in service.env().items() if not k.endswith("_TOKEN")}
    done = mlpipec(trained, env, "report", "review", "--post")
    assert done.returncode == 1
    assert f"no token for {service.title}" in done.stderr
    assert service.front.seen == []


def test_by_hand_everything_is_said(service: Service, trained: Path) -> None:
    token = {k: v for k, v in service.env().items() if k.endswith("_TOKEN")}
    where = ["--service", service.name, "--repository", service.repository, "--api", service.front.url]
    done = mlpipec(trained, token, "report", "short", "--post", *where, "--pull-request", "7")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(service.rows.of(service.bot)) == 1
    none = mlpipec(trained, token, "report", "short", "--post", *where)
    assert (none.returncode, none.stdout) == (0, "no pull request here: there is nothing to comment on\n")
    gone = mlpipec(trained, token, "report", "short", "--post", *where, "--pull-request", "8")
    assert gone.returncode == 1
    assert f"{service.repository}, pull request 8" in gone.stderr


def test_bad_minutes_are_sat_out(service: Service, trained: Path) -> None:
    service.front.fail("GET", "comments", Reply(500, {"message": "oops"}))
    service.front.fail("GET", "notes", Reply(502))
    service.front.fail("POST", "comments", Reply(429, {"message": "slow down"}, {"Retry-After": "1"}))
    service.front.fail("POST", "notes", Reply(429, {"message": "slow down"}, {"Retry-After": "1"}))
    done = mlpipec(trained, service.env(), "report", "short", "--post")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(service.rows.of(service.bot)) == 1


def test_a_service_that_wants_an_hour_is_not_waited_for(service: Service, trained: Path) -> None:
    service.front.fail("GET", "7", Reply(429, {"message": "slow down"}, {"Retry-After": "3600"}), times=9)
    done = mlpipec(trained, service.env(), "report", "short", "--post")
    assert done.returncode == 1
    assert "it asks to wait 3600 s" in done.stderr
    assert "run the job again later" in done.stderr


# --- the rules -----------------------------------------------------------------------------------


def test_the_comment_is_found_on_a_later_page(service: Service) -> None:
    service.rows.page = 30
    for n in range(65):
        service.rows.add("ada", f"thought {n}")
    assert post(service, document()).state == "written"
    for n in range(65):
        service.rows.add("ada", f"afterthought {n}")
    assert post(service, document("Better.")).state == "updated"
    (body,) = service.rows.of(service.bot)
    assert "Better." in body
    assert len(service.rows.comments) == 131


def test_anothers_comment_with_our_marker_is_left_alone(service: Service) -> None:
    assert post(service, document()).state == "written"
    forged = service.rows.comments.pop().body
    service.rows.comments.clear()
    service.rows.add("mallory", forged)
    service.rows.add("ada", f"> {forged}\n\nI agree")
    assert post(service, document("Mine.")).state == "written"
    assert service.rows.of("mallory") == [forged]
    assert post(service, document("Mine again.")).state == "updated"
    assert service.rows.of("mallory") == [forged]
    assert len(service.rows.of(service.bot)) == 1


def test_two_reports_and_two_pipelines_have_a_comment_each(service: Service) -> None:
    for n in range(2):
        for pipeline in ("churn", "churn_2"):
            for name in ("review", "short"):
                post(service, document(f"round {n} {pipeline} {name}", name, pipeline))
    bodies = service.rows.of(service.bot)
    assert len(bodies) == 4
    assert all("round 1" in b for b in bodies)


def test_a_comment_that_was_deleted_is_written_anew(service: Service) -> None:
    post(service, document())
    service.rows.comments.clear()
    assert post(service, document()).state == "written"


def test_one_that_vanishes_in_between_is_written_anew(service: Service) -> None:
    post(service, document())
    method = "PATCH" if service.name == "github" else "PUT"
    service.front.fail(method, "/", Reply(404, {"message": "gone"}))
    assert post(service, document("New.")).state == "written"


def test_an_answer_that_got_lost_makes_no_second_comment(service: Service) -> None:
    service.front.fail("POST", "comments", lost=True)
    service.front.fail("POST", "notes", lost=True)
    assert post(service, document()).state == "unchanged"
    assert len(service.rows.of(service.bot)) == 1


def test_an_error_after_the_fact_makes_no_second_comment(service: Service) -> None:
    service.front.fail("POST", "/", Reply(503, {"message": "busy"}), times=1)
    assert post(service, document()).state == "written"
    assert len(service.rows.of(service.bot)) == 1


def test_a_service_that_stays_away_is_given_up(service: Service) -> None:
    service.front.fail("GET", "/", Reply(503), times=99)
    outcome = post(service, document())
    assert (outcome.state, outcome.help) == ("failed", "run the job again later")
    assert len(service.front.seen) == 5


def test_a_service_that_cannot_be_reached_is_said(service: Service) -> None:
    outcome = post(service, document(), api="http://127.0.0.1:9/api")
    assert outcome.state == "failed"
    assert "cannot be reached at http://127.0.0.1:9/api" in outcome.message


def test_a_wrong_token_is_said(service: Service) -> None:
    outcome = post(service, document(), token="nonsense-token")
    assert outcome.state == "failed"
    assert "does not take the token" in outcome.message
    assert "nonsense-token" not in str(outcome)


def test_limits_by_header_are_waited_for(service: Service) -> None:
    service.front.fail("GET", "7", Reply(403, {"message": "limit"}, {"Retry-After": "7"}))
    waits: list[float] = []
    line = comment.connect(service.place(), wait=waits.append)
    try:
        assert comment.post(line, document()).state == "written"
    finally:
        line.close()
    assert waits == [7.0]


@pytest.mark.parametrize("words", ["x" * 300, "ü€𝄞" * 100])
def test_a_report_that_is_too_large_is_cut_by_bytes(service: Service, words: str) -> None:
    limit = {"github": 60_000, "gitlab": 900_000, "bitbucket": 30_000}[service.name]
    sections = tuple(Text((f"{n} {words}",)) for n in range(limit // 250))
    outcome = post(service, Document("churn", "review", sections))
    assert outcome.state == "written"
    (body,) = service.rows.of(service.bot)
    assert limit * 0.9 < len(body.encode()) <= limit
    assert "more sections did not fit here" in body
    assert post(service, Document("churn", "review", sections[:1])).state == "updated"


def test_a_service_that_takes_less_gets_less(service: Service) -> None:
    service.rows.longest = 10_000
    sections = tuple(Text((f"{n} " + "x" * 300,)) for n in range(300))
    assert post(service, Document("churn", "review", sections)).state == "written"
    (body,) = service.rows.of(service.bot)
    assert 5_000 < len(body) <= 10_000


def test_gates_become_commit_statuses(service: Service) -> None:
    good = GateResult("quality", (Row("train.scores.auc >= 0.8", True, "0.91", ">= 0.8"),))
    row = Row("train.scores.auc >= 0.95", False, "0.91", ">= 0.95")
    bad = GateResult("a_very_long_name_of_a_gate_that_nobody_would_give", (row, row))
    line = comment.connect(service.place())
    try:
        outcomes = comment.set_statuses(line, "churn", [good, bad])
    finally:
        line.close()
    assert [o.state for o in outcomes] == ["set", "set"]
    first, second = service.rows.statuses
    assert {s["sha"] for s in service.rows.statuses} == {SHA}
    assert first["description"] == "1 of 1 requirements hold"
    assert second["description"] == "train.scores.auc >= 0.95: 0.91, and 1 more"
    states = {"github": ("success", "failure"), "gitlab": ("success", "failed")}
    assert (first["state"], second["state"]) == states.get(service.name, ("SUCCESSFUL", "FAILED"))
    name = {"github": "context", "gitlab": "name", "bitbucket": "key"}[service.name]
    assert first[name] == "mlpipec/churn/quality"
    address = "url" if service.name == "bitbucket" else "target_url"
    assert "99" in first[address]
    if service.name == "gitlab":
        assert first["pipeline_id"] == 4711
    if service.name == "bitbucket":
        assert first["refname"] == "faster"


def test_a_status_that_may_not_be_set_is_said(service: Service) -> None:
    line = comment.connect(service.place("token-reader"))
    try:
        (outcome,) = comment.set_statuses(line, "churn", [GateResult("quality", ())])
    finally:
        line.close()
    assert outcome.state == "failed"
    assert "gate quality: the commit status could not be set" in outcome.message
    assert outcome.help
