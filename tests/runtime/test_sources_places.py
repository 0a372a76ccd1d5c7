"""Data from buckets, machines behind SSH, and folders: real servers, pinned by what each of them tells."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.runtime.test_remote_transports import Proxy, cut_after
from tests.support.feeds import lock, project
from tests.support.remote_project import Checkout
from tests.support.servers import ACCESS, S3, SECRET, SshServer

ONE = "id,x\n1,2\n"
TWO = "id,x\n1,2\n3,4\n"


def bucket(server: S3) -> S3Store:
    """The bucket, to be written."""
    return S3Store(
        "bucket",
        endpoint=server.endpoint,
        access_key_id=ACCESS,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
    )


def rows(checkout: Checkout) -> str:
    """What the stage made of the data."""
    return (checkout.root / "out/rows.csv").read_text()


def test_an_object_in_a_bucket(s3: S3, tmp_path: Path) -> None:
    name = f"{tmp_path.name}/feed with space.csv"
    obstore.put(bucket(s3), name, ONE.encode())
    repo = project(tmp_path / "repo", f'url("s3://bucket/{name}")')
    repo.env |= s3.env()
    repo("run")
    assert rows(repo) == ONE and '"etag":' in lock(repo)[0]
    assert "nothing new" in repo("update")
    obstore.put(bucket(s3), name, TWO.encode())
    repo.forget()
    said = repo("run", code=1)
    assert "has another version now: its etag was" in said and "mlpipec update feed" in said
    repo("update")
    repo("run")
    assert rows(repo) == TWO
    obstore.delete(bucket(s3), name)
    pinned = lock(repo)
    said = repo("update", code=1)
    assert f"s3://bucket/{name}: nothing is there" in said and lock(repo) == pinned
    assert "nothing to do" in repo("run")


def test_a_bucket_that_refuses(s3: S3, tmp_path: Path) -> None:
    repo = project(tmp_path / "repo", 'url("s3://bucket/feed.csv")')
    repo.env |= s3.env("wrong-secret")
    said = repo("update", code=1)
    assert "data `feed`: cannot read s3://bucket/feed.csv: it refuses these credentials" in said
    assert "AWS_ACCESS_KEY_ID" in said and "wrong-secret" not in said


def test_an_object_over_a_bad_line(s3: S3, tmp_path: Path) -> None:
    body = "id,x\n" + "".join(f"{n},{n}\n" for n in range(200_000))
    obstore.put(bucket(s3), f"{tmp_path.name}.csv", body.encode())
    repo = project(tmp_path / "repo", f'url("s3://bucket/{tmp_path.name}.csv")')
    with contextlib.closing(Proxy(s3.port, cut_after(900_000, 3))) as proxy:
        repo.env |= {**s3.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        repo("run")
    assert rows(repo) == body


def test_a_file_behind_ssh(ssh: SshServer, tmp_path: Path) -> None:
    place = tmp_path / "srv/feed.csv"
    place.parent.mkdir()
    place.write_text(ONE)
    login = f'key = "{ssh.key}", known_hosts = "{ssh.known}"'
    repo = project(tmp_path / "repo", f'url("{ssh.address(place)}", {login})')
    repo("run")
    assert rows(repo) == ONE
    assert str(ssh.key) not in lock(repo)[0] and '"size":"9"' in lock(repo)[0]
    assert "nothing new" in repo("update")
    place.write_text(TWO)
    repo.forget()
    assert "it was written since" in repo("run", code=1)
    repo("update")
    repo("run")
    assert rows(repo) == TWO
    place.unlink()
    assert "nothing is there" in repo("update", code=1)


def test_a_machine_that_does_not_know_us(ssh: SshServer, tmp_path: Path) -> None:
    repo = project(
        tmp_path / "repo", f'url("{ssh.address(tmp_path)}/x.csv", key = "{ssh.key}", known_hosts = "none")'
    )
    assert "then `ssh 127.0.0.1` once" in repo("update", code=1)


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    place = tmp_path / "srv/feed.csv"
    place.parent.mkdir()
    place.write_text(ONE)
    repo = project(tmp_path / "repo", f'url("file://{place}")')
    repo("run")
    assert rows(repo) == ONE
    # The copy in the cache is its own.
    with place.open("a") as file:
        file.write("3,4\n")
    assert (repo.root / ".mlpipe/data/feed/feed.csv").read_text() == ONE
    assert "→ 13 B" in repo("update")
    place.unlink()
    assert "nothing is there" in repo("update", code=1)
    assert "1 ran" in repo("run") and rows(repo) == TWO


def test_a_folder_beside_the_project(tmp_path: Path) -> None:
    folder = tmp_path / "srv"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a\n")
    (folder / "deep/tool.sh").write_text("#!/bin/sh\n")
    (folder / "deep/tool.sh").chmod(0o755)
    repo = project(tmp_path / "repo", 'url("file:../srv")', type="dir")
    (repo.root / "pipeline.mlpipe").write_text(
        (repo.root / "pipeline.mlpipe")
        .read_text()
        .replace('rows: file = "out/rows.csv"', 'rows: dir = "out/rows"')
    )
    repo("run")
    made = repo.root / "out/rows"
    assert (made / "a.txt").read_text() == "a\n" and os.access(made / "deep/tool.sh", os.X_OK)
    assert '"kind":"dir"' in lock(repo)[0] and "nothing new" in repo("update")
    (folder / "b.txt").write_text("b\n")
    assert "1 of 1 updated" in repo("update")
    repo("run")
    assert (made / "b.txt").exists()


def test_a_folder_where_a_file_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    repo = project(tmp_path / "repo", 'url("file:../srv")')
    said = repo("run", code=1)
    assert "file:../srv is a folder, and `csv` was declared" in said and not lock(repo)
