"""Real servers on loopback for tests of remotes: S3 (SeaweedFS), SSH (OpenSSH), the web with ranges.

All take a random port, are waited for, and end with the test run. `weed` comes with `make tools`.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import CHECKOUT

ACCESS, SECRET = "test-access", "test-secret-key"


def weed() -> Path | None:
    """The program of SeaweedFS."""
    named = Path(os.environ.get("MLPIPEC_TEST_TOOLS") or CHECKOUT / ".cache" / "tools") / "bin" / "weed"
    found = str(named) if named.exists() else shutil.which("weed")
    return Path(found) if found else None


def sshd() -> Path | None:
    """The program of OpenSSH's server."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return Path(found) if found else None


def free_ports(number: int) -> list[int]:
    """Ports that nobody uses, in a row, so low that nobody gets one by chance, with room for SeaweedFS."""
    for start in range(20_000 + os.getpid() % 1000 * 10, 32_000, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(start, start + number):
                    taken = stack.enter_context(socket.socket())
                    taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            return list(range(start, start + number))
    raise RuntimeError("no free ports")


@dataclass(frozen=True, slots=True)
class S3:
    """A server with one empty bucket, `bucket`."""

    endpoint: str
    port: int

    def env(self, secret: str = SECRET) -> dict[str, str]:
        """What a client needs to know."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextlib.contextmanager
def s3_server(folder: Path, iam: Mapping[str, Any] | None = None) -> Iterator[S3]:
    """A server that checks signatures, with ranges, multipart uploads and conditional writes.

    `iam` are roles, and who may take them with whose tokens: then it is an STS, too.
    """
    program = weed()
    assert program, "SeaweedFS is not installed: make tools"
    (folder / "data").mkdir(parents=True)
    identity = {
        "name": "ci",
        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(8)
    names = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
    flags = [
        f"-{n.replace('.grpc', '.port.grpc') if '.grpc' in n else n + '.port'}={p}"
        for n, p in zip(names, ports, strict=True)
    ]
    command = [
        *(str(program), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer"),
        *("-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.volumeSizeLimitMB=256", "-volume.max=64", *flags),
    ]
    if iam is not None:
        (folder / "iam.json").write_text(json.dumps(iam))
        command.append(f"-s3.iam.config={folder / 'iam.json'}")
    with (folder / "log.txt").open("w") as log, _ended(subprocess.Popen(command, stdout=log, stderr=log)):
        _wait_for(lambda: _answers(ports[0]), folder / "log.txt")
        server = S3(f"http://127.0.0.1:{ports[0]}", ports[0])
        _wait_for(lambda: _make_bucket(ports[6]), folder / "log.txt")
        yield server


def roles(issuer: str, subjects: Mapping[str, str], audience: str = "sts.amazonaws.com") -> dict[str, Any]:
    """For `s3_server`: roles by name, each for jobs with that subject in the tokens of `issuer`, which may
    read and write `bucket`. `role` gives their ARNs."""
    policy = {
        "Effect": "Allow",
        "Action": ["s3:*"],
        "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
    }
    made = [
        {
            "roleName": name,
            "roleArn": role(name),
            "trustPolicy": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Federated": "ci"},
                        "Action": ["sts:AssumeRoleWithWebIdentity"],
                        "Condition": {"StringEquals": {"oidc:sub": subject}},
                    }
                ],
            },
            "attachedPolicies": ["bucket"],
        }
        for name, subject in subjects.items()
    ]
    known = {"issuer": issuer, "clientId": audience, "jwksUri": f"{issuer}/keys", "scopes": ["openid"]}
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "seaweedfs",
            "signingKey": base64.b64encode(b"k" * 32).decode(),
        },
        "providers": [{"name": "ci", "type": "oidc", "enabled": True, "config": known}],
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [
            {"name": "bucket", "document": {"Version": "2012-10-17", "Statement": [policy]}},
        ],
        "roles": made,
    }


def role(name: str) -> str:
    """The ARN of a role of `roles`."""
    return f"arn:aws:iam::123456789012:role/{name}"


def _make_bucket(filer: int) -> bool:
    """Makes the bucket, a folder of the server's; False while it is not ready to."""
    with contextlib.suppress(OSError), contextlib.closing(_client(filer)) as client:
        client.request("POST", "/buckets/bucket/", headers={"Content-Length": "0"})
        return client.getresponse().status < 300
    return False


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), contextlib.closing(_client(port)) as client:
        client.request("GET", "/")
        client.getresponse()
        return True
    return False


def _client(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=5)


@dataclass(frozen=True, slots=True)
class SshServer:
    """A server that lets this user in with `key`; `known` is a known_hosts file that has it."""

    port: int
    key: Path
    known: Path

    def address(self, folder: Path) -> str:
        """The URL of a folder there."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{folder}"

    def block(self, folder: Path, write: str = "all") -> str:
        """A `cache` block for it."""
        login = f'key = "{self.key}", known_hosts = "{self.known}"'
        return f'cache {{ remote = "{self.address(folder)}", write = {write}, {login} }}'


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """An SSH server of this user, with keys made for it."""
    program = sshd()
    assert program, "OpenSSH's server is not installed: apt-get install openssh-server"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "authorized").chmod(0o600)
    (port,) = free_ports(1)
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\nMaxStartups 100\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    host = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
    command = [str(program), "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log.txt").open("w") as log, _ended(subprocess.Popen(command, stdout=log, stderr=log)):
        _wait_for(lambda: _connects(port), folder / "log.txt")
        yield SshServer(port, folder / "user", folder / "known")


def _connects(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as found:
        return found.recv(4) == b"SSH-"
    return False


class _Files(http.server.SimpleHTTPRequestHandler):
    """Files with ranges."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """A file, or a part of it."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        whole = len(data)
        start = 0
        if match:
            start, end = int(match[1]), min(int(match[2] or whole - 1), whole - 1)
            if start >= whole:
                self.send_error(416)
                return
            data = data[start : end + 1]
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{whole}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("ETag", f'"{whole}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        """What a GET would say of it."""
        self.do_GET()


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The folder on the web, to be read; the address."""

    def handler(*args: Any) -> _Files:
        return _Files(*args, directory=str(folder))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The process is gone afterwards. By SIGKILL: SeaweedFS takes half a minute to say goodbye."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def _wait_for(ready: Any, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"the server does not answer:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
