"""`mlpipec import`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from mlflowc.errors import Failure
from tests.conftest import CHECKOUT
from tests.support.importing import made
from tests.support.project import Checkout

STAGE = """\
stages:
  train:
    cmd: python3 train.py data.csv model.bin
    deps: [data.csv, train.py]
    outs: [model.bin]
"""


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """An empty project with a script and its data."""
    made = Checkout(tmp_path / "demo")
    made.write({"data.csv": "a\n1\n", "train.py": "import sys; open(sys.argv[2], 'w').write('m')\n"})
    return made


def imported(project: Checkout, text: str, files: Mapping[str, str] = MappingProxyType({})) -> str:
    """The pipeline that comes of a dvc.yaml; it passes `check`, in canonical form."""
    project.write({"dvc.yaml": text, **files})
    return made(project.path, "dvc.yaml").text


def findings(project: Checkout, *arguments: str) -> list[dict[str, object]]:
    """The coverage report as data."""
    done = project.mlpipec("import", "--force", "--json", *arguments)
    found: list[dict[str, object]] = json.loads(done.out)["findings"]
    return found


def refused(project: Checkout, text: str) -> str:
    """The message that ends an import."""
    project.write({"dvc.yaml": text})
    with pytest.raises(Failure) as caught:
        made(project.path, "dvc.yaml")
    return f"{caught.value.message}\n{caught.value.help}"


def test_the_whole_of_a_small_file(project: Checkout) -> None:
    assert imported(project, STAGE) == (
        "mlpipe 1\n\npipeline demo\n\n"
        'data data = "data.csv"\n\n'
        "stage train {\n"
        "  in  data\n"
        '  out model = "model.bin"\n'
        '  run = "python3 train.py {{data}} {{model}}"\n'
        "}\n"
    )


def test_a_file_that_is_there_stays(project: Checkout) -> None:
    project.write({"dvc.yaml": STAGE, "pipeline.mlpipe": "mine\n"})
    done = project.mlpipec("import", code=1)
    assert "already" in done.err
    assert "--force" in done.err
    assert project.read("pipeline.mlpipe") == "mine\n"
    assert "wrote other.mlpipe" in project.mlpipec("import", "-o", "other.mlpipe").out
    assert project.mlpipec("import", "--stdout").out == project.read("other.mlpipe")
    assert project.read("pipeline.mlpipe") == "mine\n"


def test_a_file_further_down_is_imported_into_one_above(project: Checkout) -> None:
    project.write(
        {
            "sub/dvc.yaml": STAGE.replace("data.csv,", "../data.csv,"),
            "sub/train.py": "",
            "sub/params.yaml": "",
        }
    )
    project.mlpipec("import", "sub/dvc.yaml", "-o", "pipeline.mlpipe")
    text = project.read("pipeline.mlpipe")
    assert 'out model = "sub/model.bin"' in text
    assert 'dir = "sub"' in text
    project.mlpipec("check")


def test_names_are_made_valid_and_stay_apart(project: Checkout) -> None:
    text = imported(
        project,
        """\
stages:
  train-model: {cmd: touch a.x b/a.y, outs: [a.x, b/a.y]}
  train_model: {cmd: touch c/params.x c/stage.x, outs: [c/params.x, c/stage.x]}
  TrainModel2: {cmd: touch 1.x, outs: [1.x]}
  "1": {cmd: touch é.x, outs: [é.x]}
