"""Google Cloud Storage and Azure Blob Storage as remotes of a project: over lines that break, and refused.

The same faults meet S3 in `test_remote_transports`. What the stand-in for Google does not show is in
`tests.support.google`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlflowc.runtime.remotes.engine import Engine
from mlflowc.runtime.remotes.transport import connect
from tests.runtime.test_remote_transports import Proxy, use, whole
from tests.support.azure import Azure
from tests.support.google import Google
from tests.support.remote_project import Checkout, results

Rule = Callable[[int], Callable[[bytes], bytes | None]]
_REFUSED = b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
OTHER_KEY = "b3RoZXIga2V5IHRoYW4gdGhlIGFjY291bnQgaGFzLCBhbmQganVzdCBhcyBsb25nIGFzIHRoYXQgb25lLi4uLi4="


@dataclass(frozen=True)
class Bucket:
    """A cloud's bucket. `way(port)` are the variables of who comes over that port (0: directly) with good
    credentials, `wrong` those of who has none; `expired` is what the server then says, and `hint` our help.
    """

    scheme: str
    port: int
    way: Callable[[int], dict[str, str]]
    wrong: dict[str, str]
    expired: bytes
    hint: str

    def block(self, tmp_path: Path) -> str:
        """The `cache` block of a project."""
        return f'cache {{ remote = "{self.scheme}://bucket/{tmp_path.name}", write = all }}'


@pytest.fixture(params=["gs", "az"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """One of each cloud that has no fault tests of its own."""
    if request.param == "gs":
        google: Google = request.getfixturevalue("gs")

        def by(port: int) -> dict[str, str]:
            return google.env(tmp_path / "login", f"http://127.0.0.1:{port}" if port else "")

        text = (
            b"<Error><Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>"
        )
        said = _REFUSED % (b"401 Unauthorized", len(text), text)
        wrong = {"GOOGLE_BEARER_TOKEN": "ya29.of-yesterday", "GOOGLE_BASE_URL": google.url}
        return Bucket("gs", google.port, by, wrong, said, "GOOGLE_APPLICATION_CREDENTIALS")
    azure: Azure = request.getfixturevalue("az")
    text = (
        b"<Error><Code>AuthenticationFailed</Code><Message>Signature not valid in the time</Message></Error>"
    )
    said = _REFUSED % (b"403 Forbidden", len(text), text)
    wrong = azure.env(key=OTHER_KEY)
    return Bucket("az", azure.port, lambda p: azure.env(port=p), wrong, said, "AZURE_STORAGE_ACCOUNT_KEY")


def bad_line(flips: int = 1) -> Rule:
    """The first connections are cut, or have server errors for answers; and so often a byte is another."""
    error = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    flipping = [flips]

    def rule(n: int) -> Callable[[bytes], bytes | None]:
        left = [1 if n == 0 else 300_000]

        def change(data: bytes) -> bytes | None:
            if n in (1, 2):
                return error
            left[0] -= len(data)
            if n in (0, 3) and left[0] <= 0:
                return None
            if len(data) > 30_000 and flipping[0]:
                flipping[0] -= 1
                return data[:-7] + bytes([data[-7] ^ 1]) + data[-6:]
            return data

        return change

    return rule


def test_a_push_and_a_pull_over_bad_lines(bucket: Bucket, tmp_path: Path) -> None:
    maker = Checkout(tmp_path / "maker" / "p").make(bucket.block(tmp_path))
    with contextlib.closing(Proxy(bucket.port, bad_line())) as line:
        maker.env = bucket.way(line.port)
        assert results(maker("run")) == 3
        assert line.count > 4
    other = Checkout(tmp_path / "other" / "p").make(bucket.block(tmp_path))
    with contextlib.closing(Proxy(bucket.port, bad_line())) as line:
        other.env = bucket.way(line.port)
        other("run")
        assert (other.ran, other.outputs()) == ([], maker.outputs())
        assert line.count > 4


def test_credentials_that_expire_on_the_way(bucket: Bucket, tmp_path: Path) -> None:
    maker = Checkout(tmp_path / "maker" / "p", bucket.way(0)).make(bucket.block(tmp_path))
    maker("run")
    count = itertools.count()
    rule: Rule = lambda n: lambda data: data if next(count) < 4 else bucket.expired  # noqa: E731
    with contextlib.closing(Proxy(bucket.port, rule)) as line:
        other = Checkout(tmp_path / "other" / "p", bucket.way(line.port)).make(bucket.block(tmp_path))
        text = other("run")
        assert text.count("warning") == 1, text
        assert "it refuses these credentials" in text and "going on without it" in text
        assert other.outputs() == maker.outputs()
        said = Checkout(tmp_path / "third" / "p", other.env).make(bucket.block(tmp_path))(
            "cache", "pull", code=1
        )
        assert "it refuses these credentials" in said and bucket.hint in said


def test_wrong_credentials(bucket: Bucket, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "p", bucket.wrong).make(bucket.block(tmp_path))
    text = checkout("run")
    assert text.count("warning") == 1, text
    assert "it refuses these credentials" in text and "going on without it" in text
    assert checkout.ran == ["load", "split", "score"]
    said = checkout("cache", "push", code=1)
    assert bucket.hint in said
    assert "ya29" not in said and OTHER_KEY not in said


def test_a_truncated_object_is_a_miss(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = bucket.way(0)
    maker = Checkout(tmp_path / "maker" / "p", env).make(bucket.block(tmp_path))
    maker("run")
    use(monkeypatch, env)
    remote = connect(f"{bucket.scheme}://bucket/{tmp_path.name}", tmp_path, {})
    for found in list(remote.names("v1/trusted/")):
        if "/records/" not in found.name:
            remote.write(found.name, whole(remote, found.name)[: found.size // 2])
    other = Checkout(tmp_path / "other" / "p", env).make(bucket.block(tmp_path))
    other("run")
    assert (other.ran, other.outputs()) == (["load", "split", "score"], maker.outputs())


# --- Google alone


def test_too_many_requests_are_made_again(
    gs: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, gs.env(tmp_path / "login"))
    engine = Engine(connect(f"gs://bucket/{tmp_path.name}", tmp_path, {}))
    for name, fresh in (("v1/a", False), ("v1/b", True)):
        gs.busy = 2
        assert engine.write(name, b"content", fresh=fresh)
        assert gs.busy == 0
    gs.busy = 2
    assert engine.read_all("v1/a") == b"content"


def test_large_files_go_in_parts(gs: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, gs.env(tmp_path / "login"))
    remote = connect(f"gs://bucket/{tmp_path.name}", tmp_path, {})
    content = os.urandom(1 << 20) * 33
    (tmp_path / "big").write_bytes(content)
    remote.write("v1/big", tmp_path / "big")
    parts = [q["partNumber"] for m, name, q in gs.asked if name.endswith("v1/big") and "partNumber" in q]
    assert sorted(parts) == ["1", "2", "3"]
    assert whole(remote, "v1/big") == content


JOB = {"GITHUB_ACTIONS": "true", "CI": "true"}
MAIN = {**JOB, "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}


def pull_request(number: int) -> dict[str, str]:
    """The variables of its job."""
    return {**JOB, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": f"refs/pull/{number}/merge"}


def test_namespaces_and_clearing_up(gs: Google, tmp_path: Path) -> None:
    block = f'cache {{ remote = "gs://bucket/{tmp_path.name}" }}'

    def job(name: str, env: dict[str, str]) -> tuple[Checkout, str]:
        made = Checkout(tmp_path / name / "p", {**gs.env(tmp_path / "login"), **env}).make(block)
        return made, made("run")

    names = Engine(
        connect(f"gs://bucket/{tmp_path.name}", tmp_path, {"base_url": gs.url, "bearer_token": gs.token()})
    )

    def places() -> set[str]:
        return {"/".join(f.name.split("/")[1:3]) for f in names.names("v1/") if "/records/" in f.name}

    pull, text = job("pull", pull_request(1))
    assert results(text) == 3 and places() == {"untrusted/pr-1"}
    main, _ = job("main", MAIN)
    assert main.ran == ["load", "split", "score"], "nothing of a pull request's"
    assert places() == {"untrusted/pr-1", "trusted/records"}
    (pull.root / "mlpipe.lock").unlink()
    said = pull("cache", "gc", "--in-remote", "--grace", "0s", "--max-size", "0MiB")
    assert "untrusted/pr-1: 3 results and" in said
    left = {f.name.split("/")[3] for f in names.names("v1/untrusted/")}
    assert left <= {"objects"}, "the content that trusted results have, too"
    late, _ = job("late", pull_request(2))
    assert (late.ran, late.outputs()) == ([], main.outputs()), "it takes what the branch made"
