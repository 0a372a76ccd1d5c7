"""`deployed(…)`: files at an address, and artifacts by the tags that GTO itself writes and reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mlflowc.sources import gto
from mlflowc.sources.port import GoneError
from tests.sources.conftest import Taker, content
from tests.support.git_repos import commit, git
from tests.support.servers import web_server


@pytest.fixture
def project(taker: Taker) -> Taker:
    """A repository with three versions, of which the second is in production."""
    for n in (1, 2, 3):
        commit(taker.root, {"model.json": f'{{"auc": 0.{n}}}', ".gitignore": ".mlpipe\nprod\n"})
        git(taker.root, "tag", "-a", f"churn@v1.{n}.0", "-m", "registered")
    git(taker.root, "tag", "-a", "churn#prod#1", "-m", "x", "churn@v1.1.0^{}")
    git(taker.root, "tag", "-a", "churn#dev#2", "-m", "x", "churn@v1.3.0^{}")
    git(taker.root, "tag", "-a", "churn#prod#3", "-m", "x", "churn@v1.2.0^{}")
    git(taker.root, "tag", "other@v9.0.0")
    return taker


def test_the_version_in_a_stage(project: Taker, tmp_path: Path) -> None:
    args = {"name": "churn", "stage": "prod", "path": "model.json"}
    got, version = project.take("deployed", **args)
    assert content(got) == '{"auc": 0.2}'
    assert version == {
        "commit": git(project.root, "rev-parse", "churn@v1.2.0^{}"),
        "tag": "churn#prod#3",
        "version": "v1.2.0",
    }
    # Of another repository, the same.
    elsewhere = Taker(tmp_path / "elsewhere")
    elsewhere.root.mkdir()
    got, theirs = elsewhere.take("deployed", **args, repo=str(project.root))
    assert (content(got), theirs) == ('{"auc": 0.2}', version)
    # Without a stage, the greatest version.
    got, _ = project.take("deployed", "g2/x", name="churn", path="model.json")
    assert content(got) == '{"auc": 0.3}'
    # It moves on.
    git(project.root, "tag", "churn#prod#4", "churn@v1.3.0^{}")
    assert project.open("deployed", **args).look(version).version["version"] == "v1.3.0"
    # And back: what was there before is there again.
    git(project.root, "tag", "churn#prod!#5", "churn@v1.3.0^{}")
    assert project.open("deployed", **args).look(version).version == version


def test_gto_agrees(project: Taker, dvc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each tag, as GTO writes them, it and we say the same is in production."""
    git(project.root, "tag", "-d", *git(project.root, "tag").split())
    args = {"name": "churn", "stage": "prod", "path": "model.json"}
    commits = git(project.root, "rev-list", "--reverse", "HEAD").split()
    steps = [
        ("churn@v1.1.0", 0),
        ("churn#prod#1", 0),
        ("churn@v1.2.0", 1),
        ("churn#dev#2", 1),
        ("churn#prod#3", 1),
        ("churn@v2.0.0", 2),
        ("churn#prod#4", 2),
        ("churn#prod!#5", 2),
        ("churn#prod#6", 2),
        ("churn#prod#7", 0),
        ("churn#prod#8", 2),
        ("churn@v2.0.0!", 2),
    ]
    seen = []
    for n, (tag, at) in enumerate(steps):
        # It goes by the time of tags, to the second.
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2024-01-01T00:00:{n:02}Z")
        git(project.root, "tag", "-a", "-m", "x", tag, commits[at])
        if n not in (3, 7, 9, 11):
            continue
        command = [dvc.with_name("gto"), "show", "--json"]
        done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=True)
        theirs = json.loads(done.stdout)["churn"]
        seen.append(project.open("deployed", **args).look(None).version["version"])
        assert seen[-1] == theirs["stage"]["prod"], tag
        greatest = project.open("deployed", name="churn", path="model.json").look(None)
        assert greatest.version["version"] == theirs["version"], tag
    assert seen == ["v1.1.0", "v1.2.0", "v1.1.0", "v1.1.0"]


def test_what_a_stage_made_there(project: Taker) -> None:
    pipeline = (
        'mlpipe 1\npipeline p\nstage train {\n  out model: file = "out/m.txt"\n  out all: dir = "out/all/"\n'
        '  run = "mkdir {{all}}; echo TEXT | tee {{model}} > {{all}}/n.txt"\n}\n'
    )
    from tests.support.project import Checkout

    checkout = Checkout(project.root)
    for text in ("one", "two"):
        checkout.write({"p.mlpipe": pipeline.replace("TEXT", text), ".gitignore": ".mlpipe\nout\nprod\n"})
        checkout.mlpipec("run")
        commit(project.root)
        git(project.root, "tag", f"net@v1.0.{int(text == 'two')}")
    git(project.root, "tag", "net#prod#1", "net@v1.0.0")
    args = {"name": "net", "stage": "prod"}
    assert content(project.take("deployed", output="train.model", **args)[0]) == "one\n"
    assert content(project.take("deployed", "g2/x", output="train.all", **args)[0]) == {"n.txt": "one\n"}
    assert "did you mean `train.model`?" in project.refused("deployed", output="train.modle", **args).help
    (project.root / ".mlpipe").rename(project.root / "prod")
    said = project.refused("deployed", output="train.model", **args)
    assert isinstance(said, GoneError)
    assert "is not in the cache of this project, and its commit does not have `out/m.txt`" in said.message


def test_a_file_at_an_address(taker: Taker, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/m.json").write_text("1")
    with web_server(tmp_path / "web") as address:
        got, version = taker.take("deployed", name=f"{address}/m.json")
        assert content(got) == "1"
        (tmp_path / "web/m.json").write_text("22")
        assert taker.open("deployed", name=f"{address}/m.json").look(version).version != version
        (tmp_path / "web/m.json").unlink()
        assert isinstance(taker.refused("deployed", name=f"{address}/m.json"), GoneError)


def test_what_is_not_deployed(project: Taker) -> None:
    def refused(**args: str) -> str:
        said = project.refused("deployed", **args)
        return f"{said.message} {said.help}"

    assert "did you mean `churn`" in refused(name="chrun", stage="prod", path="model.json")
    said = refused(name="churn", stage="live", path="model.json")
    assert "no version of `churn` is in stage `live` tags name `dev`, `prod`" in said
    assert "there is no `m.json`" in refused(name="churn", stage="prod", path="m.json")
    assert "has no `mlpipe.lock`" in refused(name="churn", stage="prod", output="train.model")
    gone = project.refused("deployed", {"commit": "0" * 40, "tag": "t"}, name="churn", path="model.json")
    assert isinstance(gone, GoneError)


def test_order_of_versions() -> None:
    tags = ["v1.0.0-rc.1", "v1.10.0", "v1.2.0", "v1.0.0", "v1.0.0-rc.10", "v1.0.0-rc.2"]
    said = gto.events({f"m@{t}": "c" for t in tags} | {"v1": "c", "m@v1": "c", "m@v1.2.0!": "c"})
    assert [d.version for d in gto.versions(said, "m")] == [
        "v1.0.0-rc.1",
        "v1.0.0-rc.2",
        "v1.0.0-rc.10",
        "v1.0.0",
        "v1.10.0",
    ]
