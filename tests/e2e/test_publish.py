"""`mlpipec release --publish` at servers held against the services' own descriptions, with a bare repository
as the remote."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.forges.front import Reply
from tests.e2e.forges.known import Service
from tests.support.project import Checkout

pytestmark = pytest.mark.e2e

PIPELINE = """\
mlpipe 1
pipeline churn
stage train {
  out model: file = "model.bin"
  run = "head -c 1200000 /dev/zero > {{model}}; echo weights >> {{model}}"
}
"""
TAG = "model@v1.0.0"


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """A trained and committed project, whose remote is a bare repository."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "remote.git")], check=True)
    (tmp_path / "churn").mkdir()
    made = Checkout(tmp_path / "churn")
    made.git("init", "-q", "-b", "main")
    made.git("remote", "add", "origin", (tmp_path / "remote.git").as_uri())
    made.write({"pipeline.mlpipe": PIPELINE, ".gitignore": ".mlpipe/\nmodel.bin\n"})
    made.mlpipec("run")
    made.commit()
    made.git("push", "-q", "origin", "main")
    return made


def attached(service: Service) -> dict[str, bytes]:
    """The files of the release, by the names that people see, however the service keeps them."""
    if service.name == "github":
        return dict(service.rows.releases[0].files)
    if service.name == "gitlab":
        links = service.rows.releases[0].files
        place = f"{service.front.url}/projects/{service.repository.replace('/', '%2F')}/"
        return {n: service.rows.files[u.decode().removeprefix(place)] for n, u in links.items()}
    return {n.removeprefix("model-v1.0.0-"): data for n, data in service.rows.files.items()}


def test_a_release_with_its_files_once_and_again(service: Service, project: Checkout) -> None:
    command = ("release", "train.model", "--version", "v1.0.0", "--stage", "prod", "--publish")
    done = project.mlpipec(*command, **service.env())
    assert "published http" in done.out
    assert project.git("ls-remote", "--tags", "origin", TAG).strip().endswith(TAG)
    files = attached(service)
    assert sorted(files) == ["MODEL_CARD.md", "model.bin", "provenance.intoto.json"]
    model = (project.path / "model.bin").read_bytes()
    assert hashlib.sha256(files["model.bin"]).digest() == hashlib.sha256(model).digest(), "byte for byte"
    statement = json.loads(files["provenance.intoto.json"])
    assert statement["subject"][0]["digest"]["sha256"] == hashlib.sha256(model).hexdigest()
    if service.name != "bitbucket":
        (release,) = service.rows.releases
        assert release.tag == TAG and release.text.startswith("# model v1.0.0")
    assert service.token not in done.out + done.err

    again = project.mlpipec("release", "train.model", "--version", "v1.0.0", "--publish", **service.env())
    assert "there is model@v1.0.0" in again.out and "published http" in again.out
    assert attached(service) == files and len(service.rows.releases) <= 1
    (project.path / "mlpipe-releases/model-v1.0.0/MODEL_CARD.md").unlink()
    gone = project.mlpipec(
        "release", "train.model", "--version", "v1.0.0", "--publish", code=1, **service.env()
    )
    assert "the files of `model@v1.0.0` are not here any more" in gone.err


def test_a_bad_minute_and_a_token_that_may_not(service: Service, project: Checkout) -> None:
    command = ("release", "train.model", "--version", "v1.0.0", "--publish")
    none = {k: v for k, v in service.env().items() if not k.endswith("_TOKEN")}
    assert "no token for" in project.mlpipec(*command, code=1, **none).err
    assert project.git("tag") == "", "nothing was made"
    denied = project.mlpipec(*command, code=1, **service.env("token-reader"))
    assert "`model@v1.0.0` is pushed, and the release could not be published" in denied.err
    assert "token-reader" not in denied.err
    # Once more, with a token that may, and a service that stumbles.
    part = {"github": "/assets", "gitlab": "packages/generic"}.get(service.name, "downloads")
    service.front.fail("PUT" if service.name == "gitlab" else "POST", part, Reply(503))
    done = project.mlpipec(*command, **service.env())
    assert "published http" in done.out and len(attached(service)) == 3


def test_without_a_service_it_says_so(project: Checkout) -> None:
    done = project.mlpipec("release", "train.model", "--publish", code=2)
    assert "no CI service is known here" in done.err and project.git("tag") == ""
