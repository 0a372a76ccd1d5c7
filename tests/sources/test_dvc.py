"""`dvc(…)` and `registry(…)` beside DVC itself: what it added, pushed, imported and made, we read."""

from __future__ import annotations

import base64
import getpass
import hashlib
import http.server
import os
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
import yaml

from mlflowc.runtime.remotes.transport import connect
from mlflowc.sources.port import GoneError
from tests.e2e.conftest import absent
from tests.e2e.harness import dvc as harness
from tests.sources.conftest import Taker, content
from tests.support.git_repos import commit, git
from tests.support.google import google_server
from tests.support.servers import ACCESS, SECRET, s3_server, ssh_server, sshd, web_server, weed

FOLDER = {"a.txt": "one\n", "deep/b.txt": "two\n", "deep/same.txt": "one\n"}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, dvc: Path) -> Path:
    """A repository with DVC and a remote in a folder beside it: two versions, `v1` and `main`."""
    top = tmp_path_factory.mktemp("dvc")
    repo = top / "repo"
    commit(repo, {"README.md": "read me\n"})
    harness.run(dvc, repo, "init", "-q")
    harness.run(dvc, repo, "remote", "add", "-d", "storage", "../storage")
    (repo / "data").mkdir()
    (repo / "data/raw.csv").write_text("id,n\n1,2\n")
    for name, text in FOLDER.items():
        (repo / "data/images" / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / "data/images" / name).write_text(text)
    (repo / "data/tool.sh").write_text("#!/bin/sh\n")
    (repo / "data/tool.sh").chmod(0o755)
    harness.run(dvc, repo, "add", "-q", "data/raw.csv", "data/images", "data/tool.sh")
    (repo / "dvc.yaml").write_text(
        "stages:\n  count:\n    cmd: wc -l < data/raw.csv > out.txt && wc -c < data/raw.csv > out2.txt\n"
        "    deps: [data/raw.csv]\n    outs: [out.txt, out2.txt]\n"
    )
    harness.run(dvc, repo, "repro", "-q")
    harness.run(dvc, repo, "push", "-q")
    commit(repo, message="first")
    git(repo, "tag", "v1")
    (repo / "data/raw.csv").write_text("id,n\n1,2\n3,4\n")
    harness.run(dvc, repo, "add", "-q", "data/raw.csv")
    harness.run(dvc, repo, "push", "-q")
    commit(repo, {"data/notes.txt": "in git\n"}, message="second")
    return top


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Taker:
    """A clone without data: no cache, no working files; the remote is beside it."""
    shutil.copytree(made / "storage", tmp_path / "storage")
    git(tmp_path, "clone", "-q", str(made / "repo"), "repo")
    git(tmp_path / "repo", "remote", "set-url", "origin", str(made / "repo"))
    return Taker(tmp_path / "repo")


def md5(repo: Path, file: str, n: int = 0) -> str:
    found: str = yaml.safe_load((repo / file).read_text())["outs"][n]["md5"]
    return found


def test_a_file_and_a_folder_come_from_the_remote(project: Taker) -> None:
    got, version = project.take("dvc", path="data/raw.csv.dvc")
    assert got.read_text() == "id,n\n1,2\n3,4\n"
    assert version == {"md5": md5(project.root, "data/raw.csv.dvc")}
    assert project.seen[-1] == (13, 13)
    folder, version = project.take("dvc", "got2/folder", path="data/images.dvc")
    assert content(folder) == FOLDER
    assert version["md5"].endswith(".dir")
    tool, _ = project.take("dvc", "got3/tool", path="data/tool.sh.dvc")
    assert os.access(tool, os.X_OK)


