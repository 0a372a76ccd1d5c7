"""`mlpipec import` of CI files: when, where and in what stages run, and what a reviewer sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.importing.coverage import Fate
from mlflowc.ir.model import Event, Pipeline
from tests.support.importing import Imported, made

SCRIPTS = {
    "requirements.txt": "",
    "data/raw.csv": "a\n1\n",
    "train.py": "import pickle\nwith open('model.pkl', 'wb') as f: pickle.dump(1, f)\n",
    "evaluate.py": "import json\nopen('model.pkl', 'rb')\njson.dump({}, open('scores.json', 'w'))\n",
}
WORKFLOW = """\
name: CML
on:
  push: {branches: [main], tags: ["v*"]}
  pull_request:
    paths: ["*.py"]
  schedule:
    - cron: "17 3 * * 1"
  workflow_dispatch:
    inputs:
      epochs: {default: "10"}
      unused: {default: x}
permissions: write-all
env: {OMP_NUM_THREADS: 1, REPO_TOKEN: "${{ secrets.PAT }}"}
jobs:
  runner:
    runs-on: ubuntu-latest
    steps:
      - uses: iterative/setup-cml@v2
      - run: |
          cml runner launch \\
            --cloud=aws --cloud-region=us-west --cloud-type=p2.xlarge \\
            --labels=cml-gpu
  train:
    needs: runner
    runs-on: [self-hosted, cml-gpu]
    timeout-minutes: 90
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "3.11"}
      - env: {API_KEY: "${{ secrets.API_KEY }}"}
        run: |
          sudo apt-get install -y graphviz
          pip install -r requirements.txt seaborn
          python train.py --data data/raw.csv --epochs ${{ github.event.inputs.epochs }} > train.log
      - run: |
          python evaluate.py && python notify.py ${{ github.sha }}
          echo "# Report" >> report.md
          cat <<EOF >> report.md
          Some words.
          EOF
          cml publish confusion.png --md >> report.md
          cml comment create report.md
      - uses: some/action@v1
"""
DVC = """\
stages:
  prepare: {cmd: python3 prepare.py, outs: [clean.csv]}
  train: {cmd: python3 train.py, deps: [clean.csv], params: [lr], metrics: [m.json: {cache: false}]}
"""


def project(root: Path, files: Mapping[str, str], *names: str) -> Imported:
    """What comes of importing `names` (the last file, if none) of a project with those files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return made(root, *(names or [list(files)[-1]]))


def event(pipeline: Pipeline, id: str) -> Event:
    """The event with that id."""
    return next(e for e in pipeline.events if e.id == id)


def test_a_workflow_of_commands(tmp_path: Path) -> None:
    files = {**SCRIPTS, ".github/workflows/cml.yml": WORKFLOW}
    text, pipeline, findings = imported = project(tmp_path / "demo", files)
    assert [s.id for s in pipeline.stages] == ["train", "evaluate"]
    train, evaluate = pipeline.stages
    assert {o.path for o in train.outputs} == {"model.pkl", "train.log"}
    assert {o.path for o in evaluate.outputs} == {"scores.json", "confusion.png"}
    assert 'run     = "python train.py --data {{raw}} --epochs {{params.epochs}} > {{train}}"' in text
    assert (train.secrets, evaluate.secrets) == (("API_KEY",), ())
    assert {e.id for e in pipeline.events} == {"push-main", "tag-v", "pull-request", "schedule-1", "manual"}
    assert event(pipeline, "pull-request").paths == ("*.py",)
    assert event(pipeline, "schedule-1").cron == "17 3 * * 1"
    assert [(i.name, i.default) for i in event(pipeline, "manual").inputs] == [("epochs", 10)]
    assert event(pipeline, "push-main").run == ("train", "evaluate", "review")
    (env,) = pipeline.envs
    assert (env.python, env.requirements, env.vars) == (
        "3.11",
        "requirements.txt",
        (("OMP_NUM_THREADS", "1"),),
    )
    (runner,) = pipeline.runners
    assert runner.gpu is not None
    assert runner.cloud is not None
    assert (runner.cloud.provider, dict(runner.cloud.options)["instance"]) == ("aws", "p2.xlarge")
    assert (runner.timeout, runner.labels) == (5400, (("github", ("self-hosted", "cml-gpu")),))
    (report,) = pipeline.reports
    assert [i.kind for i in report.items] == ["text", "text", "image"]

    lines = WORKFLOW.splitlines()
    left = {(lines[line - 1].strip(), construct) for construct, line in imported.left}
    assert left == {
        ("sudo apt-get install -y graphviz", "run"),
        ("pip install -r requirements.txt seaborn", "run"),
        ("python evaluate.py && python notify.py ${{ github.sha }}", "run"),
        ("unused: {default: x}", "inputs"),
        ("- uses: some/action@v1", "uses"),
    }
    assert all(f.place.file == ".github/workflows/cml.yml" for f in findings)


