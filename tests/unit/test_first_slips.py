"""The slips of a first hour, and whether what is said of each leads out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflowc.ir import feeds
from mlflowc.sources import url
from tests.support.project import Checkout

PIPELINE = """\
mlpipe 1

pipeline demo

params "params.yaml"

stage train each seed in 1..3 {
  param rate
  out scores: metrics { auc: float } = "metrics/{{seed}}.json"
  run = "echo {{params.rate}} > {{scores}}"
}

gate quality { require min(train[*].scores.auc) >= 0.5 }

report review { metrics train[*].scores vs "main" }
"""


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.write({"pipeline.mlpipe": PIPELINE, "params.yaml": "rate: 0.1\n"})
    assert "ok: 3 stages" in made.mlpipec("check").out
    return made


@pytest.mark.parametrize(
    ("before", "after", "message", "help"),
    [
        (">= 0.5", "=> 0.5", "`=>` compares nothing", "write `>=`"),
        (">= 0.5", "=< 0.5", "`=<` compares nothing", "write `<=`"),
        ('vs "main"', "vs main", "a string is wanted here", 'write `"main"`'),
        (">= 0.5", '>= "main"', "a number, a metric or a condition", '`baseline("main")`'),
        ('"params.yaml"', '"parms.yaml"', "`parms.yaml` cannot be read", "did you mean `params.yaml`?"),
        ('"metrics/', '"../metrics/', "lies outside the project folder", "relative to the folder"),
        (
            "gate quality",
            "sweep tune over train { vary rate in [1.0], goal = maximize(scores.auc) }\ngate quality",
            "`train` has instances",
            "without `each`",
        ),
        (
            "gate quality",
            'data raw = url("example.org/x.csv")\ngate quality',
            "an address that says how",
            "`https:`",
        ),
    ],
)
def test_a_slip_is_named_once_and_mended(
    project: Checkout, before: str, after: str, message: str, help: str
) -> None:
    project.replace("pipeline.mlpipe", before, after)
    said = project.mlpipec("check", code=1).out
    assert said.count(message) == 1
    assert help in said[said.index(message) :]


def test_a_comparison_the_wrong_way_round_is_mended_by_itself(project: Checkout) -> None:
    project.replace("pipeline.mlpipe", ">= 0.5", "=> 0.5")
    project.mlpipec("check", "--fix")
    assert project.read("pipeline.mlpipe") == PIPELINE


def test_what_can_be_fetched_is_what_passes() -> None:
    assert set(feeds.SCHEMES) == set(url._SCHEMES)


def test_why_a_stage_did_not_run(project: Checkout) -> None:
    project.replace(
        "pipeline.mlpipe", "echo {{params.rate}} > {{scores}}", "exit {{params.rate}}; {{scores}}"
    )
    project.write({"params.yaml": "rate: 3\n"})
    project.replace(
        "pipeline.mlpipe",
        "gate quality",
        'stage last { in s = train[1].scores, out o = "o", run = "cp {{s}} {{o}}" }\ngate quality',
    )
    said = project.mlpipec("run", "--jobs", "1", code=1).out
    assert "- last not run: a stage before it failed" in said
    assert "- train[2] not run: another stage failed; `--keep-going` goes on" in said
    assert "`--keep-going`" not in project.mlpipec("run", "--keep-going", code=1).out


def test_a_quote_inside_of_a_command(project: Checkout) -> None:
    project.replace("pipeline.mlpipe", 'run = "echo', 'run = "python -c "print(1)" && echo')
    said = project.mlpipec("check", code=1).out
    assert 'a text ends at this `"`, and `print` stands right behind it' in said
    assert '10 │   run = "python -c "print(1)" && echo' in said
    assert r'a `"` inside of a text is written `\"`' in said


def test_a_comma_before_the_parameters_of_an_event(project: Checkout) -> None:
    project.replace(
        "pipeline.mlpipe", "report", 'on push("main") { run = [quality] with { rate = 0.2 } }\nreport'
    )
    assert "between `]` and `with` a `,`" in project.mlpipec("check", code=1).out
    project.mlpipec("check", "--fix")


def test_a_path_is_told_of_once_for_all_instances(project: Checkout) -> None:
    project.replace("pipeline.mlpipe", '"metrics/', '"my metrics/')
    assert project.mlpipec("check").out.count("has a space in it") == 1


def test_the_figures_of_a_gate_as_data(project: Checkout) -> None:
    project.replace("pipeline.mlpipe", ">= 0.5", ">= 0.05")
    better = "require better(train[*].scores.auc, than = 0.04)"
    project.replace("pipeline.mlpipe", "gate quality {", f"gate quality {{\n  {better}\n ")
    written = """run = '''printf '{"auc": %s}' {{params.rate}} > {{scores}}'''""".replace("'''", '"' * 3)
    project.replace("pipeline.mlpipe", 'run = "echo {{params.rate}} > {{scores}}"', written)
    row = json.loads(project.mlpipec("run", "--json").out)["gates"][0]["requirements"][0]
    assert row["baseline"] == 0.04
    assert row["difference"] == pytest.approx(0.06)
    assert row["detail"].startswith("more is better; mean of 3")


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("search = bayes(trials = 4)", ["a way to search is wanted here", "`random(trials = 20)`"]),
        ("search = random", ["a number of trials is wanted here", "write `random(trials = 20)`"]),
        ("goal = maximize(auc)", ["a metric of `one` is wanted here", "write `scores.auc`"]),
        ("goal = maximize(score)", ["a metric of `one` is wanted here", "as in `scores.auc`"]),
        ("vary rate in log(0, 1)", ["a list or a range of values to try", "a `log` above 0"]),
    ],
)
def test_a_slip_in_a_sweep_is_one_message(project: Checkout, line: str, messages: list[str]) -> None:
    lines = {
        "vary": "vary rate in log(0.1, 1)",
        "search": "search = random(trials = 2)",
        "goal": "goal = maximize(scores.auc)",
    }
    lines[line.split()[0]] = line
    project.replace("pipeline.mlpipe", "train each seed in 1..3", "one")
    project.replace("pipeline.mlpipe", "{{seed}}", "x")
    project.replace("pipeline.mlpipe", "train[*]", "one")
    body = "\n".join(f"  {part}" for part in lines.values())
    project.replace("pipeline.mlpipe", "gate quality", f"sweep tune over one {{\n{body}\n}}\ngate quality")
    said = project.mlpipec("check", code=1).out
    assert [message in said for message in messages] == [True, True], said
    assert "1 error" in said
