"""Data in buckets of each cloud: pinned by version, fetched as pinned after it was written over, gone."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from tests.runtime.test_remote_clouds import bad_line
from tests.runtime.test_remote_transports import Proxy
from tests.support import s3calls
from tests.support.azure import ACCOUNT, KEY, Azure
from tests.support.feeds import lock, project
from tests.support.google import Google
from tests.support.remote_project import Checkout
from tests.support.servers import ACCESS, S3, SECRET

ONE = "id,x\n1,2\n"
TWO = "id,x\n1,2\n3,4\n"
KEPT = "kept"
PLAIN: Any = {"allow_http": True}


@dataclass(frozen=True)
class Bucket:
    """A bucket as who writes it has it, and the variables of who reads it."""

    store: S3Store | GCSStore | AzureStore
    url: str
    env: dict[str, str]

    def put(self, text: str) -> None:
        """Writes the feed."""
        obstore.put(self.store, "a feed.csv", text.encode())

    def remove(self) -> None:
        """Takes the feed away."""
        obstore.delete(self.store, "a feed.csv")


@pytest.fixture(scope="session")
def versions(s3: S3) -> None:
    """The server has a bucket that keeps versions."""
    s3calls.make_bucket(s3, KEPT, versions=True)


def s3_bucket(server: S3, name: str, place: str) -> Bucket:
    """A bucket of the S3 server."""
    login: Any = {"access_key_id": ACCESS, "secret_access_key": SECRET, "region": "us-east-1"}
    made = S3Store(name, prefix=place, endpoint=server.endpoint, client_options=PLAIN, **login)
    return Bucket(made, f"s3://{name}/{place}/a feed.csv", server.env())


def gs_bucket(server: Google, name: str, tmp_path: Path) -> Bucket:
    """The same bucket, as Google's."""
    made = GCSStore(name, prefix=tmp_path.name, base_url=server.url, bearer_token=server.token())
    return Bucket(made, f"gs://{name}/{tmp_path.name}/a feed.csv", server.env(tmp_path / "login"))


def az_bucket(server: Azure, place: str) -> Bucket:
    """The container of Azure's emulator."""
    login: Any = {"account_name": ACCOUNT, "account_key": KEY, "endpoint": server.endpoint}
    made = AzureStore("bucket", prefix=place, client_options=PLAIN, **login)
    return Bucket(made, f"az://bucket/{place}/a feed.csv", server.env())


@pytest.fixture(params=["s3", "gs"])
def kept(request: pytest.FixtureRequest, versions: None, tmp_path: Path) -> Bucket:
    """A bucket that keeps versions."""
    if request.param == "s3":
        return s3_bucket(request.getfixturevalue("s3"), KEPT, tmp_path.name)
    return gs_bucket(request.getfixturevalue("gs"), KEPT, tmp_path)


