"""The standard library as a project uses it: each component by the command line, its outputs looked at."""

from __future__ import annotations

import csv
import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e import scenario, services
from tests.e2e.harness.act import GitHub
from tests.e2e.harness.gitlab import GitLab
from tests.e2e.harness.tools import Tools
from tests.e2e.services import AtGitHub, AtGitLab, Make
from tests.support.project import Checkout, Done

pytestmark = pytest.mark.e2e


def start(folder: Path, pipeline: str, files: dict[str, str]) -> Checkout:
    """A project in a repository; `pipeline` goes on behind its first lines."""
    made = Checkout(folder / "project")
    made.path.mkdir()
    made.write({"pipeline.mlpipe": f"mlpipe 1\npipeline lab\n{pipeline}", ".gitignore": "", **files})
    made.git("init", "-q", "-b", "main")
    made.commit()
    assert made.mlpipec("check").out.startswith("ok")
    return made


def ran(done: Done) -> list[str]:
    """The stages whose command ran."""
    return sorted(re.findall(r"✓ (\S+) ", done.out))


def idle(project: Checkout) -> bool:
    """Whether a further run does nothing."""
    done = project.mlpipec("run")
    return "nothing to do" in done.out and not ran(done)


def table(project: Checkout, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(project.read(name).splitlines()))


# --- std/drift

DRIFT = """
use "std/drift"
data old: csv = "old.csv"
data new: csv = "new.csv"
stage shift = drift { reference = old, current = new }
gate steady { require shift.summary.drifted <= 1 }
report review {
  metrics shift.summary
  plot shift.by_column { x = column, y = psi }
}
on pull_request { run = [steady, review] }
"""