""",
    )
    for line in (
        "stage train_model {",
        "stage train_model_2 {",
        "stage trainmodel2 {",
        "stage stage_1 {",
        "out a_2 ",
        "out params_2 ",
    ):
        assert line in text, text


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("tool data.csv", r"tool {{data}}"),
        (
            "tool --in=data.csv 'data.csv' ./data.csv xdata.csv",
            r"tool --in={{data}} {{data}} ./data.csv xdata.csv",
        ),
        ("echo data.csv.bak # data.csv", r"echo data.csv.bak # data.csv"),
        ("echo '{{data}}' '{{{' {", r"echo '{{'{{'}}data}}' '{{'{{{'}}' {"),
        ("awk '{print $1}' data.csv", r"awk '{print $1}' {{data}}"),
        ("cat < data.csv > out.txt", r"cat < {{data}} > {{out}}"),
        ('printf "a\\tb" "data.csv"', r"printf \"a\\tb\" {{data}}"),
        ("echo ${name} ${n}", r"echo 'two words' {{params.n}}".replace("'two words'", "two words")),
        (
            'echo "${name}" "n=${n}." x${n}${n}',
            r"echo {{params.name}} \"n=\"{{params.n}}\".\" x{{params.n}}{{params.n}}",
        ),
        ("echo \"${n}${n}\" '${n}'", r"echo {{params.n}}{{params.n}} {{params.n}}"),
        ('echo $(cat data.csv) "$(echo ${n})"', r"echo $(cat {{data}}) \"$(echo {{params.n}})\""),
    ],
)
def test_placeholders_stand_where_they_mean_the_same(project: Checkout, command: str, written: str) -> None:
    stage = {"cmd": command, "deps": ["data.csv"], "outs": ["out.txt"]}
    text = imported(project, json.dumps({"stages": {"s": stage}}), {"params.yaml": "name: two words\nn: 3\n"})
    run = next(line for line in text.splitlines() if "run" in line and "=" in line)
    assert run.partition("= ")[2].strip() == f'"{written}"'


def test_commands_that_change_their_shell_keep_to_themselves(project: Checkout) -> None:
    text = imported(project, "stages: {s: {cmd: ['cd data && ls', 'ls', 'X=1; echo'], outs: [o.txt]}}")
    assert '"(cd data && ls)", "ls", "(X=1; echo)"' in text


def test_each_or_written_out(project: Checkout) -> None:
    text = imported(
        project,
        """\
stages:
  a: {foreach: [x, y], do: {cmd: "touch a-${item}", outs: ["a-${item}"]}}
  b: {foreach: [x, y], do: {cmd: "cat a-${item} > b-${item}", deps: ["a-${item}"], outs: ["b-${item}"]}}
  c: {foreach: [x, y], do: {cmd: "cat d-${item} > c-${item}", deps: ["d-${item}"], outs: ["c-${item}"]}}
  d: {cmd: "cat a-x b-y > d", deps: [a-x, b-y], outs: [d]}
""",
        {"d-x": "", "d-y": ""},
    )
    assert 'stage b each item in ["x", "y"] {' in text
    assert "= a[item].a" in text
    assert "stage c_x {" in text
    assert "stage c_y {" in text
    assert '= a["x"].a' in text
    assert '= b["y"].b' in text


def test_metrics_have_the_fields_that_are_there(project: Checkout) -> None:
    text = imported(
        project,
        "stages: {s: {cmd: 'touch m.json p.png', metrics: [m.json: {cache: false}], plots: [p.png]}}",
        {"m.json": '{"auc": 0.5, "deep": {"f1": 1, "not-a-name": 2}}'},
    )
    assert "metrics { auc: float, deep.f1: float }" in text
    assert "image   s.p" in text


def test_frozen_stages_give_data(project: Checkout) -> None:
    text = imported(
        project,
        "stages:\n  old: {cmd: make old.txt, frozen: true, outs: [old.txt]}\n"
        "  new: {cmd: cat old.txt > new.txt, deps: [old.txt], outs: [new.txt]}\n",
        {"old.txt": "kept"},
    )
    assert 'data old = "old.txt"' in text
    assert "stage old" not in text


def test_what_is_not_carried_over_is_said_with_its_line(project: Checkout) -> None:
    project.write(
        {
            "dvc.yaml": """\
stages:
  s:
    cmd: touch o.txt
    always_changed: true
    meta: {owner: me}
    deps:
      - s3://bucket/x
    outs:
      - o.txt:
          push: false
