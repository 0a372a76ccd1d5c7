"""All kinds of remotes do the same, on real servers; and over lines that break."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflowc.errors import Failure
from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.transport import AbsentError, RemoteError, Transport, connect
from tests.support import servers
from tests.support.remote_project import Checkout, results
from tests.support.servers import S3, SshServer

NAME = "v1/trusted/objects/ab/cdef"
BIG = os.urandom(1 << 20) * 20


def use(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    """These variables are set for a test."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["folder", "s3", "az", "gs", "ssh"])
def remote(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Transport]:
    """An empty remote of each kind that can be written."""
    if request.param == "folder":
        made = connect(str(tmp_path / "remote"), tmp_path, {})
    elif request.param == "s3":
        use(monkeypatch, request.getfixturevalue("s3").env())
        made = connect(f"s3://bucket/{tmp_path.name}", tmp_path, {})
    elif request.param == "gs":
        use(monkeypatch, request.getfixturevalue("gs").env(tmp_path / "login"))
        made = connect(f"gs://bucket/{tmp_path.name}", tmp_path, {})
    elif request.param == "az":
        made = connect(f"az://bucket/{tmp_path.name}", tmp_path, request.getfixturevalue("az").options())
    else:
        server = request.getfixturevalue("ssh")
        options = {"key": str(server.key), "known_hosts": str(server.known)}
        made = connect(server.address(tmp_path / "remote"), tmp_path, options)
    yield made
    made.close()


def whole(remote: Transport, name: str, start: int = 0, length: int | None = None) -> bytes:
    """What is there, in one piece."""
    return b"".join(remote.read(name, start, length))


