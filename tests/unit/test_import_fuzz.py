"""Any text at all as a dvc.yaml or a CI file: a pipeline file that parses, or a message. Never a crash,
never a
hang; and a command that is carried over means the same to the shell.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from mlflowc.errors import Failure
from mlflowc.importing import assemble
from mlflowc.importing.coverage import Coverage
from mlflowc.ir.model import PathRef, Pipeline, Stage, StageOutput, Value
from mlflowc.runtime.commands import render
from tests.support.dvc_projects import PROJECTS
from tests.support.importing import attempted

_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

WORKFLOW = """\
on:
  push: {branches: [main]}
  workflow_dispatch: {inputs: {lr: {default: 0.1}}}
env: {A: b, TOKEN: "${{ secrets.TOKEN }}"}
jobs:
  train:
    runs-on: [self-hosted, gpu]
    timeout-minutes: 90
    steps:
      - uses: actions/setup-python@v5
        with: {python-version: "3.11"}
      - run: |
          pip install -r requirements.txt
          python train.py --lr ${{ inputs.lr }} > log.txt && echo "# x" >> report.md
          cat <<EOF >> report.md
          text
          EOF
          cml runner launch --cloud=aws --labels=gpu --cloud-gpu v100
          cml comment create report.md
"""
GITLAB = """\
default: {image: "python:3.11"}
train:
  tags: [gpu]
  only: [merge_requests, main]
  variables: {A: b}
  script:
    - python train.py
    - dvc metrics diff main >> report.md; cml comment create report.md
