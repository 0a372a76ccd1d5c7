"""`mlpipec exec`: the jobs of an event, each on a machine of its own, as a CI service runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.git_repos import git
from tests.support.project import PIPELINE, Checkout, Done, new


class Machines:
    """One fresh checkout a job; bundles go from one to the next."""

    def __init__(self, folder: Path, pipeline: str = PIPELINE) -> None:
        self.folder = folder
        self.repository = new(folder / "repository", pipeline)
        self.repository.mlpipec("status")
        self._round = 0
        self.at: dict[str, Checkout] = {}

    def job(
        self,
        job: str,
        event: str,
        *imports: str,
        cached: Checkout | None = None,
        code: int = 0,
        **variables: str,
    ) -> Done:
        """Runs a job on a new machine, with the bundles of `imports` and its own of an earlier run."""
        self._round += 1
        machine = self.repository.clone(self.folder / f"{self._round}-{job}")
        for other in imports:
            machine.take(self.at[other], other)
        if cached is not None:
            machine.take(cached, job)
        self.at[job] = machine
        return machine.mlpipec("exec", job, "--on", event, code=code, **variables)


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def through(machines: Machines, event: str = "pull-request", **variables: str) -> list[str]:
    """All stage jobs of an event; the stages that worked."""
    worked = machines.job("prepare", event, **variables).worked
    worked += machines.job("train", event, "prepare", **variables).worked
    return worked + machines.job("evaluate", event, "prepare", "train", **variables).worked


def test_an_event_from_job_to_job_and_again_from_the_cache(machines: Machines) -> None:
    assert through(machines) == ["load", "prepare", "train", "evaluate"]
    checked = machines.job("check", "pull-request", "evaluate")
    assert "gate quality: 1 of 1 hold" in checked.out
    assert "accuracy" in machines.at["check"].read("mlpipe-report/review.md")
    before = dict(machines.at)
    for job, imports in {"prepare": (), "train": ("prepare",), "evaluate": ("prepare", "train")}.items():
        assert machines.job(job, "pull-request", *imports, cached=before[job]).worked == []
        new_bundle = (machines.at[job].path / f"mlpipe-bundles/{job}.tar").read_bytes()
        assert new_bundle == (before[job].path / f"mlpipe-bundles/{job}.tar").read_bytes()


def test_a_job_does_exactly_its_own_part(machines: Machines) -> None:
    through(machines)
    machine = machines.at["train"].path
    assert (machine / "out/clean.txt").exists() and (machine / "out/model.txt").exists()
    assert not (machine / "out/raw.txt").exists(), "what only an earlier job reads need not be here"


def test_what_is_missing_is_said_with_the_job_that_makes_it(machines: Machines) -> None:
    said = machines.job("train", "pull-request", code=1)
    assert "`load` has no result here: the job `prepare` makes it" in said.err
    through(machines)
    said = machines.job("evaluate", "pull-request", "prepare", code=1)
    assert "`train` has no result here: the job `train` makes it" in said.err
    assert "never started for a pull request from a fork" in said.err


@pytest.mark.parametrize("damage", ["cut", "changed", "not a tar"])
def test_a_bad_bundle_is_reported_and_counts_for_nothing(machines: Machines, damage: str) -> None:
    machines.job("prepare", "pull-request")
    path = machines.at["prepare"].path / "mlpipe-bundles/prepare.tar"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data.rstrip(b"\0")) - 10])
    elif damage == "changed":
        path.write_bytes(data.replace(b"a\nb\n", b"x\ny\n"))
    else:
        path.write_bytes(b"noise" * 1000)
    said = machines.job("train", "pull-request", "prepare", code=1)
    assert "mlpipe-bundles/prepare.tar" in said.err and "it is left out" in said.err
    assert "has no result here" in said.err
    assert machines.job("prepare", "pull-request", cached=Checkout(path.parent.parent)).worked == [
        "load",
        "prepare",
    ]


def test_the_plan_knows_keys_and_hits_before_anything_ran(machines: Machines, tmp_path: Path) -> None:
    said = machines.job("plan", "pull-request")
    assert "train" in said.out
    machine = machines.at["plan"]
    machine.mlpipec("exec", "plan", "--on", "pull-request", "--outputs", "github.txt", "--format", "github")
    github = dict(line.split("=") for line in machine.read("github.txt").splitlines())
    assert github["run-train"] == "true"
    assert github["key-train"].startswith("mlpipe-demo-train-") and len(github["key-train"]) == 18 + 64
    through(machines)
    machine.take(machines.at["train"], "train")
    machine.mlpipec("exec", "plan", "--on", "pull-request", "--outputs", "b.txt", "--format", "bitbucket")
    assert machine.read("b.txt") == "RUN_TRAIN=false\n"
    machine.mlpipec("exec", "plan", "--on", "pull-request", "--outputs", "d.txt", "--format", "dotenv")
    dotenv = dict(line.split("=") for line in machine.read("d.txt").splitlines())
    assert (dotenv["RUN_TRAIN"], dotenv["RUN_PREPARE"]) == ("false", "true")
    assert dotenv["KEY_TRAIN"] == github["key-train"]
    machine.write({"source.txt": "other\n"})
    machine.mlpipec("exec", "plan", "--on", "pull-request", "--outputs", "c.txt", "--format", "bitbucket")
    assert machine.read("c.txt") == "RUN_TRAIN=true\n"


def test_parameters_of_the_event_and_of_the_person(machines: Machines) -> None:
    through(machines, "pull-request")
    assert machines.at["train"].read("out/model.txt").split()[-1] == "7"
    through(machines, "push-main")
    assert machines.at["train"].read("out/model.txt").split()[-1] == "8"
    through(machines, "manual")
    assert machines.at["train"].read("out/model.txt").split()[-1] == "6"
    through(machines, "manual", MLPIPE_INPUT_TRAIN_EPOCHS="5")
    assert machines.at["train"].read("out/model.txt").split()[-1] == "5"
    said = machines.job("prepare", "manual", code=2, MLPIPE_INPUT_TRAIN_EPOCHS="many; rm -rf /")
    assert "train.epochs" in said.err


def test_a_gate_that_does_not_hold_fails_the_job_and_is_shown(machines: Machines, tmp_path: Path) -> None:
    through(machines, "manual", MLPIPE_INPUT_TRAIN_EPOCHS="3")
    summary = tmp_path / "summary.md"
    variables = {"MLPIPE_INPUT_TRAIN_EPOCHS": "3", "GITHUB_STEP_SUMMARY": str(summary)}
    said = machines.job("check", "manual", "evaluate", code=1, **variables)
    assert "FAIL" in said.out and "too low" in said.out
    assert "Gate quality does not hold" in summary.read_text()


def test_a_report_goes_into_the_summary_of_the_run(machines: Machines, tmp_path: Path) -> None:
    through(machines)
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    machines.job("check", "pull-request", "evaluate", GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text().startswith("before\n# demo: review")


def test_an_action_gets_what_it_reads_and_its_secret(machines: Machines) -> None:
    through(machines, "push-main")
    said = machines.job("publish", "push-main", "train", TOKEN="sesame")
    assert "PUBLISHING with ***" in said.out and "sesame" not in said.out + said.err
    assert machines.at["publish"].read("published.txt") == machines.at["train"].read("out/model.txt")
    said = machines.job("publish", "push-main", "train", code=1)
    assert "`TOKEN`" in said.err


def test_an_action_that_fails_fails_its_job(tmp_path: Path) -> None:
    machines = Machines(tmp_path, PIPELINE.replace("> published.txt", "> published.txt; exit 3"))
    through(machines, "push-main")
    assert "exit code 3" in machines.job("publish", "push-main", "train", code=1, TOKEN="x").err


def test_results_of_other_parameters_are_not_proposed(tmp_path: Path) -> None:
    before = "int = 6, run = [quality] }"
    assert before in PIPELINE
    pipeline = PIPELINE.replace(before, "int = 8, run = [quality], propose = true }")
    machines = Machines(tmp_path, pipeline)
    through(machines, "manual")
    done = machines.job("propose", "manual", "evaluate", code=0)
    assert "not proposed, since this is no job of a CI service. By hand: `mlpipec pr --service" in done.out
    assert "evaluate" in machines.at["propose"].read("mlpipe.lock"), "the results are in the lock"
    other = {"MLPIPE_INPUT_TRAIN_EPOCHS": "9"}
    refused = machines.job("propose", "manual", "evaluate", code=1, **other)
    assert "results with another `train.epochs` than the repository has are not proposed" in refused.err
    # A branch that is not the main one.
    ci = {"GITLAB_CI": "true", "CI_PROJECT_ID": "1", "CI_COMMIT_REF_NAME": "faster", "GITLAB_TOKEN": "x"}
    branch = machines.job("propose", "manual", "evaluate", **ci)
    assert "not proposed, since this is `faster`: results are proposed from `main` alone" in branch.out
    gone = machines.job("propose", "manual", code=1)
    assert "has no result here: the job" in gone.err


def test_a_stage_that_fails_leaves_a_bundle_of_what_went_well(tmp_path: Path) -> None:
    machines = Machines(tmp_path, PIPELINE.replace("echo WORKING prepare", "exit 9"))
    said = machines.job("prepare", "pull-request", code=1)
    assert "exit code 9" in said.err and said.worked == ["load"]
    again = machines.job("prepare", "pull-request", cached=machines.at["prepare"], code=1)
    assert again.worked == []


def test_what_another_machine_committed_gives_way_to_what_this_run_made(tmp_path: Path) -> None:
    noisy = PIPELINE.replace("wc -l < {{data}} > {{model}}", "uuidgen > {{model}} || date +%N > {{model}}")
    machines = Machines(tmp_path, noisy)
    machines.repository.mlpipec("run", "evaluate")
    machines.repository.commit()
    assert through(machines, "push-main") == ["load", "prepare", "train", "evaluate"]
    machines.job("check", "push-main", "evaluate")
    machines.job("publish", "push-main", "train", TOKEN="x")
    assert machines.at["publish"].read("published.txt") == machines.at["train"].read("out/model.txt")


def test_a_cached_result_stands_when_what_came_before_was_made_anew(tmp_path: Path) -> None:
    noisy = PIPELINE.replace("sort {{raw}} > {{clean}}", "cat {{raw}} > {{clean}}; date +%N >> {{clean}}")
    machines = Machines(tmp_path, noisy)
    through(machines)
    train = machines.at["train"]
    assert machines.job("prepare", "pull-request").worked == ["load", "prepare"]
    machines.at["train"] = train
    assert machines.job("evaluate", "pull-request", "prepare", "train").worked == ["evaluate"]
    assert "1 of 1 hold" in machines.job("check", "pull-request", "evaluate").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trian", "--on", "pull-request"), "did you mean `train`?"),
        (("train", "--on", "pull-requst"), "pull-request"),
        (("trian",), "did you mean `train`?"),
        (("train", "--outputs", "x"), "--outputs and --format go together"),
        (("train", "--outputs", "x", "--format", "github"), "give --on"),
        (("train", "--on", "pull-request", "--outputs", "x", "--format", "github"), "only the job `plan`"),
    ],
)
def test_wrong_usage(machines: Machines, arguments: tuple[str, ...], words: str) -> None:
    said = machines.repository.mlpipec("exec", *arguments, code=2)
    assert words in said.err


def test_an_input_that_is_not_committed_is_said_by_the_plan(machines: Machines) -> None:
    machines.repository.git("rm", "-q", "--cached", "source.txt")
    machines.repository.git("commit", "-q", "-m", "x")
    said = machines.job("plan", "pull-request", code=1)
    assert "source.txt" in said.err


def test_without_an_event_a_stage_a_gate_or_a_report(machines: Machines) -> None:
    here = machines.repository
    assert "`load` has no result here" in here.mlpipec("exec", "prepare", code=1).err
    for stage in ("load", "prepare", "train", "evaluate"):
        assert here.mlpipec("exec", stage).worked == [stage]
        assert here.mlpipec("exec", stage).worked == []
    assert "1 of 1 hold" in here.mlpipec("exec", "quality").out
    old, other = (here.path / "mlpipe-report" / name for name in ("review-77-gone.png", "reviews-1-x.png"))
    old.parent.mkdir()
    old.touch()
    other.touch()
    here.mlpipec("exec", "review")
    assert "accuracy" in here.read("mlpipe-report/review.md")
    assert (old.exists(), other.exists()) == (False, True)
    assert here.git("status", "--short", "--untracked-files=normal").split() == ["??", "mlpipe.lock"]


def test_simulate_says_what_would_start_and_why(machines: Machines) -> None:
    here = machines.repository
    said = here.mlpipec("simulate", "--target", "github", "--event", "push-main").out
    assert "train            starts on self-hosted, gpu, after prepare" in said
    assert "publish          waits on ubuntu-latest" in said
    here.mlpipec("run")
    # The only event of its kind needs no more than that.
    cached = here.mlpipec("simulate", "--target", "github", "--event", "push").out
    assert "train            skipped" in cached
    gitlab = here.mlpipec("simulate", "--target", "gitlab", "--event", "push-main").out
    assert "train            starts on gpu" in gitlab and "only to take its results" in gitlab
    fork = here.mlpipec("simulate", "--target", "github", "--event", "pull-request", "--fork").out
    assert "train            never" in fork
    assert "fork" in here.mlpipec("simulate", "--target", "github", "--event", "manual", "--fork", code=2).err


@pytest.mark.parametrize("folder", ["mlpipe-bundles", ".mlpipe"])
def test_what_somebody_committed_is_no_result_of_a_job(machines: Machines, folder: str) -> None:
    """As a bundle it would be believed: its keys are right, and who made it up knew them."""
    machines.job("prepare", "pull-request")
    source, repository = machines.at["prepare"].path, machines.repository.path
    shutil.copytree(source / folder, repository / folder, dirs_exist_ok=True)
    assert git(repository, "init", "-q") == ""
    git(repository, "add", ".")
    said = machines.repository.mlpipec("exec", "plan", "--on", "pull-request")
    assert "committed" not in said.err, "they ignore themselves"
    git(repository, "add", "--force", folder)
    said = machines.repository.mlpipec("exec", "plan", "--on", "pull-request", code=1)
    assert f"`{folder}/" in said.err and "is committed" in said.err and "git rm -r --cached" in said.err