def test_a_path_is_tracked_by_the_file_beside_it_a_folder_around_it_or_a_pipeline(project: Taker) -> None:
    assert content(project.take("dvc", "g/1", path="data/raw.csv")[0]) == "id,n\n1,2\n3,4\n"
    assert content(project.take("dvc", "g2/1", path="data/images/deep/b.txt")[0]) == "two\n"
    assert content(project.take("dvc", "g3/1", path="data/images/deep")[0]) == {
        "b.txt": "two\n",
        "same.txt": "one\n",
    }
    assert content(project.take("dvc", "g4/1", path="out.txt")[0]).split()[0] == "2"
    assert content(project.take("dvc", "g5/1", path="dvc.lock", out="out2.txt")[0]).strip() == "9"  # type: ignore[union-attr]
    said = project.refused("dvc", path="dvc.lock")
    assert '"out.txt", "out2.txt"' in said.help
    assert "did you mean `out" in project.refused("dvc", path="dvc.lock", out="out3.txt").help
    assert "DVC tracks no `data/other.csv`" in project.refused("dvc", path="data/other.csv").message
    assert "there is no `data/other.csv.dvc`" in project.refused("dvc", path="data/other.csv.dvc").message


def test_a_revision_gives_the_data_of_then(project: Taker) -> None:
    got, version = project.take("dvc", path="data/raw.csv.dvc", rev="v1")
    assert got.read_text() == "id,n\n1,2\n"
    assert version["commit"] == git(project.root, "rev-parse", "v1")
    assert (
        "no branch, tag or commit `v9`" in project.refused("dvc", path="data/raw.csv.dvc", rev="v9").message
    )
    gone = {"commit": "0" * 40, "md5": version["md5"]}
    assert isinstance(project.refused("dvc", gone, path="data/raw.csv.dvc", rev="v1"), GoneError)


def test_the_cache_of_dvc_and_the_working_tree_come_first(project: Taker, dvc: Path) -> None:
    harness.run(dvc, project.root, "pull", "-q")
    shutil.rmtree(project.root.parent / "storage")
    assert content(project.take("dvc", path="data/images.dvc")[0]) == FOLDER
    shutil.rmtree(project.root / ".dvc/cache")
    assert content(project.take("dvc", "g2/x", path="data/raw.csv.dvc")[0]) == "id,n\n1,2\n3,4\n"
    # Another version stands there: it is not taken for this one.
    (project.root / "data/raw.csv").write_text("edited\n")
    said = project.refused("dvc", path="data/raw.csv.dvc")
    assert isinstance(said, GoneError)
    assert "neither in DVC's cache nor in the DVC remote `storage`" in said.message


def test_a_cache_elsewhere_and_one_of_an_earlier_dvc(project: Taker, dvc: Path, tmp_path: Path) -> None:
    harness.run(dvc, project.root, "cache", "dir", "--local", str(tmp_path / "shared"))
    harness.run(dvc, project.root, "pull", "-q")
    shutil.rmtree(tmp_path / "storage")
    (project.root / "data/raw.csv").unlink()
    assert content(project.take("dvc", path="data/raw.csv.dvc")[0]) == "id,n\n1,2\n3,4\n"
    # As DVC 2 wrote it: no `hash`, objects right below the cache.
    old = project.root / "data/raw.csv.dvc"
    old.write_text(old.read_text().replace("  hash: md5\n", ""))
    for folder in (tmp_path / "shared/files/md5").iterdir():
        folder.rename(tmp_path / "shared" / folder.name)
    assert content(project.take("dvc", "g2/x", path="data/raw.csv.dvc")[0]) == "id,n\n1,2\n3,4\n"


