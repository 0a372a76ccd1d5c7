"""Event to job graph: what is fused, what is split, who waits for whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowc.cron import CronError, parse_cron, quartz
from mlflowc.ir.model import (
    Data,
    DataRef,
    EventInput,
    FileType,
    Input,
    Pipeline,
    Place,
    ScalarType,
    Stage,
)
from mlflowc.jobs.graph import fuse, predecessors, wanted
from mlflowc.jobs.lower import lower
from mlflowc.jobs.model import JobKind, Workflow
from mlflowc.jobs.names import Names, slug, variable
from tests.support.ir import digits, event, gate, pipeline, stage


def shape(workflow: Workflow) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each job's stages and needs."""
    return {j.id: (j.stages, j.needs) for j in workflow.jobs}


def test_a_chain_on_one_machine_is_one_job_and_a_gpu_splits_it() -> None:
    flow = lower(digits(), digits().events[0])
    assert shape(flow) == {
        "plan": ((), ()),
        "features": (("load", "prepare", "features"), ("plan",)),
        "train": (("train",), ("plan", "features")),
        "evaluate": (("evaluate",), ("plan", "train", "features")),
        "check": ((), ("plan", "evaluate")),
    }
    train = flow.job("train")
    assert train is not None and train.skippable and train.trusted and train.timeout == 8 * 3600


def test_without_the_gpu_all_is_one_job() -> None:
    flow = lower(digits(gpu=False), digits(gpu=False).events[0])
    assert [j.id for j in flow.jobs] == ["plan", "evaluate", "check"]
    assert flow.jobs[1].stages == ("load", "prepare", "features", "train", "evaluate")
    assert not flow.jobs[1].skippable


def test_an_edge_that_follows_from_others_does_not_split_a_chain() -> None:
    flow = pipeline(stage("a"), stage("b", "a.out"), stage("c", "a.out", "b.out"))
    assert [j.stages for j in lower(flow, event("push", "c")).jobs[1:]] == [("a", "b", "c")]


def test_branches_run_side_by_side() -> None:
    flow = pipeline(stage("a"), stage("b", "a.out"), stage("c", "a.out"), stage("d", "b.out", "c.out"))
    jobs = {j.id: j.needs for j in lower(flow, event("push", "d")).jobs}
    assert jobs == {
        "plan": (),
        "a": ("plan",),
        "b": ("plan", "a"),
        "c": ("plan", "a"),
        "d": ("plan", "b", "c"),
    }


def test_only_what_the_event_wants() -> None:
    flow = pipeline(stage("a"), stage("b", "a.out"), stage("other"))
    assert [s for j in lower(flow, event("push", "b")).jobs for s in j.stages] == ["a", "b"]


@pytest.mark.parametrize(
    "fields", [{"env": "x"}, {"runner": "r"}, {"secrets": ("S",)}], ids=["env", "runner", "secrets"]
)
def test_another_place_or_trust_is_another_job(fields: dict[str, object]) -> None:
    flow = pipeline(stage("a"), stage("b", "a.out", **fields))
    assert [j.stages for j in lower(flow, event("push", "b")).jobs[1:]] == [("a",), ("b",)]


def test_a_job_with_secrets_is_trusted_and_names_them() -> None:
    flow = pipeline(stage("a", secrets=("S", "T")))
    job = lower(flow, event("push", "a")).jobs[1]
    assert (job.secrets, job.trusted, job.skippable) == (("S", "T"), True, True)


def test_instances_run_side_by_side_and_are_named_apart() -> None:
    flow = pipeline(*(stage(f"train[{x}]") for x in ("a-b", "a_b", "a b")), gates=(gate("g", "train[a b]"),))
    assert [j.id for j in lower(flow, event("push", "train")).jobs] == [
        "plan",
        "train-a-b",
        "train-a_b",
        "train-a-b-2",
    ]
    assert [j.stages for j in lower(flow, event("push", "g")).jobs] == [(), ("train[a b]",), ()]


def test_a_stage_may_be_called_plan_or_check() -> None:
    flow = pipeline(stage("plan"), stage("check", "plan.out", env="x"))
    assert [j.id for j in lower(flow, event("push", "check")).jobs] == ["plan", "plan-2", "check-2"]


