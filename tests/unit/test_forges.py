"""Where comments go, and what of a service's answer is understood, without a service."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mlflowc.errors import Failure
from mlflowc.report import mermaid, plots
from mlflowc.report.forges import comment
from mlflowc.report.forges.http import Answer, limited, next_link, said
from mlflowc.report.forges.place import Given, detect
from mlflowc.report.model import Chart, Plot
from mlflowc.runtime.propose import Login

GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t"}
GITLAB = {"GITLAB_CI": "true", "CI_PROJECT_ID": "1", "CI_PROJECT_PATH": "g/p", "GITLAB_TOKEN": "t"}


def event(folder: Path, data: Any) -> dict[str, str]:
    path = folder / "event.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return {**GITHUB, "GITHUB_EVENT_PATH": str(path)}


def test_outside_of_ci_there_is_no_place() -> None:
    assert detect({}) is None
    assert detect({"CI": "true"}) is None


def test_github_by_its_event_by_its_ref_and_without_a_pull_request(tmp_path: Path) -> None:
    head = {"sha": "a" * 40, "repo": {"full_name": "o/r"}}
    by_event = detect(event(tmp_path, {"pull_request": {"number": 7, "head": head}}) | {"GITHUB_SHA": "b"})
    assert by_event and (by_event.number, by_event.commit, by_event.fork) == (7, "a" * 40, False)
    by_ref = detect(GITHUB | {"GITHUB_REF": "refs/pull/8/merge", "GITHUB_SHA": "b"})
    assert by_ref and (by_ref.number, by_ref.commit, by_ref.api) == (8, "b", "https://api.github.com")
    push = detect(GITHUB | {"GITHUB_REF": "refs/heads/main"})
    assert push and push.number is None and not push.fork


@pytest.mark.parametrize("source", [{"full_name": "mallory/r"}, None])
def test_github_a_fork_or_one_that_is_gone(tmp_path: Path, source: Any) -> None:
    place = detect(event(tmp_path, {"pull_request": {"number": 7, "head": {"sha": "a", "repo": source}}}))
    assert place and place.fork
    outcome = comment.hindrance(place)
    assert outcome and outcome.state == "skipped"


@pytest.mark.parametrize("data", ["", "{", "[1]", {"pull_request": 7}, {"pull_request": {"number": "7"}}])
def test_github_an_event_that_makes_no_sense_is_none(tmp_path: Path, data: Any) -> None:
    place = detect(event(tmp_path, data))
    assert place and place.number is None


def test_gitlab_a_merge_request_a_branch_with_one_and_a_fork() -> None:
    own = {"CI_MERGE_REQUEST_IID": "7", "CI_MERGE_REQUEST_PROJECT_ID": "1", "CI_COMMIT_SHA": "merge"}
    place = detect(GITLAB | own | {"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "head"})
    assert place and (place.repository, place.number, place.commit, place.fork) == ("1", 7, "head", False)
    branch = detect(GITLAB | {"CI_OPEN_MERGE_REQUESTS": "g/p!7,g/p!9"})
    assert branch and (branch.repository, branch.number, branch.fork) == ("g/p", 7, False)
    fork = detect(GITLAB | own | {"CI_PROJECT_ID": "2", "CI_PROJECT_PATH": "m/p"})
    assert fork and fork.fork
    none = detect(GITLAB)
    assert none and (none.repository, none.number) == ("1", None)


def test_what_a_person_says_comes_first() -> None:
    given = Given("github", "a/b", 3, "", "https://ghe.example/api/v3/")
    place = detect(GITLAB | {"GH_TOKEN": "t2"}, given)
    assert place and (place.service.name, place.repository, place.number) == ("github", "a/b", 3)
    assert (place.api, place.token) == ("https://ghe.example/api/v3", "t2")
    assert "t2" not in repr(place)


@pytest.mark.parametrize(
    "given",
    [Given("github"), Given("github", "only-a-name"), Given("github", "a/b", 1, "", "ftp://x")],
)
def test_half_of_what_is_needed_is_a_mistake(given: Given) -> None:
    with pytest.raises(Failure) as caught:
        detect({}, given)
    assert caught.value.code == 2
    assert caught.value.help


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "message", "seconds"),
    [
        (200, {}, "", None),
        (403, {}, "Resource not accessible", None),
        (404, {"retry-after": "9"}, "", None),
        (429, {}, "", 0.0),
        (429, {"retry-after": "9"}, "", 9.0),
        (429, {"retry-after": "Fri, 01 Jan 2027 00:00:00 GMT"}, "", 0.0),
        (403, {"retry-after": "9"}, "", 9.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1030"}, "", 31.0),
        (429, {"ratelimit-remaining": "0", "ratelimit-reset": "1030"}, "", 31.0),
        (403, {"x-ratelimit-remaining": "12"}, "You have exceeded a secondary rate limit", 60.0),
    ],
)
def test_how_long_a_service_asks_to_wait(
    status: int, headers: dict[str, str], message: str, seconds: float | None
) -> None:
    assert limited(Answer(status, headers, {"message": message}), now=1000.0) == seconds


def test_the_next_page_is_found_in_a_header() -> None:
    link = '<https://x/a?page=1>; rel="prev", <https://x/a?page=3&b=%2C>; rel="next", <https://x>; rel="last"'
    assert next_link(Answer(200, {"link": link}, [])) == "https://x/a?page=3&b=%2C"
    assert next_link(Answer(200, {"link": '<https://x>; rel="last"'}, [])) is None
    assert next_link(Answer(200, {}, [])) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"message": "Not  Found\n"}, "Not Found"),
        ({"error": {"message": "no"}}, "no"),
        ({"message": {"body": ["is too long"]}}, '{"body": ["is too long"]}'),
        ({"error": "invalid_token", "error_description": "expired"}, "expired"),
        (None, "status 400"),
        (["x"], "status 400"),
    ],
)
def test_a_services_own_words(data: Any, words: str) -> None:
    assert said(Answer(400, {}, data)) == words


# --- pushing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("https://github.com/o/r.git", True),
        ("https://github.com.evil.example/o/r.git", False),
        ("https://evil.example/github.com/r.git", False),
        ("https://github.com@evil.example/r.git", False),
        ("git@github.com:o/r.git", False),
        ("/srv/git/r.git", False),
    ],
)
def test_git_gets_the_token_for_the_services_own_host(url: str, given: bool) -> None:
    made = Login("github.com", "x-access-token", "t0ken").environment(url)
    assert bool(made) == given
    if given:
        assert made["GIT_CONFIG_KEY_0"] == "http.https://github.com/.extraHeader"
        assert "t0ken" not in str(made), "it is not readable at a glance"
    assert Login("github.com", "x-access-token", "").environment(url) == {}


# --- diagrams ------------------------------------------------------------------------------------


def plot(*values: dict[str, Any], x: str = "quantitative", title: str = "epoch") -> Plot:
    encoding = {"x": {"field": "x", "type": x, "title": title}, "y": {"field": "y", "title": "loss"}}
    spec = {"data": {"values": list(values)}, "layer": [{"mark": {"type": "line"}, "encoding": encoding}]}
    return Plot("Loss", (Chart(spec),))


def points(version: str, *ys: float, first: int = 1, name: str = "loss") -> list[dict[str, Any]]:
    return [{"x": n, "y": y, "s": name, "v": version} for n, y in enumerate(ys, first)]


def test_a_line_and_its_baseline_are_a_diagram() -> None:
    text = mermaid.diagram(plot(*points("main", 1, 0.6, 0.5), *points("now", 1, 0.5, 0.25)))
    assert text is not None
    lines = text.splitlines()
    assert lines[0] == "```mermaid" and lines.index("```") > 0
    assert '  x-axis "epoch" 1 --> 3' in lines
    assert '  y-axis "loss" 0.25 --> 1' in lines
    assert lines.index("  line [1, 0.5, 0.25]") < lines.index("  line [1, 0.6, 0.5]")
    assert lines[-1] == "blue: `now`, grey: `main`"


def test_a_line_that_ended_earlier_is_named_and_not_stretched() -> None:
    text = mermaid.diagram(plot(*points("main", 1, 0.6), *points("now", 1, 0.5, 0.25)))
    assert text is not None
    assert text.count("line [") == 1
    assert text.endswith("not drawn, of another length: `main`")


def test_many_points_become_few() -> None:
    text = mermaid.diagram(plot(*points("now", *(1 / n for n in range(1, 5000)))))
    assert text is not None
    (row,) = (t for t in text.splitlines() if t.startswith("  line"))
    assert row.count(",") == mermaid.PLACES - 1
    assert "e-" not in row


@pytest.mark.parametrize(
    "given",
    [
        plot(),
        plot(*points("now", 1)),
        plot(*points("now", 1, 2), x="temporal"),
        plot(*points("now", 1, float("nan"))),
        plot(*points("main", 1, 2)),
        plot(*points("now", 1, 2), *points("now", 3, 4)),
        Plot("x", (Chart({}),)),
        Plot("x"),
    ],
)
def test_what_would_mislead_is_no_diagram(given: Plot) -> None:
    assert mermaid.diagram(given) is None


def test_titles_cannot_break_out() -> None:
    text = mermaid.diagram(plot(*points("now", 1, 2), title='a"]\n```\n%%{x}%% <b> @ada'))
    assert text is not None
    assert text.count("```") == 2
    assert text.count("%%{") == 1
    assert "<" not in text.replace("-->", "") and "@" not in text


def test_bars_below_zero_are_none() -> None:
    assert mermaid.diagram(plots.metrics("Scores", [("", False, {"auc": 0.9, "r2": -0.7})])) is None


def test_bars_of_metrics_are_a_diagram() -> None:
    text = mermaid.diagram(plots.metrics("Scores", [("", False, {"auc": 0.9, "f1": 0.7})]))
    assert text is not None
    assert '["auc", "f1"]' in text and "bar [0.9, 0.7]" in text
    assert "0 --> 0.9" in text


def test_only_what_posts_waits_for_an_http_client() -> None:
    modules = "mlflowc.commands.report, mlflowc.commands.exec, mlflowc.commands.checkjob"
    code = f"import sys, {modules}; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(("service", "header"), [("gitlab", "PRIVATE-TOKEN"), ("github", "Authorization")])
def test_the_token_goes_to_no_other_host(service: str, header: str) -> None:
    heard: list[tuple[int, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            port = self.server.server_address[1]
            heard.append((port, self.headers.get(header)))
            away = {"/away": others, "/near": own}.get(self.path)
            self.send_response(302 if away else 200)
            if away:
                self.send_header("Location", f"http://127.0.0.1:{away}/there")
            self.end_headers()
            self.wfile.write(b"" if away else b"{}")

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    own, others = (s.server_address[1] for s in servers)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    place = detect(
        {f"{service.upper()}_TOKEN": "secret"},
        Given(service=service, repository="o/r", number=1, api=f"http://127.0.0.1:{own}"),
    )
    assert place
    line = comment.connect(place)
    try:
        line.forge.client.get("/near")
        line.forge.client.get("/away")
    finally:
        line.close()
        for server in servers:
            server.shutdown()
            server.server_close()
    assert all(token and "secret" in token for port, token in heard if port == own)
    assert [port for port, _ in heard] == [own, own, own, others]
    assert heard[-1] == (others, None)