datasets: []
"""
        }
    )
    left = {(f["construct"], f["line"]) for f in findings(project) if f["fate"] == "left out"}
    assert left == {("always_changed", 4), ("meta", 5), ("deps", 7), ("push", 10), ("datasets", 11)}
    said = project.mlpipec("import", "--force").out
    assert "dvc.yaml:7  deps: `s3://bucket/x` is not in the project" in said


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("stages: [}\n", "dvc.yaml:1", "this is not YAML"),
        ("a: 1\n", "dvc.yaml:1", "this is no dvc.yaml"),
        ("- 1\n", "dvc.yaml:1", "this is no dvc.yaml"),
        ("", "dvc.yaml:1", "this is no dvc.yaml"),
        ("stages:\n  a: {cmd: x}\n  a: {cmd: y}\n", "dvc.yaml:3", "`a` stands twice"),
        ("stages:\n  a: 3\n", "dvc.yaml:2", "is no mapping"),
        ("stages:\n  a:\n    outs: [x]\n", "dvc.yaml:2", "has no `cmd`"),
        ("stages:\n  a:\n    cmd: x ${lr}\n", "dvc.yaml:3", "there is no `lr`"),
        (
            "stages:\n  a:\n    cmd: x\n    params: [lr]\n",
            "dvc.yaml:4",
            "there is no parameter file `params.yaml`",
        ),
        ("vars: [gone.yaml]\nstages: {}\n", "dvc.yaml:1", "there is no file `gone.yaml`"),
        ("vars: [{a: 1}, {a: 2}]\nstages: {}\n", "dvc.yaml:1", "`a` is given twice"),
        ("vars: [{a: [1]}]\nstages: {s: {cmd: 'x ${a}'}}\n", "dvc.yaml:2", "a plain value is wanted"),
        ("stages:\n  a: {foreach: 3, do: {cmd: x}}\n", "dvc.yaml:2", "`foreach` goes over"),
        ("stages:\n  a: {cmd: x, outs: [o]}\n  b: {cmd: x, outs: [o]}\n", "dvc.yaml:3", "is written twice"),
        (
            "stages:\n  a: {cmd: x, outs: [o]}\n  b: {cmd: x, outs: [o/p]}\n",
            "dvc.yaml:3",
            "`o/p` lies in `o`",
        ),
        ("stages:\n  a: {cmd: x, outs: [../o]}\n", "dvc.yaml:2", "lies outside of the project"),
        (
            "stages:\n  a: {cmd: x, deps: [p], outs: [o]}\n  b: {cmd: x, deps: [o], outs: [p]}\n",
            "dvc.yaml:2",
            "in a circle: `a` → `b` → `a`",
        ),
        ("a: &a [*a]\nstages: {}\n", "dvc.yaml:1", "an alias stands inside"),
    ],
)
def test_a_mistake_is_shown_with_its_place(project: Checkout, text: str, place: str, said: str) -> None:
    err = refused(project, text)
    assert place in err, err
    assert said in err, err


def test_aliases_cannot_grow_without_end(project: Checkout) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "holds more than" in refused(project, "\n".join([*lines, "stages: {}"]))


def test_data_that_dvc_tracks(project: Checkout) -> None:
    stage = {"cmd": "cat data/raw.csv data/dir/a.txt > o.txt", "outs": ["o.txt"]}
    stage["deps"] = ["data/raw.csv", "data/dir/a.txt"]
    pointer = "outs: [{md5: 0123456789abcdef0123456789abcdef, path: raw.csv}]\n"
    folder = "outs: [{md5: 0123456789abcdef0123456789abcdef.dir, path: dir}]\n"
    files = {"data/raw.csv": "", "data/dir/a.txt": "", "data/raw.csv.dvc": pointer, "data/dir.dvc": folder}
    text = imported(project, json.dumps({"stages": {"s": stage}}), files)
    assert 'data raw = dvc("data/raw.csv.dvc")' in text
    assert 'data dir = dvc("data/dir.dvc")' in text
    assert '"cat {{raw}} {{dir}}/a.txt > {{o}}"' in text


def test_what_the_shell_does_otherwise_is_said(project: Checkout) -> None:
    project.write({"dvc.yaml": "stages: {s: {cmd: 'a \"x|y\" | b $VAR > o || c', outs: [o]}}"})
    said = [f["text"] for f in findings(project) if f["construct"] == "cmd"]
    assert any("pipefail" in str(t) for t in said)
    assert any("`$VAR` comes from the host" in str(t) for t in said)
    project.write({"dvc.yaml": "stages: {s: {cmd: 'a \"x|y\" > o || c \\$VAR', outs: [o]}}"})
    assert not [f for f in findings(project) if f["construct"] == "cmd"]


def test_usage(project: Checkout) -> None:
    assert "no dvc.yaml" in project.mlpipec("import", code=2).err
    assert "no file" in project.mlpipec("import", "gone.yaml", code=2).err
    project.write({"dvc.yaml": STAGE, "other/dvc.yaml": STAGE})
    assert "one dvc.yaml" in project.mlpipec("import", "dvc.yaml", "other/dvc.yaml", code=2).err
    assert ".mlpipe" in project.mlpipec("import", "-o", "x.txt", code=2).err
    assert "--stdout" in project.mlpipec("import", "--cache", "--stdout", code=2).err
    assert "lies outside" in project.mlpipec("import", "-o", "other/p.mlpipe", "dvc.yaml", code=2).err


def test_a_result_that_was_changed_is_not_taken_over(project: Checkout) -> None:
    md5 = "6f8f57715090da2632453988d9a1501b"  # of `m`
    data, code = "d1b3f8b0b1b5d0b5f5d0f5f5b5d0b5f5", "0" * 32
    project.write(
        {
            "dvc.yaml": STAGE,
            "dvc.lock": "schema: '2.0'\nstages:\n  train:\n    cmd: python3 train.py data.csv model.bin\n"
            f"    deps: [{{path: data.csv, md5: {data}}}, {{path: train.py, md5: {code}}}]\n"
            f"    outs: [{{path: model.bin, md5: {md5}}}]\n",
            "model.bin": "m",
        }
    )
    left = [f for f in findings(project, "--cache") if f["construct"] == "results"]
    assert [f["fate"] for f in left] == ["left out"]
    assert "`data.csv` is not what it was" in str(left[0]["text"])
    assert "1 ran" in project.mlpipec("run").out


def test_the_old_lock_is_told_of_where_its_results_stay_behind(project: Checkout) -> None:
    project.write({"dvc.yaml": STAGE, "dvc.lock": "schema: '2.0'\nstages: {}\n"})
    assert [f["fate"] for f in findings(project) if f["construct"] == "dvc.lock"] == ["changed"]
    assert not [f for f in findings(project, "--cache") if f["construct"] == "dvc.lock"]


def test_an_artifact_keeps_the_instances_together(project: Checkout) -> None:
    text = imported(
        project,
        "stages:\n  fit:\n    foreach: [a, b]\n    do:\n      cmd: python3 train.py ${item}\n"
        "      outs: ['models/${item}.bin']\n"
        "artifacts:\n  best: {path: models/a.bin, desc: the small one}\n",
    )
    assert 'stage fit each item in ["a", "b"] {' in text
    assert "  # Artifact `best` (`models/a.bin`): desc: the small one\n" in text


def test_the_example_of_the_documents_is_true(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "import.md").read_text()
    source, written = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("yaml", "mlpipe"))
    assert source
    assert written
    project = Checkout(tmp_path / "demo")
    files = {
        "data/raw.csv": "",
        "src/prepare.py": "",
        "src/train.py": "",
        "params.yaml": "prepare: {split: 0.2}\n",
    }
    assert imported(project, source[1], files) == written[1]