@pytest.fixture(params=["gs", "az"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """One that does not. (For S3: `test_sources_places`.)"""
    if request.param == "gs":
        return gs_bucket(request.getfixturevalue("gs"), "bucket", tmp_path)
    return az_bucket(request.getfixturevalue("az"), tmp_path.name)


def reader(bucket: Bucket, root: Path) -> Checkout:
    """A project that reads the feed."""
    repo = project(root, f'url("{bucket.url}")')
    repo.env |= bucket.env
    return repo


def rows(checkout: Checkout) -> str:
    """What the stage made of the data."""
    return (checkout.root / "out/rows.csv").read_text()


def pinned(checkout: Checkout) -> dict[str, str]:
    """What the lock says of the version."""
    (line,) = lock(checkout)
    found: dict[str, str] = json.loads(line.split(" ", 2)[2])["version"]
    return found


def test_what_was_pinned_is_fetched_after_it_was_written_over(kept: Bucket, tmp_path: Path) -> None:
    kept.put(ONE)
    repo = reader(kept, tmp_path / "repo")
    repo("run")
    first = pinned(repo)
    assert set(first) == {"version_id", "etag"}
    kept.put(TWO)
    repo.forget()
    repo("run")
    assert (rows(repo), pinned(repo)) == (ONE, first)
    assert "feed has something newer" in repo("status", "--sources")
    # Even of what somebody took away.
    kept.remove()
    repo.forget()
    repo("run")
    assert rows(repo) == ONE
    assert f"{kept.url}: nothing is there" in repo("update", code=1)
    assert pinned(repo) == first


def test_a_pinned_version_that_is_gone(kept: Bucket, s3: S3, tmp_path: Path) -> None:
    kept.put(ONE)
    repo = reader(kept, tmp_path / "repo")
    repo("run")
    old = pinned(repo)["version_id"]
    kept.put(TWO)
    place = f"/{KEPT}/{tmp_path.name}/a feed.csv"
    there = s3calls.call(s3, "GET", f"/{KEPT}", {"versions": "", "prefix": f"{tmp_path.name}/"})
    oldest = there.body.decode().split("<VersionId>")[-1].split("<")[0]
    assert s3calls.call(s3, "DELETE", place, {"versionId": oldest}).status == 204
    repo.forget()
    said = repo("run", code=1)
    assert f"{kept.url}: the bucket does not have version id {old} any more, and version id" in said
    assert "is there now" in said and "`mlpipe.lock` pins 9 B" in said and "mlpipec update feed" in said
    assert pinned(repo)["version_id"] == old, "nothing else is taken unasked"


def test_without_versions_only_what_is_there_now(plain: Bucket, tmp_path: Path) -> None:
    plain.put(ONE)
    repo = reader(plain, tmp_path / "repo")
    repo("run")
    assert rows(repo) == ONE
    first = pinned(repo)
    plain.put(TWO)
    repo.forget()
    said = repo("run", code=1)
    if "version_id" in first:
        assert f"does not have version id {first['version_id']} any more" in said
    else:
        assert "has another version now: its etag was" in said
    assert "mlpipec update feed" in said and pinned(repo) == first
    plain.remove()
    said = repo("run", code=1)
    assert f"{plain.url}: nothing is there" in said


def test_over_a_bad_line(gs: Google, az: Azure, tmp_path: Path) -> None:
    body = "id,x\n" + "".join(f"{n},{n}\n" for n in range(100_000))
    google, azure = gs_bucket(gs, "bucket", tmp_path), az_bucket(az, tmp_path.name)
    for bucket, port in ((google, gs.port), (azure, az.port)):
        bucket.put(body)
        repo = reader(bucket, tmp_path / f"repo{port}")
        with contextlib.closing(Proxy(port, bad_line(flips=0))) as line:
            way = az.env(port=line.port)
            if bucket is google:
                way = gs.env(tmp_path / "login", f"http://127.0.0.1:{line.port}")
            repo.env |= way
            repo("run")
            assert rows(repo) == body and line.count > 4


def test_refused_and_public(gs: Google, az: Azure, tmp_path: Path) -> None:
    google, azure = gs_bucket(gs, "bucket", tmp_path), az_bucket(az, tmp_path.name)
    google.put(ONE)
    repo = reader(google, tmp_path / "repo")
    repo.env |= {"GOOGLE_BEARER_TOKEN": "ya29.of-yesterday"}
    said = repo("run", code=1)
    assert f"cannot read {google.url}: it refuses these credentials" in said
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said and "ya29" not in said
    other = reader(azure, tmp_path / "other")
    other.env |= {"AZURE_STORAGE_ACCOUNT_KEY": "bm90IHRoZSBrZXk="}
    said = other("run", code=1)
    assert f"cannot read {azure.url}: it refuses these credentials" in said and "bm90" not in said
    # What everybody may read takes no credentials, and the endpoint may stand in the pipeline.
    gs.public.add("bucket")
    try:
        open_to_all = f'url("{google.url}", anonymous = true, endpoint = "{gs.url}")'
        public = project(tmp_path / "public", open_to_all)
        public("run")
        assert rows(public) == ONE
    finally:
        gs.public.clear()
