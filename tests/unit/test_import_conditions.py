"""`if:` of workflows: what runs under a condition is never run without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc.importing import conditions
from mlflowc.importing.ci import Trigger
from mlflowc.importing.coverage import Place
from tests.unit.test_import_workflows import event, project

_AT = Place("x.yml", 1)
_ALL = [
    Trigger("push", _AT),
    Trigger("push", _AT, "dev"),
    Trigger("tag", _AT, "v*"),
    Trigger("pull_request", _AT),
    Trigger("schedule", _AT, cron="1 2 * * *"),
    Trigger("manual", _AT),
]


@pytest.mark.parametrize(
    ("condition", "kinds", "left"),
    [
        ("always()", ["push", "push", "tag", "pull_request", "schedule", "manual"], ""),
        ("${{ success() }}", ["push", "push", "tag", "pull_request", "schedule", "manual"], ""),
        ("github.event_name == 'pull_request'", ["pull_request"], ""),
        ("github.event_name != 'schedule'", ["push", "push", "tag", "pull_request", "manual"], ""),
        ("${{ github.ref == 'refs/heads/main' && !cancelled() }}", ["push:main", "schedule", "manual"], ""),
        ("github.ref_name == 'dev' && github.event_name == 'push'", ["push:dev", "push:dev"], ""),
        ("github.event_name == 'push' && github.actor == 'me'", ["push", "push", "tag"],
         "github.actor == 'me'"),
        ("github.ref == 'refs/tags/v1'", ["push", "push", "tag", "pull_request", "schedule", "manual"],
         "github.ref == 'refs/tags/v1'"),
        ("a == 'x' || b == 'y'", ["push", "push", "tag", "pull_request", "schedule", "manual"],
         "a == 'x' || b == 'y'"),
    ],
)  # fmt: skip
def test_what_events_can_say(condition: str, kinds: list[str], left: str) -> None:
    triggers, rest = conditions.apply(condition, _ALL)
    assert rest == left
    for trigger, wanted in zip(triggers, kinds, strict=True):
        kind, _, pattern = wanted.partition(":")
        assert trigger.kind == kind
        assert not pattern or trigger.pattern == pattern


def test_a_deployment_stays_where_it_was(tmp_path: Path) -> None:
    workflow = """\
on: {push: {branches: [main, dev]}, pull_request: {}}
jobs:
  train:
    runs-on: ubuntu-latest
    steps:
      - run: python train.py
      - if: github.ref == 'refs/heads/main'
        run: ./deploy.sh
      - if: always()
        run: python tell.py
  nightly:
    if: github.event_name == 'push' && github.ref == 'refs/heads/main'
    runs-on: ubuntu-latest
    steps:
      - run: python publish.py
  odd:
    if: github.actor == 'someone'
    runs-on: ubuntu-latest
    steps:
      - run: python odd.py
"""
    scripts = dict.fromkeys(["train.py", "tell.py", "publish.py", "odd.py", "deploy.sh"], "\n")
    _, pipeline, findings = imported = project(tmp_path, {**scripts, ".github/workflows/x.yml": workflow})
    assert [s.id for s in pipeline.stages] == ["train", "tell", "publish"]
    assert event(pipeline, "pull-request").run == ("train", "tell")
    assert event(pipeline, "push-dev").run == ("train", "tell")
    assert event(pipeline, "push-main").run == ("train", "tell", "publish")
    lines = workflow.splitlines()
    assert {(construct, lines[line - 1].strip()) for construct, line in imported.left} == {
        ("if", "- if: github.ref == 'refs/heads/main'"),
        ("run", "run: ./deploy.sh"),
        ("if", "if: github.actor == 'someone'"),
        ("run", "- run: python odd.py"),
    }
    assert any("github.ref == 'refs/heads/main'" in f.text for f in findings)