def test_order_without_data_is_waited_for() -> None:
    flow = pipeline(stage("a"), stage("b", after=("a",), env="x"))
    assert lower(flow, event("push", "b")).jobs[2].imports == ("a",)


def test_an_action_waits_for_the_gates_and_for_what_it_reads() -> None:
    flow = lower(digits(), digits().events[1])
    publish = flow.job("publish")
    assert publish is not None
    assert publish.needs == ("plan", "train", "check")
    assert publish.imports == ("train",)
    assert (publish.kind, publish.trusted, publish.skippable) == (JobKind.ACTION, True, False)
    assert (publish.approve, publish.secrets) == ("production", ("HF_TOKEN",))


def test_actions_come_after_those_they_name() -> None:
    base = digits()
    first = replace(base.actions[0], name="first")
    second = replace(base.actions[0], name="second", after=("first", "quality"))
    flow = lower(replace(base, actions=(second, first)), event("push", "first", "second"))
    assert [j.id for j in flow.jobs][-2:] == ["first", "second"]
    assert flow.jobs[-1].needs == ("plan", "train", "first")


def test_timeouts_add_up_with_retries_and_overhead() -> None:
    flow = pipeline(stage("a", timeout=60, retry=2), stage("b", "a.out", timeout=30))
    assert lower(flow, event("push", "b")).jobs[1].timeout == 60 * 3 + 30 + 600
    flow = pipeline(stage("a", timeout=60), stage("b", "a.out"))
    assert lower(flow, event("push", "b")).jobs[1].timeout is None


def test_inputs_get_names_for_forms_and_for_the_environment() -> None:
    asked = tuple(EventInput(n, ScalarType("int"), 1) for n in ("train.epochs", "train_epochs"))
    flow = lower(pipeline(stage("a")), event("manual", "a", inputs=asked))
    assert [(i.id, i.variable) for i in flow.inputs] == [
        ("train-epochs", "MLPIPE_INPUT_TRAIN_EPOCHS"),
        ("train_epochs", "MLPIPE_INPUT_TRAIN_EPOCHS_2"),
    ]


def test_an_event_that_refreshes_data() -> None:
    flow = lower(digits(), event("schedule", "train", refresh=("feed",)))
    plan, *others = flow.jobs
    assert plan.title == "plan, refresh feed" and plan.imports == ()
    assert others and all(job.imports[0] == "plan" for job in others)
    assert all("plan" not in job.imports for job in lower(digits(), event("push", "train")).jobs)


def test_an_event_that_proposes_ends_with_that() -> None:
    flow = lower(digits(), replace(event("schedule", "train", "quality", "review"), propose=True))
    *before, last = flow.jobs
    assert (last.id, last.kind, last.trusted, last.history) == ("propose", JobKind.PROPOSE, True, True)
    assert "check" in last.needs and last.gates and last.secrets == ()
    assert last.imports == ("evaluate",), "whose bundle tells of all stages before it"
    plain = lower(digits(), event("schedule", "train", "quality", "review"))
    assert [j.id for j in plain.jobs] == [j.id for j in before]


def test_a_proposing_job_reads_the_ends_and_waits_for_no_action() -> None:
    flow = pipeline(stage("a"), stage("b", "a.out"), stage("c", "a.out"), stage("propose", "b.out"))
    jobs = {j.id: j for j in lower(flow, replace(event("schedule", "c", "propose"), propose=True)).jobs}
    assert set(jobs["propose"].imports) == {"c", "propose-2"}, "a stage of that name is called otherwise"
    assert set(jobs["propose"].needs) == {"plan", "c", "propose-2"}
    refreshed = replace(event("schedule", refresh=("feed",)), propose=True)
    (_, alone) = lower(flow, refreshed).jobs
    assert (alone.needs, alone.imports) == (("plan",), ("plan",)), "pins alone can be proposed, too"