def people(seed: int, age: float, plans: str, missing: float = 0.0, rows: int = 400) -> str:
    """A table of people: `plans` are drawn from with equal chances."""
    draw = random.Random(seed)
    lines = ["id,age,plan"]
    for n in range(rows):
        years = "" if draw.random() < missing else f"{draw.gauss(age, 10):.2f}"
        lines.append(f"{n},{years},{draw.choice(plans)}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def drifting(tmp_path: Path) -> Checkout:
    files = {"old.csv": people(1, 40, "ab"), "new.csv": people(2, 40, "ab")}
    return start(tmp_path, DRIFT, files)


def test_drift_says_what_moved(drifting: Checkout) -> None:
    drifting.mlpipec("run", "shift")
    before = json.loads(drifting.read("drift/shift.json"))
    assert (before["columns"], before["drifted"], before["rows_current"]) == (3, 0, 400)
    assert 0 < before["psi_max"] < 0.1
    assert idle(drifting)
    drifting.write({"new.csv": people(2, 55, "abbb", missing=0.25)})
    done = drifting.mlpipec("run", "shift")
    assert ran(done) == ["shift"]
    assert "2 of 3 columns drifted: age, plan" in done.out
    columns = {row["column"]: row for row in table(drifting, "drift/shift.csv")}
    assert columns["id"]["psi"] == "0.0"
    age = columns["age"]
    assert (age["kind"], age["test"], age["drifted"]) == ("number", "ks", "true")
    assert 0.2 < float(columns["age"]["missing_current"]) < 0.3
    assert float(columns["age"]["p_value"]) < 1e-6
    assert (columns["plan"]["kind"], columns["plan"]["test"]) == ("category", "chi2")
    assert float(columns["plan"]["p_value"]) < 1e-6
    shares = table(drifting, "drift/shift-shares.csv")
    for name in ("id", "age", "plan"):
        for which in ("reference", "current"):
            mine = [float(r["share"]) for r in shares if r["column"] == name and r["set"] == which]
            assert sum(mine) == pytest.approx(1)
    assert "nothing to do" in drifting.mlpipec("run", "shift").out


def test_drift_stops_at_a_gate_and_shows_in_a_report(drifting: Checkout) -> None:
    drifting.replace("pipeline.mlpipe", "drifted <= 1", "psi_max < 0.1")
    drifting.write({"new.csv": people(2, 70, "ab")})
    assert "psi_max" in drifting.mlpipec("run", code=1).out
    page = drifting.mlpipec("report", "review").out
    assert "psi_max" in page
    assert "age" in page


def test_drift_reads_every_kind_of_table(tmp_path: Path) -> None:
    rows = [{"n": n % 7, "word": "ab"[n % 2], "flag": n % 3 == 0, "gone": None} for n in range(50)]
    pipeline = """
    use "std/drift"
    stage lines = drift { reference = "a.jsonl", current = "b.tsv", columns = ["n", "word", "flag"] }
    stage same  = drift { reference = "a.jsonl", current = "a.jsonl", categorical = ["n"] }
    """
    tsv = "n\tword\tflag\textra\n" + "".join(
        f"{r['n']}\t{r['word']}\t{str(r['flag']).lower()}\t1\n" for r in rows
    )
    files = {"a.jsonl": "".join(json.dumps(r) + "\n" for r in rows), "b.tsv": tsv}
    project = start(tmp_path, pipeline, files)
    project.mlpipec("run")
    summary = json.loads(project.read("drift/lines.json"))
    assert (summary["psi_max"], summary["added"], summary["removed"]) == (0, 1, 1)
    kinds = {row["column"]: row["kind"] for row in table(project, "drift/same.csv")}
    assert kinds == {"n": "category", "word": "category", "flag": "category", "gone": "category"}
    assert json.loads(project.read("drift/same.json"))["psi_max"] == 0


def test_drift_reads_parquet_where_there_is_pyarrow(tmp_path: Path) -> None:
    pipeline = """
    use "std/drift"
    env arrow { requirements = "arrow.txt" }
    stage convert {
      in raw = "old.csv"
      out table: parquet = "old.parquet"
      env = arrow
      run = "python convert.py {{raw}} {{table}}"
    }
    stage shift = drift { reference = convert.table, current = "old.csv", env = arrow }
    """
    convert = """import sys
from pyarrow import csv, parquet
parquet.write_table(csv.read_csv(sys.argv[1]), sys.argv[2])
"""
    files = {"arrow.txt": "pyarrow\n", "old.csv": people(1, 40, "ab"), "convert.py": convert}
    project = start(tmp_path, pipeline, files)
    project.mlpipec("run")
    summary = json.loads(project.read("drift/shift.json"))
    assert (summary["columns"], summary["psi_max"], summary["rows_reference"]) == (3, 0, 400)
    assert idle(project)
    project.replace("pipeline.mlpipe", '"old.csv", env = arrow }', '"old.csv", env = bare }')
    project.replace("pipeline.mlpipe", "env arrow", 'env bare { requirements = "bare.txt" }\nenv arrow')
    project.write({"bare.txt": "six\n"})
    done = project.mlpipec("run", code=1)
    assert "old.parquet: for this kind of table the stage's env needs pyarrow" in done.out


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"new.csv": "id,age\n1,2\n3\n"}, r"new\.csv, line 3: 1 values, and there are 2 columns"),
        ({"new.csv": "id,age\n"}, r"new\.csv has no rows"),
        ({"new.csv": "other\n1\n"}, "have no column in common"),
    ],
)
def test_drift_says_what_is_wrong_with_a_table(tmp_path: Path, files: dict[str, str], words: str) -> None:
    project = start(tmp_path, DRIFT, {"old.csv": "id,age\n1,2\n", "new.csv": "id,age\n1,2\n"})
    project.write(files)
    done = project.mlpipec("run", code=1)
    assert re.search(words, done.out + done.err)
    assert "Traceback" not in done.out


def test_drift_by_make_and_on_another_machine(drifting: Checkout, tmp_path: Path) -> None:
    drifting.mlpipec("build", "--target", "make")
    drifting.commit()
    other = drifting.clone(tmp_path / "other")
    assert not (other.path / ".mlpipe/std").exists()
    outcome = Make(drifting).run("all")  # type: ignore[arg-type]
    assert outcome.ok, outcome.log
    first = drifting.read("drift/shift.json")
    assert json.loads(first)["columns"] == 3
    other.mlpipec("exec", "shift")
    assert other.read("drift/shift.json") == first
    locks = [re.findall(r'"key":"(\w+)"', p.read("mlpipe.lock")) for p in (drifting, other)]
    assert locks[0] == locks[1] and len(locks[0]) == 1
    again = Make(drifting).run("all")  # type: ignore[arg-type]
    assert again.ok and "columns drifted" not in again.log


def test_a_program_that_somebody_edited_is_put_right(drifting: Checkout) -> None:
    drifting.mlpipec("run", "shift")
    (program,) = (drifting.path / ".mlpipe/std").glob("*/drift.py")
    good = program.read_bytes()
    program.write_text("raise SystemExit('edited')\n")
    assert idle(drifting)
    drifting.write({"new.csv": people(3, 40, "ab")})
    assert ran(drifting.mlpipec("run")) == ["shift"]
    assert program.read_bytes() == good