def test_stages_come_from_dvc_where_there_is_one(tmp_path: Path) -> None:
    gitlab = """\
default: {image: "python:3.10-slim"}
train:
  tags: [gpu]
  timeout: 3h 30m
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    - if: $CI_COMMIT_BRANCH == "main"
    - if: $CI_PIPELINE_SOURCE == "schedule"
  script:
    - pip install -r requirements.txt dvc
    - dvc repro train
    - dvc exp run -S lr=0.5 train
    - dvc metrics diff origin/main --md >> report.md
    - cml comment create report.md
deploy:
  script: ["./deploy.sh"]
  when: manual
"""
    files = {"requirements.txt": "", "params.yaml": "lr: 0.1\n", "m.json": '{"auc": 0.5}', "dvc.yaml": DVC}
    scripts = {"prepare.py": "", "train.py": ""}
    imported = project(tmp_path / "demo", {**files, **scripts, ".gitlab-ci.yml": gitlab})
    pipeline = imported.pipeline
    assert [s.id for s in pipeline.stages] == ["prepare", "train"]
    assert {s.runner for s in pipeline.stages} == {"gpu"}
    assert pipeline.runners[0].labels == (("gitlab", ("gpu",)),)
    assert pipeline.runners[0].timeout == 12_600
    assert pipeline.envs[0].python == "3.10"
    assert [e.id for e in pipeline.events] == ["pull-request", "push-main"]
    assert event(pipeline, "push-main").with_params == (("lr", 0.5),)
    assert event(pipeline, "push-main").run == ("train", "review")
    assert [(i.kind, i.vs) for i in pipeline.reports[0].items] == [("metrics", "main"), ("params", None)]
    assert imported.left == {("schedule", 8), ("run", 16)}


def test_what_the_shell_decides_is_left_out_as_one(tmp_path: Path) -> None:
    job = """\
on: pull_request
jobs:
  report:
    runs-on: ubuntu-latest
    steps:
      - run: |
          if [ $GITHUB_REF = refs/heads/main ]; then
            OLD=HEAD~1
          else
            OLD=main
          fi
          X=1
          dvc repro
          dvc metrics diff --md $OLD > report.md
          cml comment create report.md
"""
    files = {
        "params.yaml": "lr: 0.1\n",
        "m.json": '{"auc": 0.5}',
        "dvc.yaml": DVC,
        "prepare.py": "",
        "train.py": "",
    }
    imported = project(tmp_path / "demo", {**files, ".github/workflows/a.yml": job})
    assert imported.left == {("run", 7), ("run", 12)}
    assert imported.pipeline.reports[0].items[0].vs == "main"
    assert imported.pipeline.events[0].run == ("train", "review")


def test_several_files_give_one_pipeline(tmp_path: Path) -> None:
    job = "jobs: {a: {runs-on: ubuntu-latest, steps: "
    one = f"on: [push]\n{job}[{{run: python train.py}}]}}}}\n"
    two = f"on: pull_request\n{job}[{{run: python train.py}}, {{run: python evaluate.py}}]}}}}\n"
    names = (".github/workflows/one.yml", ".github/workflows/two.yml")
    pipeline = project(tmp_path / "demo", {**SCRIPTS, names[0]: one, names[1]: two}, *names).pipeline
    assert {e.kind: e.run for e in pipeline.events} == {
        "push": ("train",),
        "pull_request": ("train", "evaluate"),
    }


@pytest.mark.parametrize(
    ("on", "ids"),
    [
        ("push", {"push"}),
        ("{push: {branches-ignore: [x]}}", {"push"}),
        ("{push: {tags: ['v*']}}", {"tag-v"}),
        ("{pull_request: {branches: [main, dev]}}", {"pull-request-main", "pull-request-dev"}),
        ("[pull_request_target, release]", set()),
        ("{schedule: [{cron: '17 3 * * *', timezone: Europe/Paris}]}", {"schedule-1"}),
    ],
)
def test_triggers(tmp_path: Path, on: str, ids: set[str]) -> None:
    text = f"on: {on}\njobs: {{a: {{runs-on: ubuntu-latest, steps: [{{run: python train.py}}]}}}}\n"
    imported = project(tmp_path / "demo", {**SCRIPTS, ".github/workflows/a.yml": text})
    assert {e.id for e in imported.pipeline.events} == ids
    ignored = "ignore" in on or "target" in on
    assert bool(imported.left) == ignored


def test_what_is_there_counts_as_carried_over_once(tmp_path: Path) -> None:
    files = {**SCRIPTS, ".github/workflows/cml.yml": WORKFLOW}
    findings = project(tmp_path / "demo", files).findings
    assert len(findings) == len(set(findings))
    assert {f.fate for f in findings} == set(Fate)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (".github/workflows/x.yml", "on: push\n", "x.yml:1: this is no workflow"),
        (".github/workflows/x.yml", "on: push\njobs: {a: 3}\n", "x.yml:2: the job `a` is no mapping"),
        (".github/workflows/x.yml", "a: [\n", "x.yml:2: this is not YAML"),
        (
            ".github/workflows/x.yml",
            "on: push\njobs: {a: {steps: [{run: ls}]}}\n",
            "nothing here can become a stage",
        ),
        (".gitlab-ci.yml", "stages: [a]\n", ".gitlab-ci.yml:1: this is no .gitlab-ci.yml"),
        ("notes.yml", "- 1\n", "notes.yml:1: this is neither"),
    ],
)
def test_a_mistake_is_shown_with_its_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(Failure) as caught:
        project(tmp_path / "demo", {**SCRIPTS, name: text})
    assert said in caught.value.message