def test_who_fetches_data_gets_its_secrets() -> None:
    feed = Data(
        "feed",
        Place("p.mlpipe", 1, 1),
        FileType("csv"),
        "url",
        (("secrets", ("KEY",)), ("token", "env:FEED_TOKEN"), ("url", "https://example.org/feed.csv")),
    )
    reads = replace(stage("a"), inputs=(Input("feed", FileType("csv"), (DataRef("feed"),)),))
    flow = replace(pipeline(reads, stage("b", "a.out")), data=(feed,))
    plan, one, other = lower(flow, event("pull_request", "b")).jobs
    assert (plan.secrets, other.secrets) == ((), ())
    assert one.secrets == ("FEED_TOKEN", "KEY") and one.trusted and one.skippable
    assert lower(flow, event("schedule", "b", refresh=("feed",))).jobs[0].secrets == ("FEED_TOKEN", "KEY")


@st.composite
def graphs(draw: st.DrawFn) -> Pipeline:
    count = draw(st.integers(1, 14))
    stages: list[Stage] = []
    for n in range(count):
        before = draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else set()
        refs = [f"s{b}.out" for b in sorted(before)]
        stages.append(stage(f"s{n}", *refs, env=draw(st.sampled_from([None, "x"]))))
    return pipeline(*stages)


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_any_graph_becomes_jobs_that_can_run_in_their_order(flow: Pipeline) -> None:
    everything = lower(flow, event("push", *(s.id for s in flow.stages)))
    done: set[str] = set()
    stages_done: set[str] = set()
    by_id = {s.id: s for s in flow.stages}
    for job in everything.jobs:
        assert set(job.needs) <= done
        assert set(job.imports) <= set(job.needs)
        for s in job.stages:
            assert set(predecessors(by_id[s])) <= stages_done
            for before in predecessors(by_id[s]):
                maker = everything.making(before)
                assert maker is not None and (maker.id == job.id or maker.id in job.imports)
            stages_done.add(s)
        assert len({by_id[s].env for s in job.stages}) <= 1
        done.add(job.id)
    assert sorted(s for j in everything.jobs for s in j.stages) == sorted(by_id)


def test_a_thousand_stages_fuse_quickly_and_whole() -> None:
    layers = [
        [
            stage(f"s{layer}_{n}", *([f"s{layer - 1}_{m}.out" for m in range(10)] if layer else []))
            for n in range(10)
        ]
        for layer in range(100)
    ]
    flow = pipeline(*(s for layer in layers for s in layer))
    chains = fuse(wanted(flow, [s.id for s in flow.stages]), lambda s: s.env)
    assert sum(len(c) for c in chains) == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train", "train"),
        ("train[de,small]", "train-de-small"),
        ("Ümlaut", "mlaut"),
        ("1st", "_1st"),
        ("???", "_"),
    ],
)
def test_slugs(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_long_names_stay_apart() -> None:
    one, two = slug("x" * 100 + "1"), slug("x" * 100 + "2")
    assert one != two and len(one) == len(two) == 64


def test_names_are_given_once() -> None:
    names = Names(("plan",))
    assert [names.take(n) for n in ("plan", "a", "a", "a")] == ["plan-2", "a", "a-2", "a-3"]
    assert variable("train.lr-max") == "TRAIN_LR_MAX"


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("17 3 * * *", "0 17 3 * * ? *"),
        ("*/15 * * * *", "0 */15 * * * ? *"),
        ("0 6 1 * *", "0 0 6 1 * ? *"),
        ("30 4 * * 1-5", "0 30 4 ? * 2,3,4,5,6 *"),
        ("30 4 * JAN SUN", "0 30 4 ? JAN 1 *"),
        ("30 4 * * 7", "0 30 4 ? * 1 *"),
    ],
)
def test_cron_as_quartz(cron: str, expected: str) -> None:
    assert quartz(parse_cron(cron)) == expected


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "61 * * * *", "* * 0 * *", "* * * * 8", "5-1 * * * *", "a * * * *"]
)
def test_a_wrong_cron_is_refused(cron: str) -> None:
    with pytest.raises(CronError):
        parse_cron(cron)


def test_both_days_do_not_fit_into_quartz() -> None:
    with pytest.raises(CronError, match="both"):
        quartz(parse_cron("0 0 1 * 1"))


@pytest.mark.parametrize(
    ("cron", "seconds"), [("*/5 * * * *", 300), ("0 0 * * *", 86400), ("58,2 * * * *", 240)]
)
def test_the_gap_between_starts(cron: str, seconds: int) -> None:
    assert parse_cron(cron).gap() == seconds