# --- std/pytest

PYTEST = """
use "std/pytest"
env tests { requirements = "tests.txt" }
stage unit = pytest { tests = "tests", env = tests }
gate green { require unit.summary.failed == 0 }
on pull_request { run = [green] }
"""
SUITE = {
    "tests.txt": "pytest\n",
    "pytest.ini": "[pytest]\npythonpath = src\n",
    "src/shop.py": "def double(x):\n    return 2 * x\n",
    "src/other.py": "x = 1\n",
    "tests/test_shop.py": "import pytest\nimport shop\n\n"
    "def test_double():\n    assert shop.double(2) == 4\n\n"
    "@pytest.mark.skip\ndef test_later():\n    assert False\n",
}


@pytest.fixture
def tested(tmp_path: Path) -> Checkout:
    return start(tmp_path, PYTEST, SUITE)


def test_pytest_counts_and_runs_again_for_tested_code_alone(tested: Checkout) -> None:
    assert ran(tested.mlpipec("run")) == ["unit"]
    counted = json.loads(tested.read("test-results/unit.json"))
    assert {k: counted[k] for k in ("passed", "failed", "errors", "skipped")} == {
        "passed": 1,
        "failed": 0,
        "errors": 0,
        "skipped": 1,
    }
    suites = ElementTree.fromstring(tested.read("test-results/unit.xml"))
    assert {case.get("name") for case in suites.iter("testcase")} == {"test_double", "test_later"}
    assert idle(tested)
    tested.write({"src/other.py": "x = 2\n"})
    assert idle(tested)
    tested.write({"src/shop.py": "def double(x):\n    return x + x\n"})
    done = tested.mlpipec("run")
    assert ran(done) == ["unit"]
    assert "code `src/shop.py` changed" in done.out
    tested.write({"tests/conftest.py": "import other\n"})
    assert ran(tested.mlpipec("run")) == ["unit"]
    tested.write({"src/other.py": "x = 3\n"})
    assert "code `src/other.py` changed" in tested.mlpipec("run").out


def test_pytest_fails_the_stage_or_leaves_it_to_a_gate(tested: Checkout) -> None:
    tested.write({"src/shop.py": "def double(x):\n    return 3 * x\n"})
    done = tested.mlpipec("run", code=1)
    assert "assert 6 == 4" in done.out
    assert not (tested.path / "test-results/unit.json").exists()
    left = json.loads(tested.read(".mlpipe/failed/unit/test-results/unit.json"))
    assert left["failed"] == 1
    tested.replace("pipeline.mlpipe", "env = tests }", "env = tests, must_pass = false }")
    done = tested.mlpipec("run", code=1)
    assert ran(done) == ["unit"]
    assert re.search(r"FAIL\s+unit\.summary\.failed == 0", done.out)
    assert json.loads(tested.read("test-results/unit.json"))["failed"] == 1


def test_pytest_takes_arguments_and_says_what_it_cannot_do(tested: Checkout) -> None:
    tested.replace("pipeline.mlpipe", "env = tests }", 'env = tests, args = ["-k", "nothing at all"] }')
    assert "exit code" in tested.mlpipec("run", code=1).out
    tested.replace("pipeline.mlpipe", "nothing at all", "double")
    tested.mlpipec("run")
    assert json.loads(tested.read("test-results/unit.json"))["skipped"] == 0
    tested.write({"tests.txt": "six\n"})
    assert "the stage's env has no pytest" in tested.mlpipec("run", code=1).out


# --- std/notebook

NOTEBOOK = """
use "std/notebook" as nb
param train.lr = 0.5
param note = "it's"
env jupyter { requirements = "jupyter.txt" }
data raw: csv = "data/raw.csv"
stage explore = nb.notebook {
  in    raw
  param train.*
  param note
  out   scores: metrics { mean: float } = "out/scores.json"
  env      = jupyter
  notebook = "notes/explore.ipynb"
}
gate some { require explore.scores.mean > 0 }
on pull_request { run = [some] }
"""