def test_what_is_written_is_there(remote: Transport, tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(BIG)
    assert remote.size(NAME) is None
    with pytest.raises(AbsentError):
        whole(remote, NAME)
    assert remote.write(NAME, b"hello")
    assert (remote.size(NAME), whole(remote, NAME)) == (5, b"hello")
    assert remote.write(NAME, file), "in place of what was there"
    assert remote.size(NAME) == len(BIG)
    assert whole(remote, NAME) == BIG
    assert whole(remote, NAME, 3, 10) == BIG[3:13]
    assert whole(remote, NAME, len(BIG) - 4) == BIG[-4:]
    assert whole(remote, NAME, 1_000_000, 5_000_000) == BIG[1_000_000:6_000_000]


def test_empty_contents(remote: Transport) -> None:
    assert remote.write(NAME, b"")
    assert (remote.size(NAME), whole(remote, NAME)) == (0, b"")


def test_names_are_listed_and_taken_away(remote: Transport) -> None:
    wanted = {f"v1/trusted/packs/{n:03}" for n in range(30)}
    for name in (*wanted, "v1/trusted/packs2/x", "v1/untrusted/pr-1/packs/y"):
        remote.write(name, name.encode())
    found = list(remote.names("v1/trusted/packs/"))
    assert {f.name for f in found} == wanted
    assert all(f.size == len(f.name) and f.modified > 1e9 for f in found)
    assert list(remote.names("v1/nothing/")) == []
    remote.remove("v1/trusted/packs/000")
    remote.remove("v1/trusted/packs/000")
    assert len(list(remote.names("v1/trusted/packs/"))) == 29


def test_of_many_writers_one_is_first(remote: Transport) -> None:
    wins: list[int] = []

    def write(n: int) -> None:
        if remote.write(NAME, f"writer {n}".encode(), fresh=True):
            wins.append(n)

    Engine(remote).each(write, range(8))
    assert len(wins) == 1
    assert whole(remote, NAME) == f"writer {wins[0]}".encode()
    assert not remote.write(NAME, b"late", fresh=True)


def test_many_threads_at_once(remote: Transport) -> None:
    engine = Engine(remote)
    contents = {f"v1/trusted/packs/{n}": os.urandom(50_000) for n in range(40)}
    assert all(engine.each(lambda item: engine.write(*item), contents.items()))
    assert engine.each(engine.read_all, contents) == list(contents.values())


def test_a_web_server_is_read(tmp_path: Path) -> None:
    connect(str(tmp_path / "www"), tmp_path, {}).write(NAME, BIG)
    with servers.web_server(tmp_path / "www") as address:
        remote = connect(address, tmp_path, {})
        assert whole(remote, NAME) == BIG
        assert whole(remote, NAME, 1_000_001, 77) == BIG[1_000_001:1_000_078]
        assert remote.size(NAME) == len(BIG)
        assert remote.size("v1/none") is None
        with pytest.raises(AbsentError):
            whole(remote, "v1/none")
        with pytest.raises(RemoteError, match="only be read"):
            remote.write(NAME, b"x")


def test_a_project_through_a_web_server(tmp_path: Path) -> None:
    maker = Checkout(tmp_path / "maker" / "p").make(f'cache {{ remote = "{tmp_path}/www", write = all }}')
    maker("run")
    want = maker.outputs()
    with servers.web_server(tmp_path / "www") as address:
        other = Checkout(tmp_path / "other" / "p").make(f'cache {{ remote = "{address}" }}')
        text = other("run")
        assert "warning" not in text
        assert (other.ran, other.outputs()) == ([], want)
        assert "can only be read" in other("cache", "push", code=1)


# --- faults


class Proxy:
    """A TCP proxy to a server. `rule(n)` says what happens to connection number `n`: a function that is
    given each chunk of the answer and gives what is passed on (None: the connection is cut).
    """

    def __init__(self, port: int, rule: Callable[[int], Callable[[bytes], bytes | None]]) -> None:
        self._port = port
        self._rule = rule
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.count = 0
        self._sockets: list[socket.socket] = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, server]
                change = self._rule(self.count)
                self.count += 1
                threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, change), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, change: Any) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed = change(data) if change else data
                if passed is None:
                    break
                target.sendall(passed)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cuts everything."""
        for each in self._sockets:
            each.close()


def slow(rate: int) -> Callable[[int], Callable[[bytes], bytes | None]]:
    """Each connection gives so many bytes a second."""

    def change(data: bytes) -> bytes:
        time.sleep(len(data) / rate)
        return data

    return lambda n: change


def stalled(size: int, connections: int) -> Callable[[int], Callable[[bytes], bytes | None]]:
    """The first connections stay open and give nothing more after so many bytes."""

    def rule(n: int) -> Callable[[bytes], bytes | None]:
        left = [size]

        def change(data: bytes) -> bytes:
            left[0] -= len(data)
            return data if n >= connections or left[0] > 0 else b""

        return change

    return rule


def cut_after(size: int, connections: int) -> Callable[[int], Callable[[bytes], bytes | None]]:
    """The first connections are cut after so many bytes of answers."""

    def rule(n: int) -> Callable[[bytes], bytes | None]:
        left = [size]

        def change(data: bytes) -> bytes | None:
            left[0] -= len(data)
            return data if n >= connections or left[0] > 0 else None

        return change

    return rule


def server_errors(connections: int) -> Callable[[int], Callable[[bytes], bytes | None]]:
    """Over the first connections every answer is a 500."""
    answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return lambda n: lambda data: answer if n < connections else data


def flipped(chunks: int) -> Callable[[int], Callable[[bytes], bytes | None]]:
    """In the first large chunks of a body a byte is another."""
    left = [chunks]

    def change(data: bytes) -> bytes:
        if len(data) < 30_000 or left[0] <= 0:
            return data
        left[0] -= 1
        return data[:-7] + bytes([data[-7] ^ 1]) + data[-6:]

    return lambda n: change


@pytest.mark.parametrize(
    "rule",
    [cut_after(300_000, 3), server_errors(2), flipped(1)],
    ids=["connections break", "server errors", "changed bytes"],
)
def test_a_pull_over_a_bad_line(
    s3: S3, tmp_path: Path, rule: Callable[[int], Callable[[bytes], bytes | None]]
) -> None:
    block = f'cache {{ remote = "s3://bucket/{tmp_path.name}", write = all }}'
    maker = Checkout(tmp_path / "maker" / "p", s3.env()).make(block)
    assert results(maker("run")) == 3
    proxy = Proxy(s3.port, rule)
    try:
        env = {**s3.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        other = Checkout(tmp_path / "other" / "p", env).make(block)
        other("cache", "pull", "load", "split", "score")
        other("run", "--no-remote")
        assert (other.ran, other.outputs()) == ([], maker.outputs())
        assert proxy.count > 0
    finally:
        proxy.close()


def test_bytes_that_are_always_wrong_are_never_taken(s3: S3, tmp_path: Path) -> None:
    block = f'cache {{ remote = "s3://bucket/{tmp_path.name}", write = all }}'
    maker = Checkout(tmp_path / "maker" / "p", s3.env()).make(block)
    maker("run")
    proxy = Proxy(s3.port, flipped(10_000))
    try:
        env = {**s3.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        other = Checkout(tmp_path / "other" / "p", env).make(block)
        other("run")
        assert "load" in other.ran, "its large file could not be had, so it was made"
        assert other.outputs() == maker.outputs()
    finally:
        proxy.close()


def test_a_push_over_a_bad_line(s3: S3, tmp_path: Path) -> None:
    block = f'cache {{ remote = "s3://bucket/{tmp_path.name}", write = all }}'
    proxy = Proxy(s3.port, cut_after(1, 3))
    try:
        env = {**s3.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        maker = Checkout(tmp_path / "maker" / "p", env).make(block)
        maker("run", "--no-remote")
        assert "3 results pushed" in maker("cache", "push")
    finally:
        proxy.close()
    other = Checkout(tmp_path / "other" / "p", s3.env()).make(block)
    other("run")
    assert (other.ran, other.outputs()) == ([], maker.outputs())


def through(s3: S3, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Transport:
    """The bucket behind a proxy, with a short patience."""
    use(monkeypatch, {**s3.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"})
    return connect(f"s3://bucket/{tmp_path.name}", tmp_path, {"timeout": "1"})


def test_a_slow_line_is_no_reason_to_stop(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer may take several times as long as a server may be silent, and its progress shows."""
    proxy = Proxy(s3.port, slow(500_000))
    try:
        remote = through(s3, proxy, tmp_path, monkeypatch)
        remote.write(NAME, BIG[:2_000_000])
        engine = Engine(remote)
        began, steps = time.monotonic(), 0
        size = 0
        for chunk in engine.read(NAME):
            size += len(chunk)
            steps += 1
        assert (size, remote.size(NAME)) == (2_000_000, 2_000_000)
        assert time.monotonic() - began > 2, "it was slow"
        assert steps > 1
    finally:
        proxy.close()


