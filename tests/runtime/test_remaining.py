"""How long a run will still take, worked out from how long stages took."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc import project
from mlflowc.runtime.plan import Plan, make_plan
from mlflowc.runtime.remaining import Remaining
from mlflowc.runtime.workspace import open_workspace

PIPELINE = """\
mlpipe 1

pipeline p

stage first {
  out o = "first.txt"
  run = "echo 1 > {{o}}"
}

stage then {
  in  o = first.o
  out t = "then.txt"
  run = "cp {{o}} {{t}}"
}

stage side each n in [1, 2, 3] {
  out s = "side/{{n}}.txt"
  run = "echo {{n}} > {{s}}"
}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "pipeline.mlpipe").write_text(PIPELINE)
    loaded = project.load(str(tmp_path / "pipeline.mlpipe"))
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        return make_plan(ws)
    finally:
        ws.close()


LASTED = {"first": 10.0, "then": 20.0, "side[1]": 4.0, "side[2]": 4.0, "side[3]": 4.0}


def test_the_longest_chain_or_all_work_shared(plan: Plan) -> None:
    assert Remaining(plan, LASTED, 1).seconds({}) == 42
    assert Remaining(plan, LASTED, 4).seconds({}) == 30


def test_what_runs_counts_less_and_what_is_done_not_at_all(plan: Plan) -> None:
    left = Remaining(plan, LASTED, 4)
    assert left.seconds({"first": 3.0}) == 27
    assert left.seconds({"first": 30.0}) == 20
    left.done("first", 30.0)
    assert left.seconds({"then": 5.0}) == 15
    left.done("then", None)
    assert left.seconds({}) == 4


def test_an_instance_that_never_ran_takes_as_long_as_the_others(plan: Plan) -> None:
    known = {**LASTED, "side[1]": 2.0}
    del known["side[3]"]
    assert Remaining(plan, known, 1).seconds({}) == 10 + 20 + 2 + 4 + 3


def test_nobody_can_tell_of_a_stage_that_never_ran(plan: Plan) -> None:
    left = Remaining(plan, {"first": 10.0}, 4)
    assert left.seconds({}) is None
    left.done("then", 1.0)
    assert left.seconds({}) is None
    left.done("side[2]", 2.0)
    assert left.seconds({}) == 10