"""
FILES = {
    "dvc.yaml": [p["dvc.yaml"] for p in PROJECTS.values()],
    ".github/workflows/x.yml": [WORKFLOW],
    ".gitlab-ci.yml": [GITLAB],
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A project with files that the examples name."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "demo"
        for path, text in {
            "params.yaml": "lr: 0.1\ntrain: {lr: 1, name: a b}\nnets: [{name: x}]\n",
            "settings.json": '{"settings": {"mode": "m"}}',
            "extra.toml": "[net]\ndepth = 1\n",
            "train.py": "open('model.pkl', 'w')\n",
            "data.csv": "a\n",
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        yield root


def attempt(root: Path, name: str, text: str) -> None:
    """Imports `text` as the file `name`. A message has a place; a pipeline file parses (`write` sees to
    it).
    """
    for other in ("dvc.yaml", ".gitlab-ci.yml", ".github/workflows/x.yml"):
        (root / other).unlink(missing_ok=True)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        plan = assemble.plan((str(path),), str(root / "pipeline.mlpipe"))
        assert assemble.make(plan, Coverage()).text.startswith("mlpipe 1\n")
    except Failure as e:
        assert ":" in e.message or "cannot be read" in e.message or "nothing here" in e.message, e.message


@pytest.mark.parametrize("name", FILES)
def test_any_text(name: str, folder: Path) -> None:
    @given(st.text(max_size=80))
    @example("\x00")
    @example("{" * 3000)
    @example("? [a]\n: b")
    @example("stages: {s: {cmd: ['${']}}")
    @_SETTINGS
    def check(text: str) -> None:
        attempt(folder, name, text)

    check()


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_a_piece_cut_out_or_put_in(name: str, folder: Path) -> None:
    pieces = [
        "",
        "{",
        "[",
        "}",
        "]",
        ": ",
        "- ",
        "\n",
        "'",
        '"',
        "${item}",
        "${",
        "{{",
        "&a ",
        "*a",
        "!!x ",
        "~",
        "0",
    ]

    @given(st.sampled_from(FILES[name]), st.integers(0, 3000), st.integers(0, 30), st.sampled_from(pieces))
    @_SETTINGS
    def check(text: str, at: int, length: int, piece: str) -> None:
        at %= len(text)
        attempt(folder, name, text[:at] + piece + text[at + length :])

    check()


_KEYS = """
stages vars params metrics plots artifacts cmd deps outs foreach do matrix wdir frozen desc meta item key
on jobs steps run uses with env runs-on push branches script rules if only tags image default
"""
_WORDS = st.sampled_from(_KEYS.split())
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(0, 1), _WORDS,
    st.sampled_from(["${item}", "${lr}", "${train}", "a/b", "../x", "/x", "s3://x", "data.csv", ""]),
    st.just("python train.py"),
)  # fmt: skip
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=4)),
    max_leaves=20,
)


@pytest.mark.parametrize("name", FILES)
def test_any_structure(name: str, folder: Path) -> None:
    @given(st.dictionaries(_WORDS, _TREES, max_size=5), _TREES)
    @_SETTINGS
    def check(top: dict[str, Any], inner: Any) -> None:
        likely = {
            "dvc.yaml": {"stages": {"s": inner, "t": {"cmd": "x", "deps": inner, "outs": inner}}},
            ".gitlab-ci.yml": {"job": {"script": inner, "rules": inner, "only": inner}},
        }.get(name, {"on": inner, "jobs": {"j": {"runs-on": inner, "steps": inner, "env": inner}}})
        attempt(folder, name, json.dumps({**top, **likely}))

    check()


# --- what is carried over means the same -----------------------------------------------------------

_VALUES: dict[str, Value] = {
    "lr": 0.1,
    "n": 3,
    "on": True,
    "name": "plain",
    "words": "two words",
    "odd": "a'b$c",
}
_PATHS = ["data.csv", "dir/in put.txt", "dir", "{{x}}", "a=b.txt"]
_PARTS = st.one_of(
    st.sampled_from([f"${{{name}}}" for name in _VALUES]),
    st.sampled_from(
        [*_PATHS, "dir/more", "./data.csv", "--in=data.csv", "out.txt", "x", "{", "}", "{{", "}}", "#"]
    ),
    st.sampled_from([" ", " ", " ", "'", '"', "\\", "$", "$(", ")", "`", ";", "|", ">", "&&", "*", "=", "-"]),
)


@given(st.lists(_PARTS, min_size=1, max_size=12).map("".join))
@example('echo "${n}${lr}"\'${name}\' ${words} "${odd}"')
@example("tool {${n}} '{'${n} {{${n} data.csv{{")
@_SETTINGS
def test_a_command_means_the_same(command: str) -> None:
    assume(command.strip() and "${" not in command.replace("\\${", "").split("}")[-1])
    resolved = command
    for name, value in _VALUES.items():
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        resolved = resolved.replace(f"\\${{{name}}}", f"\0{name}\0").replace(f"${{{name}}}", shown)
    for name in _VALUES:
        resolved = resolved.replace(f"\0{name}\0", f"${{{name}}}")
    assume("${" not in resolved)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "demo"
        (root / "dir").mkdir(parents=True)
        for path in ("data.csv", "dir/in put.txt", "{{x}}", "a=b.txt"):
            (root / path).write_text("")
        (root / "params.yaml").write_text(json.dumps(_VALUES))
        stage = {"cmd": [command], "deps": _PATHS[:1] + _PATHS[2:], "outs": ["out.txt"]}
        (root / "dvc.yaml").write_text(json.dumps({"stages": {"s": stage}}))
        imported = attempted(root, "dvc.yaml", but="MLP331")
    assume(imported)  # it starts a script that is not there
    assert imported
    pipeline = imported.pipeline
    said = render(pipeline.stages[0].commands[0], _placeholders(pipeline, pipeline.stages[0]))
    if resolved.lstrip().startswith("#"):
        resolved = f": {resolved}"  # a comment alone is a command that does nothing
    assert said == resolved or _words(said) == _words(resolved), (said, resolved)


def _words(text: str) -> list[str] | None:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return None


def _placeholders(pipeline: Pipeline, stage: Stage) -> dict[tuple[str, str], Value]:
    values: dict[tuple[str, str], Value] = {("output", o.name): o.path for o in stage.outputs}
    values |= {("param", p.name): p.value for p in pipeline.params}
    data = {d.name: str(dict(d.args)["path"]) for d in pipeline.data}
    for entry in stage.inputs:
        source = entry.sources[0]
        assert not isinstance(source, StageOutput)
        if isinstance(source, PathRef):
            values["input", entry.name] = source.path
        else:
            values["input", entry.name] = data[source.data]  # type: ignore[union-attr]
    return values
