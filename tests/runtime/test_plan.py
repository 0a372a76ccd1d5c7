"""Plans for jobs: exactly some stages, with what others have left; deep keys; who shares the machine."""

from __future__ import annotations

import shutil

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Event, EventInput, Param, Pipeline, ScalarType
from mlflowc.runtime.events import Outcome
from mlflowc.runtime.execute import run
from mlflowc.runtime.foreseen import deep_keys, verify
from mlflowc.runtime.plan import Action, make_plan
from mlflowc.runtime.targets import closure, event, resolve, under_event
from tests.runtime.lab import Lab
from tests.support.ir import place


def test_an_exact_plan_runs_nothing_but_its_stages(chain: Lab) -> None:
    ws = chain.open()
    plan = make_plan(ws, exact={"clean"})
    assert {s.stage.id: s.action for s in plan.steps} == {"load": Action.BLOCKED, "clean": Action.WAIT}
    with pytest.raises(Failure, match="`load` cannot run: no result of `load` is here"):
        run(ws, plan)
    ws.close()


def test_an_exact_plan_fetches_only_what_its_commands_read(chain: Lab) -> None:
    chain.run("clean")
    shutil.rmtree(chain.root / "data")
    chain.params["clean.top"] = 1
    ws = chain.open()
    result = run(ws, make_plan(ws, exact={"clean"}))
    ws.close()
    assert {r.stage: r.outcome for r in result.stages} == {"load": Outcome.KEPT, "clean": Outcome.RAN}
    assert chain.read("data/rows.txt") == "3\n1\n2\n"
    shutil.rmtree(chain.root / "data")
    ws = chain.open()
    assert run(ws, make_plan(ws, exact={"clean"})).count(Outcome.RESTORED) == 1
    ws.close()
    assert not (chain.root / "data/rows.txt").exists()


def test_an_exact_plan_whose_upstream_content_is_gone_says_so(chain: Lab) -> None:
    chain.run("clean")
    shutil.rmtree(chain.root / "data")
    shutil.rmtree(chain.root / ".mlpipe")
    chain.params["clean.top"] = 1
    ws = chain.open()
    failed = run(ws, make_plan(ws, exact={"clean"})).stage("clean")
    ws.close()
    assert failed is not None
    assert "`data/rows.txt`, made by another stage, is neither in place nor in the cache" in failed.message


def test_a_plan_for_results_does_not_look_at_their_places(chain: Lab) -> None:
    chain.run()
    chain.write("data/rows.txt", "edited\n")
    ws = chain.open()
    stored = make_plan(ws, stored=True)
    looked = {path for path, _, _ in ws.checkout.all_seen()}
    assert {s.action for s in stored.steps} <= {Action.KEEP, Action.RESTORE}
    assert stored.step("load").action is Action.RESTORE  # type: ignore[union-attr]
    assert "raw.txt" in looked
    assert not looked & {"data/rows.txt", "data/best.txt", "greeting.txt"}
    assert [(s.key, s.outputs) for s in stored.steps] == [(s.key, s.outputs) for s in make_plan(ws).steps]
    # What the cache has lost may still stand in its place.
    ws.store.drop(stored.step("other").outputs[0].hash)  # type: ignore[union-attr]
    again = make_plan(ws, stored=True)
    assert again.step("other").action is Action.KEEP  # type: ignore[union-attr]
    ws.close()
    (chain.root / "greeting.txt").unlink()
    ws = chain.open()
    assert make_plan(ws, stored=True).step("other").action is Action.RUN  # type: ignore[union-attr]
    ws.close()


def test_deep_keys_are_known_before_anything_ran(chain: Lab) -> None:
    before = deep_keys(chain.open())
    assert all(before.values())
    chain.run()
    assert deep_keys(chain.open()) == before
    chain.write("raw.txt", "2\n1\n3\n")
    after = deep_keys(chain.open())
    assert {s for s in after if after[s] != before[s]} == {"load", "clean", "score"}
    (chain.root / "raw.txt").unlink()
    gone = deep_keys(chain.open())
    assert {s for s in gone if gone[s] is None} == {"load", "clean", "score"}


def test_verify_names_each_disagreement(chain: Lab) -> None:
    chain.run()
    assert verify(chain.open()) == {}
    chain.params["clean.top"] = 1
    assert list(verify(chain.open())) == ["clean"]
    chain.stages = [s for s in chain.stages if s.id != "other"]
    assert "no such stage" in verify(chain.open())["other"]
    (chain.root / "raw.txt").unlink()
    assert "`raw.txt` does not exist" in verify(chain.open())["load"]


def test_targets(chain: Lab) -> None:
    pipeline = chain.pipeline()
    assert resolve(pipeline, []).stages == ("load", "clean", "score", "other")
    assert resolve(pipeline, ["score", "load"]).stages == ("load", "score")
    assert [s.id for s in closure(pipeline, ["score"])] == ["load", "clean", "score"]
    with pytest.raises(Failure) as caught:
        resolve(pipeline, ["scor"])
    assert caught.value.code == 2
    assert caught.value.help == "did you mean `score`?"


def test_the_parameters_of_an_event() -> None:
    manual = Event(
        "manual",
        "manual",
        place(),
        (),
        with_params=(("a", 5),),
        inputs=(EventInput("b", ScalarType("int"), 7),),
    )
    pipeline = Pipeline(
        "p",
        1,
        "p.mlpipe",
        params=(Param("a", ScalarType("int"), 1), Param("b", ScalarType("int"), 2)),
        events=(manual,),
    )
    assert event(pipeline, "manual") is manual
    assert [p.value for p in under_event(pipeline, manual).params] == [5, 7]
    assert [p.value for p in under_event(pipeline, manual, keep=["b"]).params] == [5, 2]
    with pytest.raises(Failure, match="there is no event `manuel`"):
        event(pipeline, "manuel")
