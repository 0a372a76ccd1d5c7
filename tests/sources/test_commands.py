"""Sources through the commands: pins stay, changes are noticed, and what fails leaves the last good copy."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.harness import dvc as harness
from tests.support.git_repos import commit, git
from tests.support.project import Checkout

STAGE = """
stage use {
  in  data
  out x: file = "x.txt"
  run = "cat {{data}} > {{x}}; echo WORKING use"
}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A project in git."""
    made = Checkout(tmp_path / "project")
    commit(made.path, {".gitignore": ".mlpipe\nx.txt\n"})
    return made


def declare(checkout: Checkout, source: str) -> None:
    checkout.write({"p.mlpipe": f"mlpipe 1\npipeline p\ndata data: {source}\n{STAGE}"})


def pinned(checkout: Checkout) -> dict[str, object]:
    line = next(x for x in checkout.read("mlpipe.lock").splitlines() if x.startswith("data data "))
    found: dict[str, object] = json.loads(line.removeprefix("data data "))
    return found


def test_a_branch_moves_by_an_update_alone(checkout: Checkout, tmp_path: Path) -> None:
    other = tmp_path / "other"
    commit(other, {"d.csv": "a\n1\n"})
    declare(checkout, 'csv = git("../other", "d.csv", "main")')
    assert checkout.mlpipec("run").worked == ["use"]
    before = pinned(checkout)
    commit(other, {"d.csv": "a\n2\n"})
    assert "nothing to do" in checkout.mlpipec("run").out
    # A clone without a cache gets what is pinned, and not what is there now.
    shutil.rmtree(checkout.path / ".mlpipe")
    checkout.mlpipec("run")
    assert checkout.read("x.txt") == "a\n1\n"
    checkout.mlpipec("update")
    assert pinned(checkout)["version"] == {"commit": git(other, "rev-parse", "HEAD")}
    assert checkout.mlpipec("run").worked == ["use"]
    assert checkout.read("x.txt") == "a\n2\n"
    # It is gone: the update fails, and pin and copy stay.
    lock = checkout.read("mlpipe.lock")
    other.rename(tmp_path / "away")
    said = checkout.mlpipec("update", code=1)
    assert "there is no repository" in said.err
    assert checkout.read("mlpipe.lock") == lock
    assert "nothing to do" in checkout.mlpipec("run").out
    assert before != pinned(checkout)


def test_what_dvc_adds_is_noticed_and_a_commit_gives_its_data(checkout: Checkout, dvc: Path) -> None:
    harness.run(dvc, checkout.path, "init", "-q")
    checkout.write({"d.csv": "a\n1\n"})
    harness.run(dvc, checkout.path, "add", "-q", "d.csv")
    declare(checkout, 'csv = dvc("d.csv.dvc")')
    assert checkout.mlpipec("run").worked == ["use"]
    assert "nothing to do" in checkout.mlpipec("run").out
    checkout.commit()
    checkout.write({"d.csv": "a\n2\n"})
    harness.run(dvc, checkout.path, "add", "-q", "d.csv")
    # The fast path sees it, too.
    assert "use" in checkout.mlpipec("status").out
    assert checkout.mlpipec("run").worked == ["use"]
    assert checkout.read("x.txt") == "a\n2\n"
    # Back to the commit: its data comes from the cache, and nothing runs.
    git(checkout.path, "checkout", "-q", "--", ".")
    (checkout.path / "d.csv").unlink()
    (checkout.path / "x.txt").unlink()
    assert checkout.mlpipec("run").worked == []
    assert checkout.read("x.txt") == "a\n1\n"


def test_a_query_is_pinned_by_what_it_gave(checkout: Checkout) -> None:
    with sqlite3.connect(checkout.path / "app.db") as db:
        db.execute("create table t (n integer)")
        db.execute("insert into t values (1)")
        db.commit()
        checkout.write({"q.sql": "select n from t order by n"})
        declare(checkout, 'csv { n: int } = sql("app.db", query = "q.sql")')
        assert checkout.mlpipec("run").worked == ["use"]
        db.execute("update t set n = 2")
        db.commit()
        assert "nothing to do" in checkout.mlpipec("run").out
        # The bytes are gone, and the database has other ones: that is an error.
        shutil.rmtree(checkout.path / ".mlpipe")
        (checkout.path / "x.txt").unlink()
        said = checkout.mlpipec("run", code=1)
        assert "gives other content than `mlpipe.lock` pins" in said.err
        assert "mlpipec update data" in said.err
        checkout.mlpipec("update", "data")
        assert checkout.mlpipec("run").worked == ["use"]
        assert checkout.read("x.txt") == "n\n2\n"
        # Another query is other data, and no column may be missing.
        checkout.write({"q.sql": "select n, n as m from t order by n"})
        assert checkout.mlpipec("run").worked == ["use"]
        checkout.write({"q.sql": "select n as m from t order by n"})
        lock = checkout.read("mlpipe.lock")
        assert "`n`" in checkout.mlpipec("run", code=1).err
        assert checkout.read("mlpipe.lock") == lock
    db.close()