def test_text_of_dvc_2_has_the_md5_of_other_line_ends(project: Taker, tmp_path: Path) -> None:
    """DVC 2 took MD5s of text with `\\n` alone, and kept the file as it was."""
    text = b"x,y\r\n5,6\r\n"
    name = hashlib.md5(text.replace(b"\r\n", b"\n")).hexdigest()
    place = tmp_path / "storage" / name[:2] / name[2:]
    place.parent.mkdir(parents=True)
    place.write_bytes(text)
    (project.root / "old.csv.dvc").write_text(f"outs:\n- md5: {name}\n  size: {len(text)}\n  path: old.csv\n")
    assert project.take("dvc", path="old.csv.dvc")[0].read_bytes() == text
    # DVC 3 does no such thing, so there it is damage.
    (project.root / "old.csv.dvc").write_text(f"outs:\n- md5: {name}\n  hash: md5\n  path: old.csv\n")
    assert "came damaged" in project.refused("dvc", path="old.csv.dvc").message


def test_what_is_damaged_or_missing_is_said(project: Taker) -> None:
    name = md5(project.root, "data/raw.csv.dvc")
    there = project.root.parent / "storage/files/md5" / name[:2] / name[2:]
    there.chmod(0o644)
    there.write_text("id,")
    said = project.refused("dvc", path="data/raw.csv.dvc")
    assert f"`data/raw.csv` came damaged from the DVC remote `storage` ({there.parents[3]})" in said.message
    assert "3 bytes whose MD5 is not" in said.message
    there.unlink()
    assert isinstance(project.refused("dvc", path="data/raw.csv.dvc"), GoneError)
    (project.root / ".dvc/config").write_text("")
    assert "no default DVC remote" in project.refused("dvc", path="data/raw.csv.dvc").message
    (project.root / ".dvc/config").write_text("[core]\nremote = nope\n")
    assert "DVC has no remote `nope`" in project.refused("dvc", path="data/raw.csv.dvc").message
    (project.root / ".dvc/config").write_text("[core]\nremote = g\n['remote \"g\"']\nurl = gdrive://x\n")
    assert (
        "at gdrive://, which mlpipec does not read" in project.refused("dvc", path="data/raw.csv.dvc").message
    )
    (project.root / "data/raw.csv.dvc").write_text("<<<<<<< HEAD\nouts:\n")
    assert "a merge conflict that was not settled" in project.refused("dvc", path="data/raw.csv.dvc").message
    (project.root / "data/raw.csv.dvc").write_text("outs:\n- path: raw.csv\n")
    assert "it has no MD5" in project.refused("dvc", path="data/raw.csv.dvc").message


def test_a_broken_fetch_goes_on_where_it_broke(project: Taker) -> None:
    """A part of the file is there already: the rest is fetched, and all of it is checked."""
    name = md5(project.root, "data/raw.csv.dvc")
    parts = project.root / "got/x.parts"
    parts.mkdir(parents=True)
    (parts / f"{name}.part").write_text("id,n\n")
    assert content(project.take("dvc", path="data/raw.csv.dvc")[0]) == "id,n\n1,2\n3,4\n"
    assert project.seen[0] == (5, 13)
    # What is there is of something else: all of it is fetched again.
    parts.mkdir(parents=True)
    (parts / f"{name}.part").write_text("?????")
    (project.root / "got/x").unlink()
    assert content(project.take("dvc", path="data/raw.csv.dvc")[0]) == "id,n\n1,2\n3,4\n"