def test_a_line_that_stands_still_is_left(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, s3.env())
    connect(f"s3://bucket/{tmp_path.name}", tmp_path, {}).write(NAME, BIG)
    proxy = Proxy(s3.port, stalled(5_000_000, 1))
    try:
        engine = Engine(through(s3, proxy, tmp_path, monkeypatch))
        assert engine.read_all(NAME) == BIG
        assert proxy.count > 1, "over another connection"
    finally:
        proxy.close()


def test_credentials_that_expire_on_the_way(s3: S3, tmp_path: Path) -> None:
    """The first answers are good, and then the server refuses: the run goes on, and says so once."""
    block = f'cache {{ remote = "s3://bucket/{tmp_path.name}", write = all }}'
    maker = Checkout(tmp_path / "maker" / "p", s3.env()).make(block)
    maker("run")
    body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
    count = itertools.count()
    proxy = Proxy(s3.port, lambda n: lambda data: data if next(count) < 4 else answer % (len(body), body))
    try:
        env = {**s3.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        other = Checkout(tmp_path / "other" / "p", env).make(block)
        text = other("run")
        assert text.count("warning") == 1, text
        assert "refuses these credentials" in text
        assert other.outputs() == maker.outputs()
        pulled = Checkout(tmp_path / "third" / "p", env).make(block)("cache", "pull", code=1)
        assert "refuses these credentials" in pulled
    finally:
        proxy.close()


def test_a_truncated_object_is_a_miss(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody cut off what is in the bucket: nobody takes it, and who makes the result again mends it."""
    block = f'cache {{ remote = "s3://bucket/{tmp_path.name}", write = all }}'
    maker = Checkout(tmp_path / "maker" / "p", s3.env()).make(block)
    maker("run")
    use(monkeypatch, s3.env())
    remote = connect(f"s3://bucket/{tmp_path.name}", tmp_path, {})
    for found in list(remote.names("v1/trusted/")):
        if "/records/" not in found.name:
            remote.write(found.name, whole(remote, found.name)[: found.size // 2])
    other = Checkout(tmp_path / "other" / "p", s3.env()).make(block)
    other("run")
    assert (other.ran, other.outputs()) == (["load", "split", "score"], maker.outputs())
    late = Checkout(tmp_path / "late" / "p", s3.env()).make(block)
    late("run")
    assert (late.ran, late.outputs()) == ([], maker.outputs())


def test_wrong_and_expired_credentials(s3: S3, tmp_path: Path) -> None:
    block = f'cache {{ remote = "s3://bucket/{tmp_path.name}", write = all }}'
    for env in (s3.env("wrong"), {**s3.env(), "AWS_SESSION_TOKEN": "expired"}):
        checkout = Checkout(tmp_path / "p", env).make(block)
        text = checkout("run")
        assert text.count("warning") == 1, text
        assert "going on without it" in text
        assert "refuses these credentials" in text or "cannot read the remote" in text
        assert checkout.ran == ["load", "split", "score"]
        assert "AWS_ACCESS_KEY_ID" in checkout("cache", "push", code=1)
        checkout.forget()


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        env = S3(f"http://127.0.0.1:{port}", port).env()
        places = ["s3://bucket/x", f"ssh://nobody@127.0.0.1:{port}/x", f"http://127.0.0.1:{port}"]
        for n, where in enumerate(places):
            block = f'cache {{ remote = "{where}", write = all }}'
            checkout = Checkout(tmp_path / f"{n}" / "p", env).make(block)
            text = checkout("run")
            assert text.count("warning") == 1, text
            assert "cannot reach the remote" in text
            assert checkout.ran == ["load", "split", "score"]
            checkout.forget()
            assert "cannot reach the remote" in checkout("cache", "pull", code=1)


def test_a_host_that_is_not_known_is_refused(ssh: SshServer, tmp_path: Path) -> None:
    (tmp_path / "nobody").write_text("")
    options = {"key": str(ssh.key), "known_hosts": str(tmp_path / "nobody")}
    remote = connect(ssh.address(tmp_path), tmp_path, options)
    with pytest.raises(RemoteError, match="cannot reach") as found:
        remote.size("x")
    assert "once" in found.value.help


def test_a_mount_that_is_gone_is_not_filled(tmp_path: Path) -> None:
    remote = connect(str(tmp_path / "mnt" / "share" / "cache"), tmp_path, {})
    with pytest.raises(RemoteError, match="cannot write"):
        remote.write(NAME, b"x")
    assert not (tmp_path / "mnt").exists()


def test_a_full_disk_in_the_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = connect(str(tmp_path / "remote"), tmp_path, {})

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RemoteError, match="No space left"):
        remote.write(NAME, b"content")
    assert remote.size(NAME) is None
    assert [p for p in (tmp_path / "remote").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("address", "options", "says"),
    [
        ("foo://x", {}, "nothing here speaks `foo`"),
        ("s3://", {}, "names no bucket"),
        ("s3://bucket", {"regionn": "x"}, "cannot be set up"),
        ("ssh://host", {}, "not of the form"),
        ("ssh://u:secret@host/x", {}, "password"),
        ("ssh://host/x", {"keyy": "x"}, "no option `keyy`"),
        ("https://x", {"region": "x"}, "no option `region`"),
        ("file://host/x", {}, "names the machine"),
        ("/x", {"region": "x"}, "no options"),
        ("", {}, "empty"),
    ],
)
def test_addresses_that_cannot_be(tmp_path: Path, address: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(Failure, match=says):
        connect(address, tmp_path, options)


def test_keys_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3) -> None:
    env = s3.env()
    (tmp_path / "credentials").write_text(
        f"[work]\naws_access_key_id = {env['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {env['AWS_SECRET_ACCESS_KEY']}\n"
    )
    (tmp_path / "config").write_text(f"[profile work]\nregion = us-east-1\nendpoint_url = {s3.endpoint}\n")
    for name in env:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    remote = connect(f"s3://bucket/{tmp_path.name}", tmp_path, {})
    assert remote.write(NAME, b"x")
    assert whole(remote, NAME) == b"x"
