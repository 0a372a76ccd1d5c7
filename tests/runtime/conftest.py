from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import absent
from tests.runtime.lab import Lab, metrics, stage
from tests.support import azure, google, oidc, servers
from tests.support.azure import Azure
from tests.support.faulty import Faults
from tests.support.google import Google
from tests.support.oidc import Issuer
from tests.support.servers import S3, SshServer


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """An empty project."""
    return Lab(tmp_path)


@pytest.fixture
def chain(tmp_path: Path) -> Lab:
    """`load → clean → score`, beside them `other`; `clean` has a parameter, `score` writes metrics."""
    lab = Lab(tmp_path)
    lab.write("raw.txt", "3\n1\n2\n")
    lab.params = {"clean.top": 2}
    lab.stages = [
        stage("load", "cat {i:raw} > {o:rows}", reads={"raw": "./raw.txt"}, writes={"rows": "data/rows.txt"}),
        stage(
            "clean",
            "sort {i:rows} | head -n {p:clean.top} > {o:best}",
            reads={"rows": "load.rows"},
            writes={"best": "data/best.txt"},
            params=("clean.top",),
        ),
        stage(
            "score",
            'printf "n: %d" "$(wc -l < {i:best})" > {o:scores}',
            reads={"best": "clean.best"},
            writes={"scores": "scores.yaml"},
            types={"scores": metrics("n:int")},
        ),
        stage("other", "echo hello > {o:greeting}", writes={"greeting": "greeting.txt"}),
    ]
    return lab


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server."""
    if servers.weed() is None:
        absent("SeaweedFS is not installed: run `make tools`")
    with servers.s3_server(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def gs(s3: S3) -> Iterator[Google]:
    """Google Cloud Storage's interface, before that S3 server."""
    with google.google_server(s3) as server:
        yield server


@pytest.fixture(scope="session")
def az(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Azure's emulator."""
    if not azure.installed():
        absent("Azurite is not installed: run `make tools`")
    with azure.azure_server(tmp_path_factory.mktemp("azure") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A real SSH server."""
    if servers.sshd() is None:
        absent("OpenSSH's server is not installed: apt-get install openssh-server")
    with servers.ssh_server(tmp_path_factory.mktemp("ssh") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    """The server of faults of a module."""
    made = Faults()
    yield made
    made.close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """What signs the tokens of jobs."""
    with oidc.issuer() as made:
        yield made
