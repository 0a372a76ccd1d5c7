"""The jobs of an event that refreshes data, one by one, as a service starts them: each in its own clone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.feeds import Web, lock, project, serving
from tests.support.remote_project import Checkout

ONE = "id,x\n1,2\n"
TWO = "id,x\n1,2\n3,4\n"
EVENT = 'on schedule("17 3 * * *") { refresh = [feed], run = [copy, also] }'
MORE = f"""
data other: csv = "other.csv"
stage also {{
  in  other
  out o = "out/other.csv"
  run = "cp {{{{other}}}} {{{{o}}}}"
}}
{EVENT}
"""


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as found:
        found.put(ONE)
        yield found


@pytest.fixture
def repo(web: Web, tmp_path: Path) -> Checkout:
    found = project(tmp_path / "repo", f'url("{web.url}/feed.csv")', more=MORE)
    (found.root / "other.csv").write_text(ONE)
    return found


def clone(repo: Checkout, name: str, *bundles: Path) -> Checkout:
    """What a job has: the commit, and bundles."""
    root = repo.root.with_name(name)
    root.mkdir()
    for file in ("pipeline.mlpipe", "other.csv", "mlpipe.lock"):
        if (repo.root / file).exists():
            shutil.copy(repo.root / file, root)
    for bundle in bundles:
        (root / "mlpipe-bundles").mkdir(exist_ok=True)
        shutil.copy(bundle, root / "mlpipe-bundles")
    return Checkout(root, repo.env)


def test_the_plan_hands_on_what_it_took_in(web: Web, repo: Checkout) -> None:
    repo("update")
    web.put(TWO)
    plan = clone(repo, "plan")
    said = plan("exec", "plan", "--on", "schedule-1", "--outputs", "told", "--format", "dotenv")
    assert "→ 13 B, etag" in said
    assert "FRESH=true" in (plan.root / "told").read_text()
    del web.files["/feed.csv"]
    bundle = plan.root / "mlpipe-bundles/plan.tar"
    job = clone(repo, "job", bundle)
    job("exec", "copy", "--on", "schedule-1")
    assert (job.root / "out/rows.csv").read_text() == TWO
    # What a later step commits: the lock with the new pin.
    assert lock(job) == lock(plan) != lock(repo)
    assert "data feed" not in job("verify", code=1)


def test_where_nothing_is_fresh_nothing_is_done(web: Web, repo: Checkout) -> None:
    repo("update")
    plan = clone(repo, "plan")
    said = plan("exec", "plan", "--on", "schedule-1", "--outputs", "told", "--format", "github")
    assert "nothing fresh: feed came as pinned" in said
    assert {"fresh=false", "run-copy=false", "run-also=false"} <= set(
        (plan.root / "told").read_text().split()
    )
    job = clone(repo, "job", plan.root / "mlpipe-bundles/plan.tar")
    assert "nothing fresh" in job("exec", "copy", "--on", "schedule-1")
    assert not (job.root / "out").exists() and not job.ran


def test_without_the_plan_a_job_does_not_guess(web: Web, repo: Checkout) -> None:
    repo("update")
    said = clone(repo, "job")("exec", "copy", "--on", "schedule-1", code=1)
    assert "the job `plan` says it" in said and "plan.tar" in said


def test_an_earlier_plan_is_not_believed_by_the_plan(web: Web, repo: Checkout) -> None:
    repo("update")
    web.put(TWO)
    plan = clone(repo, "plan")
    plan("exec", "plan", "--on", "schedule-1")
    web.put(ONE)
    again = clone(repo, "again", plan.root / "mlpipe-bundles/plan.tar")
    assert "nothing fresh" in again("exec", "plan", "--on", "schedule-1")


def test_a_source_that_is_gone_fails_the_plan(web: Web, repo: Checkout) -> None:
    repo("update")
    del web.files["/feed.csv"]
    plan = clone(repo, "plan")
    assert "nothing is there (404)" in plan("exec", "plan", "--on", "schedule-1", code=1)
    assert lock(plan) == lock(repo) and not (plan.root / "mlpipe-bundles/plan.tar").exists()


def test_a_job_of_an_event_pins_nothing(web: Web, repo: Checkout) -> None:
    path = repo.root / "pipeline.mlpipe"
    path.write_text(path.read_text().replace("refresh = [feed], ", ""))
    said = repo("exec", "plan", "--on", "schedule-1", code=1)
    assert "is not pinned yet, and the job of an event pins nothing by the way" in said
    assert not lock(repo)
    # Of a stage by itself, as make calls it, it does.
    assert "data feed: pinned" in repo("exec", "copy")


def test_a_run_of_the_event_on_a_laptop(web: Web, repo: Checkout) -> None:
    repo("run")
    web.put(TWO)
    assert "→ 13 B, etag" in repo("run", "--on", "schedule-1")
    assert (repo.root / "out/rows.csv").read_text() == TWO


def test_through_a_remote_content_travels_once(web: Web, repo: Checkout, tmp_path: Path) -> None:
    path = repo.root / "pipeline.mlpipe"
    path.write_text(path.read_text() + f'cache {{ remote = "{tmp_path / "remote"}", write = all }}\n')
    repo("update")
    big = "id,x\n" + "".join(f"{n},{n}\n" for n in range(20_000))
    web.put(big)
    plan = clone(repo, "plan")
    plan("exec", "plan", "--on", "schedule-1")
    bundle = plan.root / "mlpipe-bundles/plan.tar"
    assert bundle.stat().st_size < 20_000
    del web.files["/feed.csv"]
    job = clone(repo, "job", bundle)
    job("exec", "copy", "--on", "schedule-1")
    assert (job.root / "out/rows.csv").read_text() == big