def test_a_remote_on_the_web_and_one_that_refuses(project: Taker) -> None:
    with web_server(project.root.parent / "storage") as address:
        (project.root / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    url = {address}\n")
        assert content(project.take("dvc", path="data/images.dvc")[0]) == FOLDER
    said = project.refused("dvc", path="data/raw.csv.dvc")
    assert "cannot be fetched: cannot reach the remote" in said.message


def configure(project: Taker, **options: str) -> None:
    """Sets the remote up in `.dvc/config.local`, as `dvc remote modify --local` does."""
    lines = "".join(f"    {k} = {v}\n" for k, v in options.items())
    (project.root / ".dvc/config.local").write_text(f"['remote \"storage\"']\n{lines}")


def test_a_remote_in_a_bucket(project: Taker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if weed() is None:
        absent("SeaweedFS is not installed: make tools")
    with s3_server(tmp_path / "s3") as server:
        keys = {"access_key_id": ACCESS, "secret_access_key": SECRET, "region": "us-east-1"}
        store = connect("s3://bucket/data", tmp_path, {"endpoint": server.endpoint, **keys})
        storage = project.root.parent / "storage"
        for path in (p for p in storage.rglob("*") if p.is_file()):
            store.write(path.relative_to(storage).as_posix(), path)
        where = {"url": "s3://bucket/data", "endpointurl": server.endpoint}
        configure(project, **where, **keys)
        assert content(project.take("dvc", "g1/x", path="data/images.dvc")[0]) == FOLDER
        # Keys of a profile, in a file of its own.
        (tmp_path / "keys").write_text(f"[lab]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n")
        configure(project, **where, profile="lab", credentialpath=str(tmp_path / "keys"))
        assert content(project.take("dvc", "g2/x", path="data/raw.csv.dvc")[0]) == "id,n\n1,2\n3,4\n"
        configure(project, **where, **{**keys, "secret_access_key": "wrong"})
        said = project.refused("dvc", path="data/raw.csv.dvc")
        assert "it refuses these credentials" in said.message
        # The same bucket, as Google's.
        with google_server(server) as google:
            for name, value in google.env(tmp_path / "login").items():
                monkeypatch.setenv(name, value)
            monkeypatch.delenv("GOOGLE_BASE_URL")
            configure(project, url="gs://bucket/data", endpointurl=google.url)
            assert content(project.take("dvc", "g3/x", path="data/images.dvc")[0]) == FOLDER
            google.tokens.clear()
            monkeypatch.setattr(google, "token", lambda: "ya29.unknown")
            said = project.refused("dvc", path="data/raw.csv.dvc")
            assert "it refuses these credentials" in said.message


def test_a_remote_by_ssh(project: Taker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sshd() is None:
        absent("OpenSSH's server is not installed: apt-get install openssh-server")
    with ssh_server(tmp_path / "ssh") as server:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        (tmp_path / "home/.ssh").mkdir(parents=True)
        shutil.copy(server.known, tmp_path / "home/.ssh/known_hosts")
        address = f"ssh://127.0.0.1{project.root.parent}/storage"
        login = {"user": getpass.getuser(), "port": str(server.port)}
        configure(project, url=address, **login, keyfile=str(server.key))
        assert content(project.take("dvc", path="data/images.dvc")[0]) == FOLDER
        configure(project, url=address, **login, password="x")
        assert "wants a password" in project.refused("dvc", path="data/raw.csv.dvc").message


def test_a_remote_on_the_web_that_wants_to_know_who_asks(project: Taker) -> None:
    storage = project.root.parent / "storage"

    class Private(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def send_head(self):  # type: ignore[no-untyped-def]
            wanted = ("Basic " + base64.b64encode(b"me:s3cret").decode(), "t0ken")
            if self.headers.get("Authorization") == wanted[0] or self.headers.get("X-Token") == wanted[1]:
                return super().send_head()
            return self.send_error(403)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Private, directory=str(storage)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        configure(project, url=url, auth="basic", user="me", password="s3cret")
        assert content(project.take("dvc", "g1/x", path="data/images.dvc")[0]) == FOLDER
        configure(project, url=url, auth="custom", custom_auth_header="X-Token", password="t0ken")
        assert content(project.take("dvc", "g2/x", path="data/raw.csv.dvc")[0]) == "id,n\n1,2\n3,4\n"
        configure(project, url=url)
        said = project.refused("dvc", path="data/raw.csv.dvc")
        assert "it refuses these credentials" in said.message
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


# --- imports, registries -------------------------------------------------------------------------


def test_imports_are_fetched_where_they_were_imported_from(made: Path, tmp_path: Path, dvc: Path) -> None:
    repo = tmp_path / "importer"
    commit(repo, {"README.md": "x\n"})
    harness.run(dvc, repo, "init", "-q")
    harness.run(dvc, repo, "remote", "add", "-q", "-d", "mine", str(tmp_path / "mine"))
    harness.run(dvc, repo, "import", "-q", str(made / "repo"), "data/raw.csv", "--rev", "v1")
    harness.run(dvc, repo, "import", "-q", str(made / "repo"), "data/images")
    (tmp_path / "web").mkdir()
    (tmp_path / "web/feed.csv").write_text("a\n1\n")
    with web_server(tmp_path / "web") as address:
        harness.run(dvc, repo, "import-url", "-q", f"{address}/feed.csv")
        commit(repo)
        harness.run(dvc, repo, "push", "-q")
        clone = tmp_path / "clone"
        git(tmp_path, "clone", "-q", str(repo), "clone")
        taker = Taker(clone)
        assert content(taker.take("dvc", "g/1", path="raw.csv.dvc")[0]) == "id,n\n1,2\n"
        assert content(taker.take("dvc", "g2/1", path="images.dvc")[0]) == FOLDER
        assert content(taker.take("dvc", "g4/1", path="images/deep/b.txt")[0]) == "two\n"
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)
        assert content(taker.take("dvc", "g3/1", path="feed.csv.dvc")[0]) == "a\n1\n"
        (tmp_path / "web/feed.csv").write_text("a\n2\n")
        said = taker.refused("dvc", path="feed.csv.dvc")
        assert "is not what it was when DVC imported it" in said.message
        assert "dvc update feed.csv.dvc" in said.help
        (tmp_path / "web/feed.csv").unlink()
        assert "any more, from which DVC imported" in taker.refused("dvc", path="feed.csv.dvc").message


def test_a_registry_gives_what_dvc_get_gives(made: Path, taker: Taker, tmp_path: Path, dvc: Path) -> None:
    url = str(made / "repo")
    for n, (path, rev) in enumerate(
        [("data/raw.csv", "v1"), ("data/images", None), ("data/images/deep", "main"), ("README.md", None)]
    ):
        got, version = taker.take("registry", f"g{n}/x", url=url, path=path, **({"rev": rev} if rev else {}))
        at = ["--rev", rev] if rev else []
        harness.run(dvc, tmp_path, "get", "-q", url, path, *at, "-o", f"theirs{n}")
        assert content(got) == content(tmp_path / f"theirs{n}")
        assert version["commit"] == git(made / "repo", "rev-parse", rev or "main")
    got, _ = taker.take("registry", "all/x", url=url, path="data")
    harness.run(dvc, tmp_path, "get", "-q", url, "data", "-o", "theirs")
    assert content(got) == content(tmp_path / "theirs")
    assert "did you mean `data/raw.csv`?" in taker.refused("registry", url=url, path="data/raw.csx").help


def test_a_registry_whose_remote_is_gone_or_whose_history_was_rewritten(
    made: Path, taker: Taker, tmp_path: Path
) -> None:
    shutil.copytree(made / "repo", tmp_path / "repo", ignore=shutil.ignore_patterns("cache"))
    url = str(tmp_path / "repo")
    said = taker.refused("registry", url=url, path="data/raw.csv")
    assert isinstance(said, GoneError)
    assert f"nor in the DVC remote `storage` ({tmp_path}/" in said.message
    shutil.copytree(made / "storage", tmp_path / "storage")
    (tmp_path / "repo/data/raw.csv.dvc").write_text("outs:\n- md5: 00\n  path: raw.csv\n")
    commit(tmp_path / "repo")
    assert "the MD5 of `raw.csv` is none" in taker.refused("registry", url=url, path="data/raw.csv").message
    gone = {"commit": "1" * 40}
    said = taker.refused("registry", gone, url=url, path="data/raw.csv")
    assert isinstance(said, GoneError)
    assert "is no longer in" in said.message
