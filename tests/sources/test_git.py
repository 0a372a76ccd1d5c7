"""`git(…)`: from a folder, over HTTP with and without a server that knows git, and what is refused."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.sources.port import GoneError
from tests.sources.conftest import Taker, content
from tests.support.git_repos import commit, git, http_backend
from tests.support.servers import web_server


@pytest.fixture
def repos(tmp_path: Path) -> Iterator[Path]:
    """A folder with the bare repository `data.git`: `v1`, then `main`."""
    work = tmp_path / "work"
    commit(work, {"rows/a.csv": "a\n1\n", "rows/deep/b.csv": "b\n", "other/large.bin": os.urandom(400_000)})
    (work / "rows/run.sh").write_text("#!/bin/sh\n")
    (work / "rows/run.sh").chmod(0o755)
    (work / "rows/link").symlink_to("a.csv")
    commit(work)
    git(work, "tag", "-a", "v1", "-m", "first")
    commit(work, {"rows/a.csv": "a\n2\n"})
    git(tmp_path, "clone", "-q", "--bare", str(work), "repos/data.git")
    git(tmp_path / "repos/data.git", "config", "uploadpack.allowFilter", "true")
    return tmp_path / "repos"


def test_files_and_folders_at_a_revision(taker: Taker, repos: Path) -> None:
    for n, url in enumerate([str(repos / "data.git"), f"file://{repos}/data.git", "../repos/data.git"]):
        got, version = taker.take("git", f"a{n}/x", url=url, path="rows/a.csv")
        assert content(got) == "a\n2\n"
        assert version == {"commit": git(repos / "data.git", "rev-parse", "main")}
        got, version = taker.take("git", f"b{n}/x", url=url, path="rows", rev="v1")
        assert version == {"commit": git(repos / "data.git", "rev-parse", "v1^{}")}
        assert content(got) == {
            "a.csv": "a\n1\n",
            "deep/b.csv": "b\n",
            "link": "a\n1\n",
            "run.sh": "#!/bin/sh\n",
        }
        assert (got / "link").is_symlink()
        assert os.access(got / "run.sh", os.X_OK)
    got, _ = taker.take("git", "c/x", url="../repos/data.git", path="rows/link", rev=version["commit"][:9])
    assert content(got) == "a\n1\n"
    got, _ = taker.take("git", "d/x", url="../repos/data.git", path=".")
    assert sorted(p.name for p in got.iterdir()) == ["other", "rows"]


def test_only_what_is_named_comes_over_http(taker: Taker, repos: Path) -> None:
    with http_backend(repos) as (address, asked):
        got, _ = taker.take("git", url=f"{address}/data.git", path="rows")
        assert content(got)["a.csv"] == "a\n2\n"  # type: ignore[call-overload,index]
        kept = sum(p.stat().st_size for p in (taker.root / ".mlpipe/sources").rglob("*") if p.is_file())
        assert kept < 300_000, "the large file of another folder did not come"
        before = len(asked)
        taker.take("git", "g2/x", url=f"{address}/data.git", path="rows", rev="main")
        assert all("info/refs" in a or "upload-pack" in a for a in asked[before:])
        assert len(asked) - before <= 2, "what is here is not fetched again"
    # A copy of all that is needed is here: a pin needs no server.
    commit_of = git(repos / "data.git", "rev-parse", "main")
    got, _ = taker.take("git", "g3/x", version={"commit": commit_of}, url=f"{address}/data.git", path="rows")
    assert content(got)["a.csv"] == "a\n2\n"  # type: ignore[call-overload,index]
    said = taker.refused("git", url=f"{address}/data.git", path="rows")
    assert "cannot be reached" in said.message


def test_a_web_server_without_git(taker: Taker, repos: Path) -> None:
    git(repos / "data.git", "update-server-info")
    with web_server(repos) as address:
        got, version = taker.take("git", url=f"{address}/data.git", path="rows/a.csv", rev="v1")
        assert content(got) == "a\n1\n"
        assert version == {"commit": git(repos / "data.git", "rev-parse", "v1^{}")}


def test_a_server_that_wants_a_password(taker: Taker, repos: Path) -> None:
    token = "Basic " + base64.b64encode(b"me:s3cret").decode()
    with http_backend(repos, token) as (address, _):
        said = taker.refused("git", url=f"{address}/data.git", path="rows")
        assert "refuses access" in said.message
        assert "git ls-remote" in said.help
        # As people give it: a credential helper.
        helper = taker.root / "helper"
        helper.write_text('#!/bin/sh\n[ "$1" = get ] && printf "username=me\\npassword=s3cret\\n"\n')
        helper.chmod(0o755)
        taker.env |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "credential.helper",
            "GIT_CONFIG_VALUE_0": str(helper),
        }
        assert content(taker.take("git", url=f"{address}/data.git", path="rows/a.csv")[0]) == "a\n2\n"


def test_what_is_gone_or_never_was(taker: Taker, repos: Path, tmp_path: Path) -> None:
    url = str(repos / "data.git")
    pinned = {"commit": git(repos / "data.git", "rev-parse", "main")}

    def refused(**args: str) -> str:
        said = taker.refused("git", **args)
        return f"{said.message} {said.help}"

    assert "did you mean `rows/a.csv`" in refused(url=url, path="rows/b.csv")
    assert "has no branch, tag or commit `mian` did you mean `main`" in refused(
        url=url, path="rows", rev="mian"
    )
    assert "there is no repository" in refused(url=str(tmp_path / "nowhere"), path="rows")
    assert "cannot be reached" in refused(url="ssh://127.0.0.1:1/x", path="rows")
    assert "is no address" in refused(url="-oProxyCommand=x", path="rows")
    # The branch was rewritten, and the commit is nowhere any more.
    shutil.rmtree(tmp_path / "work")
    commit(tmp_path / "work", {"rows/a.csv": "new\n"})
    shutil.rmtree(repos / "data.git")
    git(tmp_path, "clone", "-q", "--bare", str(tmp_path / "work"), "repos/data.git")
    said = taker.refused("git", pinned, url=url, path="rows/a.csv")
    assert isinstance(said, GoneError)
    assert f"commit {pinned['commit'][:9]} is no longer in" in said.message
    assert content(taker.take("git", url=url, path="rows/a.csv")[0]) == "new\n"


def test_what_no_copy_could_be(taker: Taker, repos: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "odd")
    commit(
        tmp_path / "odd",
        {"a/x": "x", "lfs.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"},
    )
    (tmp_path / "odd/a/out").symlink_to("../../etc")
    (tmp_path / "odd/a/up").symlink_to("../lfs.bin")
    commit(tmp_path / "odd")
    assert "kept in Git LFS" in taker.refused("git", url=url, path="lfs.bin").message
    assert "is a link to `../../etc`, outside" in taker.refused("git", url=url, path="a").message
    git(
        tmp_path / "odd",
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "-q",
        "add",
        str(repos / "data.git"),
        "sub",
    )
    commit(tmp_path / "odd")
    git(tmp_path / "odd", "rm", "-q", "-r", "a", "lfs.bin")
    commit(tmp_path / "odd")
    assert "`sub` in" in taker.refused("git", url=url, path=".").message