def notebook(*cells: str) -> str:
    """A notebook whose first cell is tagged `parameters`; its author's kernel is not known here."""
    made = [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {"tags": ["parameters"]} if n == 0 else {},
            "outputs": [],
            "source": text,
        }
        for n, text in enumerate(cells)
    ]
    kernel = {"name": "my-own", "language": "python", "display_name": "Mine"}
    return json.dumps({"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4})


USUAL = notebook(
    "train, note = {'lr': 0}, ''",
    "import csv, json, helper\n"
    "rows = [float(r['x']) for r in csv.DictReader(open(inputs['raw']))]\n"
    "print('NOTE', note, helper.NAME)\n"
    "mean = sum(rows) / len(rows) * train['lr']\n"
    "json.dump({'mean': mean}, open(outputs['scores'], 'w'))",
)


@pytest.fixture
def noted(tmp_path: Path) -> Checkout:
    files = {
        "jupyter.txt": "nbconvert\nipykernel\n",
        "data/raw.csv": "x\n1\n3\n",
        "notes/helper.py": "NAME = 'one'\n",
        "notes/explore.ipynb": USUAL,
    }
    return start(tmp_path, NOTEBOOK, files)


def test_notebook_runs_with_parameters(noted: Checkout) -> None:
    assert ran(noted.mlpipec("run")) == ["explore"]
    assert json.loads(noted.read("out/scores.json")) == {"mean": 1.0}
    executed = json.loads(noted.read("executed/explore.ipynb"))
    first, injected, last = executed["cells"]
    assert first["metadata"]["tags"] == ["parameters"]
    assert injected["metadata"]["tags"] == ["injected-parameters"]
    assert "train = {'lr': 0.5}" in "".join(injected["source"])
    assert "".join(last["outputs"][0]["text"]) == "NOTE it's one\n"
    page = noted.read("executed/explore.html")
    assert "NOTE it's one" in page and "<html" in page
    assert noted.read("notes/explore.ipynb") == USUAL
    assert idle(noted)
    noted.replace("pipeline.mlpipe", "train.lr = 0.5", "train.lr = 0.25")
    assert ran(noted.mlpipec("run")) == ["explore"]
    assert json.loads(noted.read("out/scores.json")) == {"mean": 0.5}
    noted.write({"notes/helper.py": "NAME = 'two'\n"})
    assert "code `notes/helper.py` changed" in noted.mlpipec("run").out
    pages = [noted.read(f"executed/explore.{end}") for end in ("ipynb", "html")]
    noted.mlpipec("run", "--force", "explore")
    assert [noted.read(f"executed/explore.{end}") for end in ("ipynb", "html")] == pages


def test_notebook_that_fails_is_left_for_a_look(noted: Checkout) -> None:
    noted.write({"notes/explore.ipynb": notebook("x = 1", "print('BEFORE')\nraise ValueError('too bad')")})
    done = noted.mlpipec("run", code=1)
    assert "notes/explore.ipynb failed" in done.out and "ValueError: too bad" in done.out
    assert "Traceback (most recent call last)" in done.out  # the cell's own
    assert "run_notebook.py" not in done.out
    assert "\x1b" not in done.out
    assert "BEFORE" in noted.read(".mlpipe/failed/explore/executed/explore.html")
    noted.write({"notes/explore.ipynb": "{}"})
    assert "is no notebook" in noted.mlpipec("run", code=1).out
    noted.write({"notes/explore.ipynb": USUAL})
    noted.replace("pipeline.mlpipe", "env      = jupyter", 'env = jupyter, kernel = "julia-1.9"')
    assert "has no kernel 'julia-1.9'" in noted.mlpipec("run", code=1).out


# --- std/model_card

CARD = """
use "std/model_card"
param train.lr = 0.125
param train.depth = 1000
data raw: csv = "raw.csv"
stage train {
  in  raw
  param train.*
  out model: file = "out/model.bin"
  out scores: metrics { auc: float } = "out/scores.json"
  out folder: dir = "out/parts/"
  run = \"\"\"
    cat {{raw}} > {{model}}; mkdir {{folder}}; cp {{raw}} {{folder}}/a; echo '{"auc": 0.75}' > {{scores}}
    : {{params}}
    \"\"\"
}
stage card = model_card {
  in model    = train.model
  in parts    = train.folder
  in training = raw
  in "notes"
  param train.*
  metrics = train.scores
  title   = "Churn | plain"
  license = "apache-2.0"
  authors = ["Ada", "O'Neil"]
  tags    = ["tabular"]
  version = "2"
}
on pull_request { run = [card] }
""".replace('in "notes"', 'in notes = "notes.md"')


def test_model_card_says_it_all(tmp_path: Path) -> None:
    files = {"raw.csv": "id,plan\n1,\n2,b\n", "notes.md": "## Limits\n\nOnly in winter.\n"}
    project = start(tmp_path, CARD, files)
    project.mlpipec("run")
    card = project.read("cards/card.md")
    assert card.startswith('---\nlicense: "apache-2.0"\ntags: ["tabular"]\n---\n\n# Churn | plain\n')
    for line in (
        "- Authors: Ada, O'Neil",
        "| `auc` | 0.75 |",
        "| `train.depth` | 1,000 |",
        "| `train.lr` | 0.125 |",
        "| `plan` | 50.0% |",
    ):
        assert line in card
    assert re.search(r"\| training \| `raw.csv` \| 2 rows, 2 columns, 15 B \| `[0-9a-f]{12}` \|", card)
    assert re.search(r"\| parts \| `out/parts` \| 1 files, 15 B \|", card)
    assert card.endswith("## Limits\n\nOnly in winter.\n")
    assert idle(project)
    project.replace("pipeline.mlpipe", 'version = "2"', 'version = "3"')
    assert ran(project.mlpipec("run")) == ["card"]
    assert "- Version: 3" in project.read("cards/card.md")
    project.replace("pipeline.mlpipe", '  in notes = "notes.md"\n', "")
    project.mlpipec("run")
    assert "## Intended use and limits\n\nNot stated." in project.read("cards/card.md")


# --- components of one's own

SHARED = """mlpipe 1
component count {
  in  data: csv
  in  program = asset("count.py")
  out n: metrics { rows: int } = "counts/{{stage}}.json"
  run = "python3 {{program}} {{data}} {{n}} {{params}} {{inputs}}"
}
"""
COUNT = """import json, sys, words
data, out, params, inputs = sys.argv[1:]
rows = len(open(data).readlines()) - 1
json.dump({"rows": rows * words.FACTOR}, open(out, "w"))
print("GIVEN", json.loads(params), json.loads(inputs))
"""


def test_a_component_brings_its_program_along(tmp_path: Path) -> None:
    pipeline = """
    use "./lib/steps.mlpipe" as steps
    param k.a = 1
    stage one = steps.count { data = "raw.csv" }
    stage two = steps.count {
      in    more = one.n
      param k.*
      data = "raw.csv"
    }
    """
    files = {"lib/steps.mlpipe": SHARED, "lib/count.py": COUNT, "lib/words.py": "FACTOR = 1\n"}
    project = start(tmp_path, pipeline, {**files, "raw.csv": "x\n1\n2\n"})
    done = project.mlpipec("run", "-j1")
    assert ran(done) == ["one", "two"]
    assert "GIVEN {} {}" in done.out
    assert "GIVEN {'k': {'a': 1}} {'more': 'counts/one.json'}" in done.out
    assert json.loads(project.read("counts/two.json")) == {"rows": 2}
    assert idle(project)
    project.write({"lib/words.py": "FACTOR = 2\n"})
    assert ran(project.mlpipec("run")) == ["one", "two"]
    assert json.loads(project.read("counts/one.json")) == {"rows": 4}


# --- at a service

AT_SERVICE = """
use "std/drift"
use "std/model_card"
runner other { timeout = 20m }
stage shift = drift { reference = evens.part, current = odds.part }
stage card = model_card {
  in    odds = odds.part
  param make.rows
  metrics = [shift.summary, score.scores]
  title   = "Small"
  runner  = other
}
"""


@pytest.mark.parametrize("target", ["github", "gitlab"])
def test_components_at_a_service(target: str, tools: Tools, wheel: Path, tmp_path: Path) -> None:
    """Jobs on other machines get the programs, too: same keys, same outputs."""
    here = scenario.prepare(tmp_path / "here", wheel, text=AT_SERVICE)
    replaced = {"[enough, review] }\non schedule": "[enough, review, card] }\non schedule"}
    for repository in (here, there := scenario.prepare(tmp_path / "there", wheel, text=AT_SERVICE)):
        for old, new in replaced.items():
            scenario.edit(repository, "pipeline.mlpipe", old, new)
    done = services.mlpipec(here.path, "run", "card")
    assert done.returncode == 0, done.stdout + done.stderr
    scenario.build(there, target)
    service = (
        AtGitHub(GitHub(tools, there.path, tmp_path / "service"), "small")
        if target == "github"
        else AtGitLab(GitLab(tools, there.path, tmp_path / "service"))
    )
    outcome = service.run(scenario.PUSH)
    assert outcome.ok, outcome.log
    assert {"shift", "card"} <= set(outcome.results)
    assert outcome.results == services.locked(here.path)
